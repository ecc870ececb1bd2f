"""Heartbeats between the processes of a run: when one stops, the others name it and end.

A program that runs on all chips waits for every host forever, so nobody would notice from inside. JAX looks as well,
but what it does then is to abort the process, without saying whom it misses.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax

SIGNS_PER_TIMEOUT = 10
FOLDER = "hsd/alive/"
LEFT = "hsd/left/"


@contextmanager
def monitor(
    client: Any, process: int, processes: int, seconds: float, report: Callable[[dict[int, str]], None]
) -> Iterator[None]:
    """While its body runs, sends heartbeats, and calls `report` with processes that have ended, or seem to.

    Those are the ones that took leave, with their last words, or that were silent for `seconds`, with "". `client` is
    JAX's key-value store; process 0 keeps it, so it is process 0 that is silent when the store is.
    """
    done = threading.Event()
    names = [other for other in range(processes) if other != process]
    thread = threading.Thread(
        target=_watch, args=(client, process, names, seconds, report, done), name="heartbeat", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def take_leave(client: Any, process: int, others: set[int], words: str, seconds: float) -> None:
    """Tells the `others` that this process ends, and why. Process 0, whose end aborts them, lets them end first."""
    deadline = time.monotonic() + seconds
    try:
        client.key_value_set(f"{LEFT}{process}", words, allow_overwrite=True)
        while process == 0 and time.monotonic() < deadline and others - set(_entries(client, LEFT)):
            time.sleep(0.1)
    except jax.errors.JaxRuntimeError:
        pass  # the store has gone, and with it all processes


def _watch(
    client: Any,
    process: int,
    others: list[int],
    seconds: float,
    report: Callable[[dict[int, str]], None],
    done: threading.Event,
) -> None:
    heard = dict.fromkeys(others, time.monotonic())
    signs: dict[int, str] = {}
    count = 0
    while not done.wait(seconds / SIGNS_PER_TIMEOUT):
        count += 1
        found, left = _exchange(client, process, count)
        for other, sign in found.items():
            if other in heard and signs.get(other) != sign:
                heard[other], signs[other] = time.monotonic(), sign
        silent = {other: "" for other, last in heard.items() if time.monotonic() - last > seconds}
        ended = left or ({0: ""} if 0 in silent else silent)
        if ended and not done.is_set():
            report(ended)
            return


def _exchange(client: Any, process: int, count: int) -> tuple[dict[int, str], dict[int, str]]:
    """The last sign of every process, and the last words of those that took leave; none if the store is silent."""
    try:
        client.key_value_set(f"{FOLDER}{process}", str(count), allow_overwrite=True)
        left = _entries(client, LEFT)
        return _entries(client, FOLDER), {other: words for other, words in left.items() if other != process}
    except jax.errors.JaxRuntimeError:
        return {}, {}


def _entries(client: Any, folder: str) -> dict[int, str]:
    return {int(key.rpartition("/")[2]): value for key, value in client.key_value_dir_get(folder)}
