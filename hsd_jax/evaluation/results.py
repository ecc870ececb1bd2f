"""The numbers of one evaluation, from its graded answers."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hsd_jax.data.problems import Problem
from hsd_jax.evaluation.generate import Samples
from hsd_jax.evaluation.metrics import Same, by_bin, summarize
from hsd_jax.verifiers import math
from hsd_jax.verifiers.equivalence.tokens import canonical


@dataclass(frozen=True)
class EvalResult:
    """All numbers of an evaluation. `metrics` maps a name to {value, low, high}."""

    metrics: Mapping[str, Mapping[str, float]]
    counts: Mapping[str, int]
    lengths: Mapping[str, float]
    bins: Mapping[str, tuple[int, float]]
    answered: tuple[Samples, ...]


def summary(
    problems: Sequence[Problem], answered: Sequence[Samples], *, seed: int = 0, same: Same = math.same
) -> EvalResult:
    """The numbers of graded answers. maj@k is given for mathematics only: programs have no common spelling.

    `same` says of two answers whether they are one vote, right or wrong.
    """
    rewards_PG = np.array([one.rewards for one in answered], np.float64)
    vote = all(problem.kind == "math" for problem in problems)
    answers = [[canonical(text) if text else "" for text in one.extracted] for one in answered]
    metrics = summarize(rewards_PG, answers if vote else None, seed=seed, same=same)
    lengths_PG = np.array([one.lengths for one in answered])
    finished_PG = np.array([one.finished for one in answered])
    verdicts = Counter(reason for one in answered for reason in one.reasons)
    return EvalResult(
        metrics={name: dataclasses.asdict(interval) for name, interval in metrics.items()},
        counts={f"verdict/{reason}": count for reason, count in sorted(verdicts.items())},
        lengths={
            "response_length": float(lengths_PG.mean()),
            "truncated": 1.0 - float(finished_PG.mean()),
            "response_tokens": int(lengths_PG.sum()),
        },
        bins=by_bin([problem.difficulty for problem in problems], rewards_PG.mean(axis=1)),
        answered=tuple(answered),
    )
