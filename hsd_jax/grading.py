"""Grading while the sampler still works: each rollout goes to the verifier processes as soon as it is finished."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from hsd_jax.data.problems import Problem
from hsd_jax.types import Rollouts, Verdict

REASONS = ("correct", "wrong", "no_answer", "unparsed", "timeout", "crash")


class VerifierPool(Protocol):
    """What grading needs of `hsd_jax.verifiers.pool.Pool`."""

    def submit_math(self, response: str, answer: str) -> Future[Verdict]: ...

    def submit_code(self, response: str, tests: Any) -> Future[Verdict]: ...


Submit = Callable[[Problem, str], Future[Verdict]]


@dataclass(frozen=True)
class Graded:
    """A step's verdicts: rewards [P, G] float32, and per problem and rollout the verdict and the decoded text."""

    rewards_PG: np.ndarray
    verdicts: list[list[Verdict]]
    texts: list[list[str]]

    def counts(self) -> dict[str, int]:
        """How often each reason was given; every known reason is named."""
        found = Counter(verdict.reason for row in self.verdicts for verdict in row)
        return {f"verdict/{reason}": found[reason] for reason in (*REASONS, *sorted(set(found) - set(REASONS)))}


@dataclass(frozen=True)
class Desk:
    """The checks under way, by (problem, rollout). Pass `take` to the sampler, then call `collect`."""

    problems: Sequence[Problem]
    submit: Submit
    decode: Callable[[Sequence[int]], str]
    stop_ids: frozenset[int]
    under_way: dict[tuple[int, int], tuple[str, Future[Verdict]]]

    def take(self, problem: int, rollout: int, ids: np.ndarray) -> None:
        """Decodes a finished rollout and starts its check."""
        tokens = ids.tolist()
        text = self.decode(tokens[:-1] if tokens and tokens[-1] in self.stop_ids else tokens)
        self.under_way[problem, rollout] = text, self.submit(self.problems[problem], text)

    def collect(self, rollouts: Rollouts) -> Graded:
        """Waits for every check; the pool keeps the time limits, so this ends."""
        groups = [[self.under_way[p, g] for g in range(rollouts.length_PG.shape[1])] for p in range(len(self.problems))]
        verdicts = [[future.result() for _, future in row] for row in groups]
        rewards_PG = np.array([[verdict.reward for verdict in row] for row in verdicts], np.float32)
        return Graded(rewards_PG, verdicts, [[text for text, _ in row] for row in groups])


def desk(problems: Sequence[Problem], submit: Submit, tokenizer: Any, stop_ids: Sequence[int]) -> Desk:
    """An empty desk for one batch."""

    def decode(ids: Sequence[int]) -> str:
        return tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)

    return Desk(problems, submit, decode, frozenset(stop_ids), {})


def submit_to(pool: VerifierPool, tests_of: Callable[[Problem], Any]) -> Submit:
    """Checks math against the true answer and programs against the tests that `tests_of` allows."""

    def submit(problem: Problem, text: str) -> Future[Verdict]:
        if problem.kind == "math":
            return pool.submit_math(text, problem.answer)
        return pool.submit_code(text, tests_of(problem))

    return submit
