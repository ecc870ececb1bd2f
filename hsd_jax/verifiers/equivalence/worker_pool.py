"""The set that lends workers to checks: grows when all are busy, replaces the killed and the worn out."""

import atexit
import contextlib
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from hsd_jax.verifiers.equivalence.worker_process import CANNOT_START, Worker, WorkerDied, start_math_worker, stop

RECYCLE_AFTER = 2_000
MOST_BORROWED = 16
PATIENCE_SECONDS = 0.5


@dataclass(eq=False)
class WorkerPool:
    """Idle workers and how many exist; borrow with `borrowed`. `start` makes one that has so many seconds a check."""

    limit_seconds: float = 5.0
    most: int = MOST_BORROWED
    start: Callable[[float], Worker] = start_math_worker
    idle: list[Worker] = field(default_factory=list)
    existing: int = 0
    closed: bool = False
    changed: threading.Condition = field(default_factory=threading.Condition)


_OPEN_SETS: "weakref.WeakSet[WorkerPool]" = weakref.WeakSet()


@contextlib.contextmanager
def borrowed(workers: WorkerPool) -> Iterator[Worker]:
    """A worker for one question. Dead and worn-out workers do not come back to the set."""
    worker = _take(workers)
    try:
        yield worker
    except BaseException:
        stop(worker)
        raise
    finally:
        _give_back(workers, worker)
        if worker.process.poll() is not None:
            _replace(workers)


def _take(workers: WorkerPool) -> Worker:
    patience = time.monotonic() + (PATIENCE_SECONDS if workers.existing else 0.0)
    with workers.changed:
        while True:
            if workers.closed:
                raise RuntimeError("this pool of workers is closed")
            worker = _alive(workers)
            if worker is not None:
                break
            if workers.existing < workers.most and (time.monotonic() >= patience or not workers.existing):
                workers.existing += 1
                break
            workers.changed.wait(max(0.01, patience - time.monotonic()))
        spare = not workers.idle and workers.existing < workers.most
    if spare:
        _replace(workers)
    if worker is not None:
        return worker
    begun = time.monotonic()
    try:
        worker = workers.start(workers.limit_seconds)
        worker.waited_seconds = time.monotonic() - begun
        return worker
    except BaseException:
        with workers.changed:
            workers.existing -= 1
            workers.changed.notify()
        raise


def _alive(workers: WorkerPool) -> Worker | None:
    """An idle worker that still lives; the dead are collected."""
    while workers.idle:
        worker = workers.idle.pop()
        if worker.process.poll() is None:
            return worker
        workers.existing -= 1
        stop(worker)
    return None


def _give_back(workers: WorkerPool, worker: Worker) -> None:
    usable = worker.process.poll() is None and worker.asked < RECYCLE_AFTER
    with workers.changed:
        keep = usable and not workers.closed
        if keep:
            workers.idle.append(worker)
        else:
            workers.existing -= 1
        workers.changed.notify()
    if not keep:
        stop(worker)


def _replace(workers: WorkerPool) -> None:
    """Starts one more worker in the background, so that the check after a killed worker does not wait for it."""
    threading.Thread(target=_add, args=(workers,), daemon=True).start()


def _add(workers: WorkerPool) -> None:
    with workers.changed:
        if workers.closed or workers.existing >= workers.most:
            return
        workers.existing += 1
    try:
        worker = workers.start(workers.limit_seconds)
    except (RuntimeError, OSError, WorkerDied):
        with workers.changed:
            workers.existing -= 1
            workers.changed.notify()
        return
    _give_back(workers, worker)


def warm_up(workers: WorkerPool, count: int) -> None:
    """Starts up to `count` workers at the same time, ahead of the first question.

    Raises:
        RuntimeError: none can start in this environment.
    """
    threads = [threading.Thread(target=_add, args=(workers,), daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if not workers.existing:
        raise RuntimeError(CANNOT_START)


def open_set(
    *, limit_seconds: float = 5.0, most: int = MOST_BORROWED, start: Callable[[float], Worker] = start_math_worker
) -> WorkerPool:
    """An empty set of workers, closed at exit if not before."""
    workers = WorkerPool(limit_seconds, most, start)
    _OPEN_SETS.add(workers)
    return workers


def close_set(workers: WorkerPool) -> None:
    """Kills the idle workers; those still lent out are killed when they come back."""
    with workers.changed:
        workers.closed = True
        idle, workers.idle = workers.idle, []
        workers.existing -= len(idle)
        workers.changed.notify_all()
    for worker in idle:
        stop(worker)


@atexit.register
def _close_all() -> None:
    for workers in list(_OPEN_SETS):
        close_set(workers)
