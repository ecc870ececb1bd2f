"""Ctrl-C once finishes the step, saves and stops; twice leaves at once. SIGTERM (preemption) saves and stops too."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

EXIT_LEFT_AT_ONCE = 130


@dataclass
class Stop:
    """Whether somebody asked the run to stop, and how: "" (nobody), "interrupt" or "preemption"."""

    asked: str = ""
    seen: list[int] = field(default_factory=list)


@contextmanager
def watch() -> Iterator[Stop]:
    """Turns SIGINT and SIGTERM into a request that the training loop reads between two steps."""
    stop = Stop()

    def on_interrupt(number: int, frame: object) -> None:
        if number in stop.seen and number == signal.SIGINT:
            os._exit(EXIT_LEFT_AT_ONCE)
        stop.seen.append(number)
        stop.asked = "preemption" if signal.SIGTERM in stop.seen else "interrupt"  # who restarts us reads the code
        what = "Stopping after this step and saving; Ctrl-C again leaves at once without saving."
        os.write(2, f"\n{what}\n".encode())

    before = {number: signal.signal(number, on_interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
