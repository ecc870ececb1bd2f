"""Killable worker processes that answer questions over pipes within a deadline.

Workers are fresh interpreters started with `subprocess` (never a fork of the JAX process). The parent keeps the
deadline: a worker that does not answer in time is killed, not asked.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
START_SECONDS = 60.0
MATH_MODULE = "hsd_jax.verifiers.equivalence.worker_main"
CANNOT_START = "the math worker did not start; `python -c 'import math_verify'` must work in this environment"


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

    Raises: as `start_worker`.
    """
    environment = {"SYMPY_GROUND_TYPES": "python", "SYMPY_USE_CACHE": "yes", "LC_ALL": "C.UTF-8"}
    worker, _ = start_worker(MATH_MODULE, [str(limit_seconds + 2)], environment, CANNOT_START)
    return worker


def start_worker(
    module: str, arguments: list[str], environment: Mapping[str, str], cannot_start: str
) -> tuple[Worker, dict[str, object]]:
    """A fresh interpreter that runs `module.main(*arguments)`, and the line in which it says that it is ready.

    Raises:
        WorkerDied: it was killed while it started.
        RuntimeError: it cannot start in this environment (`cannot_start`).
    """
    code = (
        "import sys; sys.dont_write_bytecode = True; sys.path.append(sys.argv[1]); "
        f"from {module} import main; main(*sys.argv[2:])"
    )
    process = subprocess.Popen(
        [sys.executable, "-I", "-c", code, str(ROOT), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=dict(environment),
        cwd="/",
        start_new_session=True,
    )
    worker = Worker(process)
    try:
        return worker, json.loads(read_line(worker, time.monotonic() + START_SECONDS))
    except WorkerDied:
        if (process.returncode or 0) < 0:
            raise
        raise RuntimeError(cannot_start) from None
    except WorkerTimeout:
        raise RuntimeError(cannot_start) from None


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
    """Kills a worker, with what it has started, and collects it."""
    with contextlib.suppress(OSError):
        os.killpg(worker.process.pid, signal.SIGKILL)  # it leads a session of its own
    worker.process.wait()
    for pipe in (worker.process.stdin, worker.process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
