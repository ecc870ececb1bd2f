"""The data card on a screen."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table


def show_card(page: Mapping[str, Any], screen: Console) -> None:
    """Two tables: what stays, and what was removed where and why."""
    table = Table("split", "source", "problems", title="what stays", title_justify="left")
    for split, told in page["splits"].items():
        for source, count in told["by_source"].items():
            table.add_row(split, source, f"{count:,}")
        table.add_row(split, "difficulty", ", ".join(f"{k}: {n}" for k, n in told["by_difficulty"].items()))
    screen.print(table)
    lost = Table("where", "reason", "rows", title="what was removed", title_justify="left")
    for source in page["sources"]:
        for split, told in source["read"].items():
            for reason, count in told["removed"].items():
                lost.add_row(f"reading {source['source']} {split}", reason, f"{count:,}")
    for split, told in page["removed"].items():
        for reason, count in told["removed"].items():
            lost.add_row(f"preparing {split}", reason, f"{count:,}")
    screen.print(lost if lost.row_count else "nothing was removed")
