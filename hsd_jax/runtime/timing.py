"""Seconds by phase, programs that were compiled although their phase had run before, and traces of chosen steps."""

import logging
import re
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
from etils import epath

from hsd_jax.errors import InputError
from hsd_jax.runtime import faults
from hsd_jax.runtime.paths import is_remote
from hsd_jax.types import Phase

log = logging.getLogger(__name__)
COMPILED = "/jax/core/compile/backend_compile_duration"  # of programs that were found on disk too
FOUND = "/jax/compilation_cache/cache_hits"
# With jax_explain_cache_misses these say why a function was traced again, and what became of the cache on disk.
EXPLAINERS = tuple(f"jax._src.{name}" for name in ("interpreters.partial_eval", "compiler", "compilation_cache"))
TRACED = "TRACING CACHE MISS"
ON_DISK = ("PERSISTENT COMPILATION CACHE MISS", "Not writing persistent cache entry", "Writing jit_")


@dataclass
class Clock:
    """Time spent in each phase, of this step and in all, by the monotonic clock."""

    step: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    total: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    now: str = ""

    @contextmanager
    def phase(self, name: Phase) -> Iterator[None]:
        """Adds the time of the block to a phase, and names the phase in profiles and on errors that leave it."""
        start, outer, self.now = time.monotonic(), self.now, name
        try:
            with faults.stage(name), jax.profiler.TraceAnnotation(name):
                yield
        finally:
            self.step[name] += time.monotonic() - start
            self.now = outer

    def lap(self) -> dict[str, float]:
        """The finished step's times as metrics; the next step starts from zero."""
        lap = {f"time/{name}": seconds for name, seconds in self.step.items()}
        for name, seconds in self.step.items():
            self.total[name] += seconds
        self.step.clear()
        return lap | {"time/step": sum(lap.values())}


@dataclass
class Compilations:
    """Programs made since the last look; those of phases that had run in an earlier step by name, and why."""

    clock: Clock
    names: list[str] = field(default_factory=list)
    reason: str = "no reason known"
    made: int = 0
    found: int = 0
    seconds: float = 0.0

    def take(self) -> int:
        """The number since the last call."""
        count, self.names = len(self.names), []
        return count

    def take_programs(self) -> dict[str, float]:
        """Programs that were compiled since the last call, and the seconds it took to compile or to find them."""
        counted = {"compiled/programs": self.made - self.found, "compiled/seconds": self.seconds}
        self.made, self.found, self.seconds = 0, 0, 0.0
        return counted

    def on_found(self, event: str, **kwargs: str | int) -> None:
        """Counts a program that was found on disk."""
        self.found += event == FOUND

    def on_compiled(self, event: str, duration_secs: float, **kwargs: str | int) -> None:
        """Notes and logs a compilation if the present phase is warm."""
        if event != COMPILED:
            return
        self.made, self.seconds = self.made + 1, self.seconds + duration_secs
        phase = self.clock.now
        if phase not in self.clock.total:
            return
        name = str(kwargs.get("fun_name", "a program"))
        self.names.append(name)
        log.warning("%s: compiled %s again (%.1f s): %s", phase, name, duration_secs, self.reason)
        self.reason = "no reason known"

    def on_explained(self, record: logging.LogRecord) -> bool:
        """Keeps the reason for the next compilation; False: the message is not shown by itself."""
        message = record.getMessage()
        if message.startswith(TRACED):
            self.reason = " ".join(message.split())
        return not message.startswith((TRACED, *ON_DISK))


@contextmanager
def count_compilations(clock: Clock) -> Iterator[Compilations]:
    """Counts the process's compilations while the block runs."""
    seen = Compilations(clock)
    explainers, before = [logging.getLogger(name) for name in EXPLAINERS], jax.config.values["jax_explain_cache_misses"]
    for explainer in explainers:
        explainer.addFilter(seen.on_explained)
    jax.config.update("jax_explain_cache_misses", True)
    jax.monitoring.register_event_duration_secs_listener(seen.on_compiled)
    jax.monitoring.register_event_listener(seen.on_found)
    try:
        yield seen
    finally:
        jax.monitoring.unregister_event_duration_listener(seen.on_compiled)
        jax.monitoring.unregister_event_listener(seen.on_found)
        jax.config.update("jax_explain_cache_misses", before)
        for explainer in explainers:
            explainer.removeFilter(seen.on_explained)


def steps_of(text: str) -> range:
    """The steps that `3:5` (third to fifth) or `3` names; none for an empty text. Raises: InputError for others."""
    found = re.fullmatch(r"(\d+)(?::(\d+))?", text)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if text and not 1 <= first <= last:
        raise InputError(f"logging.profile-steps must be first:last, such as 3:5, from 1 on; got {text!r}")
    return range(first, last + 1) if text else range(0)


@contextmanager
def profiled(steps: range, step: int, workdir: epath.Path) -> Iterator[None]:
    """Traces the block into `profile/step-N` of the workdir if the step is one of those chosen.

    Every process writes its own file, in which phases have the names that they have in metrics.
    """
    if step not in steps:
        yield
        return
    folder = workdir / "profile" / f"step-{step:06d}"
    with (
        _here(folder) as place,
        jax.profiler.trace(str(place)),
        jax.profiler.StepTraceAnnotation("step", step_num=step),
    ):
        yield


@contextmanager
def _here(folder: epath.Path) -> Iterator[Any]:
    """The folder, or for a remote one a folder on this machine that is copied there at the end."""
    if not is_remote(folder):
        yield folder
        return
    with tempfile.TemporaryDirectory() as name:
        yield name
        for file in sorted(path for path in Path(name).rglob("*") if path.is_file()):
            target = folder / file.relative_to(name).as_posix()
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
