"""A reward of one's own: a function of question, response and record, called in processes that may be killed.

    def reward(question: str, response: str, record: dict) -> float | Verdict

The record is the row of the data: id, source, kind, answer, solution, visible tests, difficulty. A reward above .5 is a
success, which others' teachers may read. A function that raises, ends its process or returns something else gives the
verdict `crash`, one that takes too long `timeout`; the first of each kind is named in the log, all are counted.
"""

import itertools
import logging
import os
import re
import sys
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from hsd_jax.errors import InputError
from hsd_jax.types import Verdict
from hsd_jax.verifiers.equivalence import worker_pool
from hsd_jax.verifiers.equivalence.worker_process import (
    Worker,
    WorkerDied,
    WorkerTimeout,
    ask,
    start_worker,
    stop,
)

MODULE = "hsd_jax.verifiers.function_main"
NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
log = logging.getLogger(__name__)
_IDS = itertools.count()
_SAID: set[tuple[str, str]] = set()


def start(name: str, limit_seconds: float) -> Worker:
    """A process that has imported the function; modules are found where the command that trains finds them.

    Raises: InputError where it cannot be imported; WorkerDied, RuntimeError.
    """
    if not NAME.fullmatch(name):
        raise InputError(
            f"verifier.function must be package.module:function, such as rewards.words:count; got {name!r}"
        )
    cannot = f"verifier.function {name!r}: its process ended, or took a minute, while importing it"
    places = [os.getcwd(), *(os.path.abspath(path) for path in sys.path if path)]
    worker, said = start_worker(
        MODULE, [name, str(limit_seconds), *places], os.environ | {"JAX_PLATFORMS": "cpu"}, cannot
    )
    if "error" in said:
        stop(worker)
        raise InputError(
            f"verifier.function {name!r} cannot be used: {said['error']}; give package.module:function, found from the"
            " directory where the command is run"
        )
    return worker


def check(name: str, limit_seconds: float) -> None:
    """Imports the function once, in a process of its own. Raises: InputError where it cannot be used."""
    stop(start(name, limit_seconds))


def open_workers(name: str, *, limit_seconds: float, count: int) -> worker_pool.WorkerPool:
    """Processes for the function, the first of them started now. Raises: InputError where it cannot be used."""
    check(name, limit_seconds)
    workers = worker_pool.open_set(limit_seconds=limit_seconds, most=count + 1, start=partial(start, name))
    worker_pool.warm_up(workers, count)
    return workers


def grade_with(
    workers: worker_pool.WorkerPool, name: str, question: str, response: str, record: Mapping[str, Any]
) -> Verdict:
    """The function's verdict on a response to a row of the data. Raises: OSError, RuntimeError, WorkerDied."""
    asked = {"id": next(_IDS), "question": question, "response": response, "record": record}
    with worker_pool.borrowed(workers) as worker:
        deadline = time.monotonic() + workers.limit_seconds
        try:
            answer: dict[str, Any] = ask(worker, asked, deadline)
        except WorkerTimeout:
            tell_once(name, f"no answer within {workers.limit_seconds:g} s", "timeout", record["id"])
            return Verdict(0.0, "timeout")
        except WorkerDied:
            tell_once(name, "it ended its process", "crash", record["id"])
            return Verdict(0.0, "crash")
    if "error" in answer:
        tell_once(name, answer["error"], "crash", record["id"])
        return Verdict(0.0, "crash")
    return Verdict(**answer["verdict"])


def tell_once(name: str, what: str, reason: str, problem_id: str) -> None:
    """Names a fault of the function in the log; faults of the same words are only counted after that."""
    if (name, what) not in _SAID:
        _SAID.add((name, what))
        log.warning("verifier.function %s on %s: %s; counted as %s, and not said again", name, problem_id, what, reason)
