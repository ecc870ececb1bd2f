"""Grades finished rollouts in the background: threads that wait on killable worker and sandbox processes.

    with pool.start(workers=8) as graders:
        future = graders.submit_math(response, answer)
        ...
        verdict = future.result()

A check may be submitted as soon as its rollout finishes, from any thread. Nothing here forks the calling process.
"""

import os
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType

from hsd_jax.types import Verdict
from hsd_jax.verifiers import math as math_verifier
from hsd_jax.verifiers import workers as processes


@dataclass(frozen=True)
class Pool:
    """Running graders. `submit_*` return at once; close (or leave the context) when no check is wanted any more."""

    threads: ThreadPoolExecutor
    math_workers: processes.WorkerSet

    def submit_math(self, response: str, answer: str) -> "Future[Verdict]":
        """The verdict on a response to a mathematics question; easy answers are decided before this returns."""
        verdict = math_verifier.grade_easy(response, answer)
        if verdict is not None:
            decided: Future[Verdict] = Future()
            decided.set_result(verdict)
            return decided
        return self.threads.submit(math_verifier.grade_with, self.math_workers, response, answer)

    def close(self) -> None:
        """Cancels what has not begun, waits for running checks (each has its limit) and ends the workers."""
        self.threads.shutdown(wait=True, cancel_futures=True)
        processes.close_set(self.math_workers)

    def __enter__(self) -> "Pool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def start(*, workers: int | None = None, math_limit_seconds: float = math_verifier.LIMIT_SECONDS) -> Pool:
    """A pool that runs `workers` checks at once (None: one per usable core) with its math workers warm.

    Raises:
        ValueError: fewer than one worker, or a limit that is not positive.
    """
    count = len(os.sched_getaffinity(0)) if workers is None else workers
    if count < 1:
        raise ValueError(f"workers must be at least 1, got {count}")
    if math_limit_seconds <= 0:
        raise ValueError(f"math_limit_seconds must be positive, got {math_limit_seconds}")
    lender = processes.open_set(limit_seconds=math_limit_seconds, most=count)
    processes.warm(lender, count)
    return Pool(ThreadPoolExecutor(count, thread_name_prefix="grader"), lender)
