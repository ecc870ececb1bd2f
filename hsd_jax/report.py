"""Writes what a run can show as one HTML file: curves, health, the paper's figures, and every recorded rollout.

    python -m hsd_jax.report --workdir runs/tiny
    python -m hsd_jax.report --workdir runs/hsd --compare runs/grpo runs/opsd --figures
    python -m hsd_jax.report --workdir gs://BUCKET/runs/hsd-8b
    python -m hsd_jax.report --before-you-train --config configs/tiny.py

The file loads nothing and opens from disk. The last form trains nothing: it samples a few groups with the untrained
model and says whether the method can help there.
"""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from etils import epath

from hsd_jax.errors import EXIT_DONE, InputError
from hsd_jax.reporting import figures, paper_figures
from hsd_jax.reporting.credit_profile import credit_profile_text, offset_profile
from hsd_jax.reporting.diagnostics import rollouts_of
from hsd_jax.reporting.logs import read_groups, read_run
from hsd_jax.reporting.page import render
from hsd_jax.runtime import cli, files, paths, storage

READ = ("config.json", "metrics.jsonl", "rollouts")  # what of a workdir a page shows
MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Arguments:
    """What to read and what to write."""

    workdir: Annotated[str | None, paths.GIVEN] = None
    """Directory of the run to show, may be gs://; with --before-you-train, where to keep what was sampled (default:
    nowhere)."""
    compare: Annotated[tuple[str, ...], paths.GIVEN] = ()
    """Further runs whose curves and credit are laid over this one's."""
    figures: bool = False
    """Also write every figure as PNG, SVG and CSV beside the page."""
    out: Annotated[str | None, paths.GIVEN] = None
    """Directory to write to; by default WORKDIR/report."""
    max_megabytes: float = 24.0
    """Largest size of the page; when rollouts do not all fit, some of every step are kept and the page says so."""
    before_you_train: bool = False
    """Sample a few groups with the untrained model of --config and predict whether the method can help."""
    config: Annotated[str | None, paths.GIVEN] = None
    """The config file whose run is to be predicted; only with --before-you-train."""
    problems: int = 32
    """Groups to sample for the prediction; only with --before-you-train."""


def write_report(arguments: Arguments) -> list[epath.Path]:
    """Writes index.html (and with `figures` the pictures); returns the paths written, the page first.

    Raises: InputError when a directory does not exist or the size is not positive.
    """
    if arguments.workdir is None:
        raise InputError("--workdir is missing: name the directory of the run to show")
    if arguments.max_megabytes <= 0:
        raise InputError(f"--max-megabytes must be above 0; got {arguments.max_megabytes}")
    main = _load(arguments.workdir, texts=True)
    others = [_load(path, texts=False) for path in arguments.compare]
    folder = epath.Path(arguments.out or epath.Path(arguments.workdir) / "report")
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "index.html"
    page = render.render(main, others, int(arguments.max_megabytes * MEGABYTE))
    files.replace(target, page.encode("utf-8", "replace"))
    if not arguments.figures:
        return [target]
    runs = render.run_data(main, others)
    return [target, *_write_figures([*figures.curves(runs), *figures.credit_figures(runs)], folder / "figures")]


def _load(workdir: str, *, texts: bool) -> render.Loaded:
    with storage.read_here(workdir, READ) as here:
        return render.load(here, texts=texts)


def _write_figures(shown: Sequence[figures.Figure], folder: epath.Path) -> list[epath.Path]:
    """Made on this machine, then brought to where they belong."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as here:
        made = paper_figures.write_figures(shown, Path(here))
        return [epath.Path(path).copy(folder / path.name, overwrite=True) for path in made]


def credit_profile(workdir: str | os.PathLike[str], window: tuple[int, int] = (-6, 12)) -> str:
    """The run's credit profile around the divergence as text for a terminal."""
    with storage.read_here(workdir, READ) as here:
        profile = offset_profile(rollouts_of(read_groups(here, read_run(here).damage)), window)
    return credit_profile_text([int(offset) for offset in profile.at], profile.mean.tolist())


def main(argv: Sequence[str]) -> int:
    """The command; returns its exit code."""
    arguments = cli.parse(Arguments, argv, command="report", about=__doc__ or "")
    if arguments.out:
        paths.check_writable(arguments.out, "--out")
    elif arguments.workdir:
        paths.check_writable(epath.Path(arguments.workdir) / "report", "--workdir")
    if arguments.before_you_train:
        paths.check_local(arguments.workdir or "", "--workdir")
        run_preflight(arguments)
        return EXIT_DONE if arguments.workdir is None else _announce(arguments)
    if arguments.config is not None:
        raise InputError("--config belongs to --before-you-train; a run's own settings are in its workdir")
    return _announce(arguments)


def run_preflight(arguments: Arguments) -> None:
    """Samples, judges and prints; keeps what was sampled in the workdir, if there is one.

    Raises: InputError without a config file, or when the workdir holds a run.
    """
    # Only here: a page about a finished run needs no model, no accelerator and none of their seconds of import.
    from hsd_jax.run import preflight
    from hsd_jax.setup.build import build_components

    if arguments.config is None:
        raise InputError("--before-you-train needs --config, e.g. --config configs/tiny.py")
    config = cli.load_config(arguments.config)
    if arguments.workdir is not None:
        preflight.check_free(Path(arguments.workdir))
    prognosis = preflight.preflight(config, arguments.problems, build_components)
    print(preflight.as_text(prognosis))
    if arguments.workdir is not None:
        preflight.write(prognosis, Path(arguments.workdir), config)


def _announce(arguments: Arguments) -> int:
    page, *pictures = write_report(arguments)
    size = page.stat().length / MEGABYTE
    print(f"wrote {page} ({size:.1f} MB)" + (f" and {len(pictures)} figure files beside it" if pictures else ""))
    return EXIT_DONE


if __name__ == "__main__":
    cli.run(main)
