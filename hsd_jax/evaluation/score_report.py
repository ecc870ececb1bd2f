"""The table that ends an evaluation."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from hsd_jax.evaluation.benchmarks import Benchmark
from hsd_jax.evaluation.results import EvalResult


def print_table(
    screen: Console,
    settings: Mapping[str, Any],
    benchmark: Benchmark,
    result: EvalResult,
    seconds: float,
    file: Path,
) -> None:
    """Shows the metrics with their intervals, what was graded how, the cost, and the path of the file."""
    problems, samples = len(result.answered), len(result.answered[0].rewards)
    title = f"{benchmark.name}: {problems} problems x {samples} samples at temperature {settings['temperature']}"
    table = Table("metric", "value", "95 % interval", title=title, title_justify="left", box=None, pad_edge=False)
    for name, row in result.metrics.items():
        table.add_row(name, f"{row['value']:.4f}", f"{row['low']:.4f} .. {row['high']:.4f}")
    for name, (count, mean) in result.bins.items():
        if name != "unknown":
            table.add_row(f"pass@1, {name}", f"{mean:.4f}", f"{count} problems")
    for name, value in result.lengths.items():
        table.add_row(name, f"{value:,.3f}".rstrip("0").rstrip("."), "")
    for name, count in result.counts.items():
        table.add_row(name, str(count), "")
    for reason, ids in benchmark.left_out.items():
        table.add_row(f"left out: {reason}", str(len(ids)), ", ".join(ids[:3]))
    table.add_row("time of this call", f"{seconds:.1f} s", "")
    screen.print(table)
    screen.print(f"results: {file}", highlight=False)
