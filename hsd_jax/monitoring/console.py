"""What a person sees while a run goes on and when it ends."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from hsd_jax.config import Config
from hsd_jax.methods.row import Method, peer_of
from hsd_jax.runtime.cli import screened
from hsd_jax.types import PHASES


class Show(Protocol):
    """Shows the metrics of a finished step."""

    def __call__(self, step: int, metrics: Mapping[str, Any]) -> None: ...


@dataclass(frozen=True)
class Summary:
    """What the closing table tells."""

    before: Mapping[str, float]
    after: Mapping[str, float]
    seconds: Mapping[str, float]
    places: Mapping[str, str]


@contextmanager
def progress(console: Console, start: int, total: int, *, quiet: bool = False) -> Iterator[Show]:
    """A progress bar with pass rate, coverage, loss and time left; a line now and then where there is no terminal."""
    if quiet:
        yield lambda step, metrics: None
        return
    if not console.is_terminal:
        yield lines(console, total)
        return
    columns = (
        TextColumn("step"),
        MofNCompleteColumn(),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[numbers]}"),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar, screened():
        task = bar.add_task("train", total=total, completed=start, numbers="compiling ...")

        def show(step: int, metrics: Mapping[str, Any]) -> None:
            _show_scores(console, step, metrics)
            if step:
                bar.update(task, completed=step, numbers=numbers(metrics))

        yield show


def lines(console: Console, total: int) -> Show:
    """Prints a line for the first steps, then twenty times over the run, and one for every evaluation."""

    def show(step: int, metrics: Mapping[str, Any]) -> None:
        _show_scores(console, step, metrics)
        if 0 < step <= 2 or step and step % max(total // 20, 1) == 0:
            console.print(f"step {step}/{total}  {numbers(metrics)}  {metrics['time/step']:.1f} s", highlight=False)

    return show


def held_out(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The scores of a step's evaluation by their short names; none where it had none."""
    names = ("greedy", "pass@1", "pass@4", "pass@16", "right_paths")
    return {name: metrics[f"eval/{name}"] for name in names if f"eval/{name}" in metrics}


def _show_scores(console: Console, step: int, metrics: Mapping[str, Any]) -> None:
    if found := held_out(metrics):
        words = "  ".join(f"{name} {value:.2f}" for name, value in found.items())
        console.print(f"after step {step}, held out: {words}", highlight=False)


def numbers(metrics: Mapping[str, Any]) -> str:
    """The three numbers to watch, and the update's share of peak where the chip is known."""
    mfu = f"  MFU {metrics['speed/update_mfu']:.2f}" if "speed/update_mfu" in metrics else ""
    return f"pass {metrics['reward']:.2f}  coverage {metrics['coverage']:.2f}  loss {metrics['loss']:.4f}{mfu}"


def closing_table(summary: Summary) -> Table:
    """Before and after, time by phase, and the paths of its files."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    for name, value in summary.after.items():
        before = summary.before.get(name)
        table.add_row(f"held-out {name}", f"{value:.3f}" if before is None else f"{before:.3f} -> {value:.3f}")
    spent = ", ".join(f"{name} {summary.seconds[name]:.0f} s" for name in PHASES if summary.seconds.get(name))
    table.add_row("time", spent or "-")
    for name, place in summary.places.items():
        table.add_row(name, place)
    return table


def words_on_coverage(config: Config, method: Method, lines: Sequence[Mapping[str, Any]]) -> str:
    """A plain word where the method had nothing to learn from; empty where it had."""
    coverages = [line["coverage"] for line in lines if "coverage" in line]
    if not coverages or max(coverages) > 0:
        return ""
    fallback, lone = "every rollout was on the endpoint fallback", "no group had a success to learn from"
    path = fallback if peer_of(method) else lone
    return (
        f"coverage was 0 in all {len(coverages)} steps: no group had a success and another rollout, so {path}."
        f" The method cannot help here ({config.method.name} on {config.data.source} with"
        f" {config.model.path}): use a stronger model, easier questions, or larger groups.\n"
    )
