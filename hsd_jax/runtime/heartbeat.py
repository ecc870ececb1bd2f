"""Signs of life between the processes of a run: when one falls silent, the others name it and end.

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


@contextmanager
def watched(
    client: Any, process: int, processes: int, seconds: float, report: Callable[[list[int]], None]
) -> Iterator[None]:
    """While its body runs, gives signs of life, and calls `report` with the processes silent for `seconds`.

    `client` is JAX's key-value store; process 0 keeps it, so it is process 0 that is silent when the store is.
    """
    done = threading.Event()
    names = [other for other in range(processes) if other != process]
    thread = threading.Thread(
        target=_watch, args=(client, process, names, seconds, report, done), name="signs of life", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _watch(
    client: Any,
    process: int,
    others: list[int],
    seconds: float,
    report: Callable[[list[int]], None],
    done: threading.Event,
) -> None:
    heard = dict.fromkeys(others, time.monotonic())
    signs: dict[int, str] = {}
    count = 0
    while not done.wait(seconds / SIGNS_PER_TIMEOUT):
        count += 1
        for other, sign in _exchange(client, process, count).items():
            if other in heard and signs.get(other) != sign:
                heard[other], signs[other] = time.monotonic(), sign
        silent = [other for other, last in heard.items() if time.monotonic() - last > seconds]
        if silent and not done.is_set():
            report([0] if 0 in silent else silent)
            return


def _exchange(client: Any, process: int, count: int) -> dict[int, str]:
    """The last sign of every process; none where the store does not answer."""
    try:
        client.key_value_set(f"{FOLDER}{process}", str(count), allow_overwrite=True)
        return {int(key.rpartition("/")[2]): value for key, value in client.key_value_dir_get(FOLDER)}
    except jax.errors.JaxRuntimeError:
        return {}
