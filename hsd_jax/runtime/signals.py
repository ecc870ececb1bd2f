"""Ctrl-C once finishes the step, saves and stops; twice leaves at once. SIGTERM (preemption) saves and stops too.

After SIGTERM there may be half a minute. So it ends the sampling of a step, which may take longer, between two decode
chunks: the step is dropped, and what is saved is the state before it.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")
EXIT_LEFT_AT_ONCE = 130


class Preempted(BaseException):
    """SIGTERM while a step could be dropped; no handler of errors takes it for one."""


@dataclass
class Stop:
    """Whether somebody asked the run to stop, and how: "" (nobody), "interrupt" or "preemption"."""

    asked: str = ""
    seen: list[int] = field(default_factory=list)
    droppable: bool = False

    def can_drop(self, work: Callable[[], T], *, allowed: bool = True) -> T | None:
        """What `work` returns; None where SIGTERM has ended it, or had come before and nothing was begun."""
        if allowed and self.asked == "preemption":
            return None
        self.droppable = allowed
        try:
            return work()
        except Preempted:
            return None
        finally:
            self.droppable = False


@contextmanager
def watch() -> Iterator[Stop]:
    """Turns SIGINT and SIGTERM into a request that the training loop reads between two steps, or while it samples."""
    stop = Stop()

    def on_interrupt(number: int, frame: object) -> None:
        if number in stop.seen and number == signal.SIGINT:
            os._exit(EXIT_LEFT_AT_ONCE)
        stop.seen.append(number)
        stop.asked = "preemption" if signal.SIGTERM in stop.seen else "interrupt"  # who restarts us reads the code
        drops = stop.asked == "preemption" and stop.droppable
        what = "Dropping this step" if drops else "Stopping after this step"
        os.write(2, f"\n{what} and saving; Ctrl-C again leaves at once without saving.\n".encode())
        if drops:
            stop.droppable = False
            raise Preempted

    before = {number: signal.signal(number, on_interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
