"""The data card on a screen."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from hsd_jax.errors import printable

NAMED = 20


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


def show_files(sources: Sequence[Mapping[str, Any]], screen: Console) -> None:
    """Every file with its split and rows or the reason why it is left out; counts of files, and of rows per split."""
    for source in sources:
        rows: Counter[str] = Counter()
        for file in source.get("files", ()):
            _line(screen, f"{source['source']}: {file['file']}: {file['split']}, {file['rows']:,} rows")
            rows[file["split"]] += file["rows"]
        left_out = source.get("left_out", {})
        for file, reason in left_out.items():
            _line(screen, f"{source['source']}: {file}: left out ({reason})")
        if read := len(source.get("files", ())):
            total = f"{read + len(left_out):,} files = {read:,} read + {len(left_out):,} left out"
            _line(screen, f"{source['source']}: {total}")
        for split, told in source["read"].items():
            removed = sum(told["removed"].values())
            total = f"{rows[split]:,} rows = " if rows else ""
            _line(screen, f"{source['source']}: {split}: {total}{told['kept']:,} problems + {removed:,} removed")


def show_unmatched(found: Mapping[str, Mapping[str, Sequence[str]]], screen: Console) -> None:
    """The questions whose reference answer no response can match, by split and reason; training leaves them out."""
    for split, reasons in found.items():
        for reason, ids in reasons.items():
            more = f" and {len(ids) - NAMED} more" if len(ids) > NAMED else ""
            _line(
                screen, f"{split}: {len(ids):,} questions cannot be answered, {reason}: {', '.join(ids[:NAMED])}{more}"
            )
    if not any(found.values()):
        _line(screen, "every reference answer can be matched")


def _line(screen: Console, text: str) -> None:
    screen.print(printable(text), soft_wrap=True, highlight=False)
