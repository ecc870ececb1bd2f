"""Grading while the sampler still works: each rollout goes to the verifier processes as soon as it is finished.

A check whose processes fail (they are killed, or cannot start) is retried once on fresh processes; then it is a
`crash`. A run does not train on a step in which many checks failed so: it stops.
"""

import functools
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from hsd_jax.data.problems import Problem
from hsd_jax.errors import RunStopped
from hsd_jax.types import REASONS, Rollouts, Verdict
from hsd_jax.verifiers.equivalence.worker_process import WorkerDied

log = logging.getLogger(__name__)

FAILURES = (OSError, RuntimeError, WorkerDied, CancelledError)  # of the processes, not of a response
MOST_FAILED = 0.1  # share of a step's checks


class VerifierPool(Protocol):
    """What grading needs of `hsd_jax.verifiers.pool.Pool`."""

    def submit_math(self, response: str, answer: str, *, finished: bool) -> Future[Verdict]: ...

    def submit_code(self, response: str, tests: Any) -> Future[Verdict]: ...

    def submit_function(self, response: str, question: str, record: Mapping[str, Any]) -> Future[Verdict]: ...


# problem, response, whether the response ended of itself (it was not cut at its cap)
Submit = Callable[[Problem, str, bool], Future[Verdict]]


@dataclass(frozen=True)
class GradedBatch:
    """A step's verdicts: rewards [P, G] float32, and per problem and rollout the verdict and the decoded text."""

    rewards_PG: np.ndarray
    verdicts: list[list[Verdict]]
    texts: list[list[str]]

    def counts(self) -> dict[str, int]:
        """How often each reason was given; every known reason is named."""
        found = Counter(verdict.reason for row in self.verdicts for verdict in row)
        return {f"verdict/{reason}": found[reason] for reason in REASONS}


@dataclass(frozen=True)
class _Check:
    problem: str
    text: str
    ask: Callable[[], Future[Verdict]]
    future: Future[Verdict]


@dataclass(frozen=True)
class PendingVerdicts:
    """In-flight verdicts, by (problem, rollout). Pass `take` to the sampler, then call `collect`."""

    problems: Sequence[Problem]
    submit: Submit
    decode: Callable[[Sequence[int]], str]
    stop_ids: frozenset[int]
    under_way: dict[tuple[int, int], _Check]

    def submit_rollout(self, problem: int, rollout: int, ids: np.ndarray) -> None:
        """Decodes a finished rollout and starts its check."""
        tokens = ids.tolist()
        finished = bool(tokens) and tokens[-1] in self.stop_ids
        text = self.decode(tokens[:-1] if finished else tokens)
        ask = functools.partial(self.submit, self.problems[problem], text, finished)
        self.under_way[problem, rollout] = _Check(self.problems[problem].id, text, ask, submitted(ask))

    def collect(self, rollouts: Rollouts) -> GradedBatch:
        """Waits for every check; the pool keeps the time limits, so this ends.

        Raises: RunStopped if the checks of more than a tenth of the rollouts (and more than one) failed.
        """
        groups = [[self.under_way[p, g] for g in range(rollouts.length_PG.shape[1])] for p in range(len(self.problems))]
        failed: list[str] = []
        verdicts = [[verdict_of(check, failed) for check in row] for row in groups]
        refuse_failures(failed, rollouts.length_PG.size)
        rewards_PG = np.array([[verdict.reward for verdict in row] for row in verdicts], np.float32)
        return GradedBatch(rewards_PG, verdicts, [[check.text for check in row] for row in groups])


def submitted(ask: Callable[[], Future[Verdict]]) -> Future[Verdict]:
    """The check under way; where it cannot begin, one that has failed."""
    try:
        return ask()
    except FAILURES as error:
        failed: Future[Verdict] = Future()
        failed.set_exception(error)
        return failed


def verdict_of(check: _Check, failed: list[str]) -> Verdict:
    """The verdict of a check, retried once if it failed, then a `crash` that is added to `failed`."""
    try:
        return check.future.result()
    except FAILURES:
        try:
            return submitted(check.ask).result()
        except FAILURES as error:
            failed.append(f"{check.problem}: {type(error).__name__}: {error}")
            return Verdict(0.0, "crash")


def refuse_failures(failed: Sequence[str], checks: int) -> None:
    """Warns of failed checks; raises RunStopped where there are too many to train on."""
    if not failed:
        return
    message = f"grading: {len(failed)} of {checks} checks failed; the first: {failed[0]}"
    if len(failed) > max(1, MOST_FAILED * checks):
        raise RunStopped(
            f"{message}. The verifier processes do not work: look at memory and process limits, lower"
            " verifier.workers, then continue with --resume auto"
        )
    log.warning("%s; counted as crash", message)


def start_grading(
    problems: Sequence[Problem], submit: Submit, tokenizer: Any, stop_ids: Sequence[int]
) -> PendingVerdicts:
    """Verdicts of one batch, none requested yet."""

    def decode(ids: Sequence[int]) -> str:
        return tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    return PendingVerdicts(problems, submit, decode, frozenset(stop_ids), {})


def submit_to(graders: VerifierPool, tests_of: Callable[[Problem], Any]) -> Submit:
    """Checks math against the true answer and programs against the tests that `tests_of` allows."""

    def submit(problem: Problem, text: str, finished: bool) -> Future[Verdict]:
        if problem.kind == "math":
            return graders.submit_math(text, problem.answer, finished=finished)
        return graders.submit_code(text, tests_of(problem))

    return submit
