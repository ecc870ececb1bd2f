"""Writes what a run can show as one HTML file: curves, health, the paper's figures, and every recorded rollout.

    python -m hsd_jax.report --workdir runs/tiny
    python -m hsd_jax.report --workdir runs/hsd --compare runs/grpo runs/opsd --figures

The file loads nothing and opens from disk.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hsd_jax.cli import parse, run
from hsd_jax.errors import EXIT_DONE, InputError
from hsd_jax.reporting import figures, page, pictures
from hsd_jax.reporting.diagnostics import rollouts_of
from hsd_jax.reporting.logs import read_groups, read_run
from hsd_jax.reporting.profile import credit_profile_text, offset_profile

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Arguments:
    """What to read and what to write."""

    workdir: Path
    """Directory of the run to show."""
    compare: tuple[Path, ...] = ()
    """Further runs whose curves and credit are laid over this one's."""
    figures: bool = False
    """Also write every figure as PNG, SVG and CSV beside the page."""
    out: Path | None = None
    """Directory to write to; by default WORKDIR/report."""
    max_megabytes: float = 24.0
    """Largest size of the page; when rollouts do not all fit, some of every step are kept and the page says so."""


def write_report(arguments: Arguments) -> list[Path]:
    """Writes index.html (and with `figures` the pictures); returns the paths written, the page first.

    Raises: InputError when a directory does not exist or the size is not positive.
    """
    if arguments.max_megabytes <= 0:
        raise InputError(f"--max-megabytes must be above 0; got {arguments.max_megabytes}")
    main = page.load(arguments.workdir, texts=True)
    others = [page.load(path, texts=False) for path in arguments.compare]
    folder = arguments.out or arguments.workdir / "report"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "index.html"
    # Written aside and renamed: a browser that reloads during a run never sees half a page.
    draft = folder / "index.html.part"
    draft.write_text(page.render(main, others, int(arguments.max_megabytes * MEGABYTE)), "utf-8", "replace")
    draft.replace(target)
    if not arguments.figures:
        return [target]
    runs = page.run_data(main, others)
    return [target, *pictures.write_figures([*figures.curves(runs), *figures.credit_figures(runs)], folder / "figures")]


def credit_profile(workdir: Path, window: tuple[int, int] = (-6, 12)) -> str:
    """The run's credit profile around the divergence as text for a terminal."""
    profile = offset_profile(rollouts_of(read_groups(workdir, read_run(workdir).damage)), window)
    return credit_profile_text([int(offset) for offset in profile.at], profile.mean.tolist())


def main(argv: Sequence[str]) -> int:
    """The command; returns its exit code."""
    arguments = parse(Arguments, argv, command="report", about=__doc__ or "")
    paths = write_report(arguments)
    size = paths[0].stat().st_size / MEGABYTE
    print(f"wrote {paths[0]} ({size:.1f} MB)" + (f" and {len(paths) - 1} figure files beside it" if paths[1:] else ""))
    return EXIT_DONE


if __name__ == "__main__":
    run(main)
