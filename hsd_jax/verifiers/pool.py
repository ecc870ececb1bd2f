"""Grades finished rollouts in the background: threads that wait on killable worker and sandbox lending.

    with pool.start(workers=8, programs=True) as graders:
        futures = [graders.submit_math(response, answer), graders.submit_code(response, tests)]
        ...
        verdicts = [future.result() for future in futures]

A check may be submitted as soon as its rollout finishes, from any thread. Nothing here forks the calling process.
"""

import os
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from hsd_jax.types import Verdict
from hsd_jax.verifiers import cases, code, comparison
from hsd_jax.verifiers import function as own
from hsd_jax.verifiers import math as math_verifier
from hsd_jax.verifiers.equivalence import worker_pool
from hsd_jax.verifiers.sandbox import tiers


@dataclass(frozen=True)
class Pool:
    """Running graders; a reward function of the user's own has `function_workers` (`function.open_workers`).

    `submit_*` return at once; close (or leave the context) when no check is wanted any more."""

    threads: ThreadPoolExecutor
    math_workers: worker_pool.WorkerPool
    limits: tiers.Limits
    tolerance: comparison.Tolerance
    allow_unsandboxed: bool
    tier: str
    function: str = ""
    function_workers: worker_pool.WorkerPool | None = None

    def submit_math(self, response: str, answer: str, *, finished: bool = True) -> "Future[Verdict]":
        """The verdict on a response to a mathematics question; easy answers are decided before this returns.

        Of a response that was cut at its cap (not `finished`) only a box counts that it closed.
        """
        response = response if finished else math_verifier.before_a_cut(response)
        verdict = math_verifier.grade_easy(response, answer)
        if verdict is not None:
            decided: Future[Verdict] = Future()
            decided.set_result(verdict)
            return decided
        return self.threads.submit(math_verifier.grade_with, self.math_workers, response, answer)

    def submit_function(self, response: str, question: str, record: Mapping[str, Any]) -> "Future[Verdict]":
        """The verdict of the user's own function on a response; only where the pool was started with one."""
        assert self.function_workers is not None, "started without a function"
        return self.threads.submit(own.grade_with, self.function_workers, self.function, question, response, record)

    def same(self, left: str, right: str) -> bool:
        """Whether two answers to a mathematics question are one (`math.same`). Raises: TimeoutError."""
        return math_verifier.same_with(self.math_workers, left, right)

    def submit_code(self, response: str, tests: cases.VisibleTests) -> "Future[Verdict]":
        """The verdict on the program in a response (`code.extract_program`), run against the visible tests.

        Raises:
            TypeError: the tests are not VisibleTests; training must not see hidden ones.
        """
        return self._submit_program(response, cases.require_visible(tests))

    def submit_hidden(self, response: str, tests: cases.HiddenTests) -> "Future[Verdict]":
        """The verdict on the program in a response by hidden tests, for evaluation only. Raises: TypeError."""
        return self._submit_program(response, cases.require_hidden(tests))

    def _submit_program(self, response: str, tests: cases.Tests) -> "Future[Verdict]":
        settings = {"limits": self.limits, "tolerance": self.tolerance, "allow_unsandboxed": self.allow_unsandboxed}
        return self.threads.submit(code.grade_response, response, tests, **settings)

    def close(self) -> None:
        """Cancels what has not begun, waits for running checks (each has its limit) and ends the workers."""
        self.threads.shutdown(wait=True, cancel_futures=True)
        worker_pool.close_set(self.math_workers)
        if self.function_workers is not None:
            worker_pool.close_set(self.function_workers)

    def __enter__(self) -> "Pool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def start(
    *,
    workers: int | None = None,
    programs: bool = False,
    math_limit_seconds: float = math_verifier.LIMIT_SECONDS,
    limits: tiers.Limits = tiers.DEFAULT_LIMITS,
    tolerance: comparison.Tolerance = comparison.JSON_VALUES,
    allow_unsandboxed: bool = False,
) -> Pool:
    """A pool that runs `workers` checks at once (None: one per usable core) with its math workers warm.

    `programs` says that programs will be graded: then the sandbox is probed now, its tier is printed and kept as
    `Pool.tier`, and a machine without isolation is refused before anything else starts.

    Raises:
        ValueError: fewer than one worker, or a limit that is not positive.
        NoSandbox: `programs` without isolation on this machine and without `allow_unsandboxed`.
    """
    count = len(os.sched_getaffinity(0)) if workers is None else workers
    if count < 1:
        raise ValueError(f"workers must be at least 1, got {count}")
    if min(math_limit_seconds, limits.seconds, limits.whole_check) <= 0:
        seconds = f"{math_limit_seconds}, {limits.seconds} and {limits.whole_check}"
        raise ValueError(f"limits must be positive seconds, got {seconds}")
    tier = str(tiers.tier_for(allow_unsandboxed=allow_unsandboxed)) if programs else "not probed"
    if programs:
        print(tier, flush=True)
    lender = worker_pool.open_set(limit_seconds=math_limit_seconds, most=count + 1)
    worker_pool.warm_up(lender, count)
    threads = ThreadPoolExecutor(count, thread_name_prefix="grader")
    return Pool(threads, lender, limits, tolerance, allow_unsandboxed, tier)
