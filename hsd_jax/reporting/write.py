"""Writes the page and the figures of a run, and its credit profile as text."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from etils import epath

from hsd_jax.errors import InputError
from hsd_jax.reporting import figures, paper_figures
from hsd_jax.reporting.credit_profile import credit_profile_text, offset_profile
from hsd_jax.reporting.diagnostics import rollouts_of
from hsd_jax.reporting.live import Live
from hsd_jax.reporting.logs import read_groups, read_run
from hsd_jax.reporting.page import render
from hsd_jax.runtime import files, storage

READ = ("config.json", "metrics.jsonl", "rollouts")  # what of a workdir a page shows
MEGABYTE = 1_000_000
Place = str | os.PathLike[str]


def write_page(
    workdir: Place,
    *,
    out: Place | None = None,
    compare: Sequence[Place] = (),
    with_figures: bool = False,
    max_megabytes: float = 24.0,
) -> list[epath.Path]:
    """Writes index.html to `out` (WORKDIR/report), and the figures as files; returns the paths written, the page first.

    Raises: InputError when a directory does not exist.
    """
    loaded = load_runs(workdir, compare)
    folder = epath.Path(out or epath.Path(workdir) / "report")
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "index.html"
    page = render.render(*loaded, int(max_megabytes * MEGABYTE))
    files.replace(target, page.encode("utf-8", "replace"))
    if not with_figures:
        return [target]
    runs = render.run_data(*loaded)
    return [target, *_write_figures([*figures.curves(runs), *figures.credit_figures(runs)], folder / "figures")]


def load_runs(workdir: Place, compare: Sequence[Place]) -> tuple[render.Loaded, list[render.Loaded]]:
    """The run to show, and those to compare it with. Raises: InputError when a directory does not exist."""
    return _load(workdir, texts=True), [_load(path, texts=False) for path in compare]


def live_page(workdir: Place, compare: Sequence[Place], max_megabytes: float) -> Live:
    """The page of a run that goes on, for `live.start`. Raises: InputError when its directory does not exist."""
    root = epath.Path(workdir)
    if not root.is_dir():
        raise InputError(f"--serve: {workdir} does not exist; start the run first, or name its directory")

    def version() -> str:
        parts = [root / name for name in READ if (root / name).exists()]
        found = [file for part in parts for file in (sorted(part.iterdir()) if part.is_dir() else [part])]
        return " ".join(f"{file.name}:{(told := file.stat()).length}:{told.mtime}" for file in found)

    def page() -> str:
        return render.render(*load_runs(workdir, compare), int(max_megabytes * MEGABYTE))

    return Live(version, page)


def _load(workdir: Place, *, texts: bool) -> render.Loaded:
    with storage.read_here(workdir, READ) as here:
        return render.load(here, texts=texts)


def _write_figures(shown: Sequence[figures.Figure], folder: epath.Path) -> list[epath.Path]:
    """Made on this machine, then brought to where they belong."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as here:
        made = paper_figures.write_figures(shown, Path(here))
        return [epath.Path(path).copy(folder / path.name, overwrite=True) for path in made]


def credit_profile(workdir: Place, window: tuple[int, int] = (-6, 12)) -> str:
    """The run's credit profile around the divergence as text for a terminal."""
    with storage.read_here(workdir, READ) as here:
        profile = offset_profile(rollouts_of(read_groups(here, read_run(here).damage)), window)
    return credit_profile_text([int(offset) for offset in profile.at], profile.mean.tolist())
