"""Killable worker processes that answer questions over pipes within a deadline, and the set that lends them out.

Workers are fresh interpreters started with `subprocess` (never a fork of the JAX process). The parent keeps the
deadline: a worker that does not answer in time is killed, not asked.
"""

import atexit
import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60.0
RECYCLE_AFTER = 2_000
MOST_BORROWED = 16
PATIENCE_SECONDS = 0.5
_CANNOT_START = "the math worker did not start; `python -c 'import math_verify'` must work in this environment"


class WorkerTimeout(Exception):
    """No answer before the deadline; the worker has been killed."""


class WorkerDied(Exception):
    """The worker ended before it answered."""


@dataclass
class Worker:
    """One process; `asked` counts its questions, `buffer` holds bytes read beyond the last line.

    `waited_seconds` is what its first borrower spent on its start; a check counts that as its own time.
    """

    process: "subprocess.Popen[bytes]"
    asked: int = 0
    waited_seconds: float = 0.0
    buffer: bytes = b""


def start_math_worker(limit_seconds: float) -> Worker:
    """A worker ready to do algebra, with an empty environment and a memory limit of its own.

    Raises:
        WorkerDied: it was killed while it started.
        RuntimeError: it cannot start in this environment.
    """
    code = (
        "import sys; sys.dont_write_bytecode = True; sys.path.append(sys.argv[1]); "
        "from hsd_jax.verifiers.math_worker import main; main(float(sys.argv[2]))"
    )
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", code, str(ROOT), str(limit_seconds + 2)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"SYMPY_GROUND_TYPES": "python", "SYMPY_USE_CACHE": "yes", "LC_ALL": "C.UTF-8"},
        cwd="/",
        start_new_session=True,
    )
    worker = Worker(process)
    try:
        read_line(worker, time.monotonic() + START_SECONDS)
    except WorkerDied:
        if (process.returncode or 0) < 0:
            raise
        raise RuntimeError(_CANNOT_START) from None
    except WorkerTimeout:
        raise RuntimeError(_CANNOT_START) from None
    return worker


def ask(worker: Worker, question: dict[str, object], deadline: float) -> dict[str, object]:
    """The worker's answer to one question.

    Raises:
        WorkerTimeout: the deadline (monotonic seconds) passed; the worker is dead.
        WorkerDied: the worker ended or answered something else; it is dead too.
    """
    worker.asked += 1
    try:
        assert worker.process.stdin is not None
        worker.process.stdin.write(json.dumps(question).encode() + b"\n")
        worker.process.stdin.flush()
        answer = json.loads(read_line(worker, deadline))
    except (OSError, ValueError) as error:
        stop(worker)
        raise WorkerDied from error
    if answer.get("id") != question["id"]:
        stop(worker)
        raise WorkerDied
    return answer


def read_line(worker: Worker, deadline: float) -> bytes:
    """The next line a worker writes; kills it at the deadline."""
    assert worker.process.stdout is not None
    descriptor = worker.process.stdout.fileno()
    while b"\n" not in worker.buffer:
        remaining = deadline - time.monotonic()
        readable = remaining > 0 and _readable(descriptor, remaining)
        if not readable:
            stop(worker)
            raise WorkerTimeout
        chunk = os.read(descriptor, 1 << 16)
        if not chunk:
            stop(worker)
            raise WorkerDied
        worker.buffer += chunk
    line, _, worker.buffer = worker.buffer.partition(b"\n")
    return line


def _readable(descriptor: int, seconds: float) -> bool:
    # poll, not select: a training process may hold more than 1,024 descriptors
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(max(1.0, seconds * 1000)))


def stop(worker: Worker) -> None:
    """Kills a worker and collects it."""
    with contextlib.suppress(OSError):
        worker.process.kill()
    worker.process.wait()
    for pipe in (worker.process.stdin, worker.process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


@dataclass(eq=False)
class WorkerSet:
    """Idle math workers and how many exist; borrow with `borrowed`."""

    limit_seconds: float = 5.0
    most: int = MOST_BORROWED
    idle: list[Worker] = field(default_factory=list)
    existing: int = 0
    closed: bool = False
    changed: threading.Condition = field(default_factory=threading.Condition)


_OPEN_SETS: "weakref.WeakSet[WorkerSet]" = weakref.WeakSet()


@contextlib.contextmanager
def borrowed(workers: WorkerSet) -> Iterator[Worker]:
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


def _take(workers: WorkerSet) -> Worker:
    patience = time.monotonic() + (PATIENCE_SECONDS if workers.existing else 0.0)
    with workers.changed:
        while True:
            if workers.closed:
                raise RuntimeError("this pool of math workers is closed")
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
        worker = start_math_worker(workers.limit_seconds)
        worker.waited_seconds = time.monotonic() - begun
        return worker
    except BaseException:
        with workers.changed:
            workers.existing -= 1
            workers.changed.notify()
        raise


def _alive(workers: WorkerSet) -> Worker | None:
    """An idle worker that still lives; the dead are collected."""
    while workers.idle:
        worker = workers.idle.pop()
        if worker.process.poll() is None:
            return worker
        workers.existing -= 1
        stop(worker)
    return None


def _give_back(workers: WorkerSet, worker: Worker) -> None:
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


def _replace(workers: WorkerSet) -> None:
    """Starts one more worker in the background, so that the check after a killed worker does not wait for it."""
    threading.Thread(target=_add, args=(workers,), daemon=True).start()


def _add(workers: WorkerSet) -> None:
    with workers.changed:
        if workers.closed or workers.existing >= workers.most:
            return
        workers.existing += 1
    try:
        worker = start_math_worker(workers.limit_seconds)
    except (RuntimeError, OSError, WorkerDied):
        with workers.changed:
            workers.existing -= 1
            workers.changed.notify()
        return
    _give_back(workers, worker)


def warm(workers: WorkerSet, count: int) -> None:
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
        raise RuntimeError(_CANNOT_START)


def open_set(*, limit_seconds: float = 5.0, most: int = MOST_BORROWED) -> WorkerSet:
    """An empty set of math workers, closed at exit if not before."""
    workers = WorkerSet(limit_seconds, most)
    _OPEN_SETS.add(workers)
    return workers


def close_set(workers: WorkerSet) -> None:
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
