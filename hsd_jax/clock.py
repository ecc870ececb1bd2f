"""Seconds by phase, and compilations that should not have happened."""

import logging
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import jax

log = logging.getLogger(__name__)
COMPILED = "/jax/core/compile/backend_compile_duration"


@dataclass
class Clock:
    """Time spent in each phase, of this step and in all, by the monotonic clock."""

    step: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    total: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Adds the time of the block to a phase."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.step[name] += time.monotonic() - start

    def lap(self) -> dict[str, float]:
        """The finished step's times as metrics; the next step starts from zero."""
        lap = {f"time/{name}": seconds for name, seconds in self.step.items()}
        for name, seconds in self.step.items():
            self.total[name] += seconds
        self.step.clear()
        return lap | {"time/step": sum(lap.values())}


@dataclass
class Compilations:
    """How many programs were compiled since the last look."""

    count: int = 0

    def take(self) -> int:
        """The number since the last call."""
        count, self.count = self.count, 0
        return count


@contextmanager
def count_compilations() -> Iterator[Compilations]:
    """Counts every compilation of the process while the block runs."""
    seen = Compilations()

    def on_event(name: str, seconds: float, **_: object) -> None:
        seen.count += name == COMPILED

    jax.monitoring.register_event_duration_secs_listener(on_event)
    try:
        yield seen
    finally:
        jax.monitoring.unregister_event_duration_listener(on_event)
