"""From graded samples to benchmark numbers: pure functions over plain numbers."""

import operator
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import comb

import numpy as np

from hsd_jax.data.difficulty import BINS, bin_of
from hsd_jax.errors import InputError
from hsd_jax.types import SUCCESS

Same = Callable[[str, str], bool]

RESAMPLES = 2000
SUBSETS = 200


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval over problems."""

    value: float
    low: float
    high: float


def mean_at(rewards_PG: np.ndarray) -> np.ndarray:
    """mean@G of each problem [P]: c / G."""
    return np.mean(rewards_PG, axis=1)


def pass_at(correct: int, samples: int, k: int) -> float:
    """Unbiased pass@k of one problem: 1 - C(n - c, k) / C(n, k). Source: arXiv:2107.03374, Eq. 1.

    Raises: InputError unless 1 <= k <= n and 0 <= c <= n.
    """
    if not 1 <= k <= samples or not 0 <= correct <= samples:
        raise InputError(f"pass@k needs 1 <= k <= samples and 0 <= correct <= samples; got {k}, {correct}, {samples}")
    return 1.0 - comb(samples - correct, k) / comb(samples, k)


def right_paths(rewards_PG: Sequence[Sequence[float]], texts_PG: Sequence[Sequence[str]]) -> np.ndarray:
    """How many different texts the right samples of each problem are [P]: a policy that narrows repeats itself."""
    paired = zip(texts_PG, np.asarray(rewards_PG) > SUCCESS, strict=True)
    return np.array([len({text for text, right in zip(*row, strict=True) if right}) for row in paired])


def majority_at(answers: Sequence[str], k: int, rng: np.random.Generator) -> float:
    """maj@k of one problem: the chance that the most frequent answer of k samples is the right one.

    `answers` holds "" for a sample without answer (no vote), and what begins with RIGHT is right. Ties are shared
    evenly. Over all subsets where k is the number of samples, over SUBSETS random ones where it is smaller.
    """
    if not 1 <= k <= len(answers):
        raise InputError(f"maj@k needs 1 <= k <= samples; got {k} of {len(answers)}")
    if k == len(answers):
        return _vote(answers)
    draws = (rng.permutation(len(answers))[:k] for _ in range(SUBSETS))
    return float(np.mean([_vote([answers[int(i)] for i in draw]) for draw in draws]))


RIGHT, WRONG = "\0right", "\0wrong"


def _vote(answers: Sequence[str]) -> float:
    votes = Counter(answer for answer in answers if answer)
    most = max(votes.values(), default=0)
    winners = [answer for answer, count in votes.items() if count == most]
    return sum(answer.startswith(RIGHT) for answer in winners) / max(len(winners), 1)


def votes(answers: Sequence[str], right: Sequence[bool], same: Same) -> list[str]:
    """What each sample votes for, by one equivalence for right and wrong answers alike; "" stays.

    Spellings are taken by frequency, then by alphabet, and each joins the first class whose own first one is the same.
    That one stands for the class: the vote begins with RIGHT where it was graded right. A comparison that is over its
    time limit is not repeated: such a spelling is a class of its own.
    """
    first: dict[str, str] = {}
    counts = Counter(answer for answer in answers if answer)
    for answer in sorted(counts, key=lambda answer: (-counts[answer], answer)):
        try:
            found = next((one for one in dict.fromkeys(first.values()) if same(one, answer)), answer)
        except TimeoutError:
            found = answer
        first[answer] = found
    correct = {answer for answer, graded in zip(answers, right, strict=True) if graded}
    return [(RIGHT if first[answer] in correct else WRONG) + first[answer] if answer else "" for answer in answers]


def bootstrap(values_P: np.ndarray, *, seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """The mean over problems with its percentile interval: problems are drawn again with replacement.

    Raises: InputError without problems.
    """
    values_P = np.asarray(values_P, np.float64)
    if not values_P.size:
        raise InputError("there is no problem to average over")
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, values_P.size, (resamples, values_P.size))
    means = values_P[draws].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return Interval(float(values_P.mean()), float(low), float(high))


def ks(samples: int) -> list[int]:
    """The k that are reported: the powers of two up to the number of samples, and that number."""
    powers = [1 << i for i in range(samples.bit_length()) if 1 << i <= samples]
    return sorted({*powers, samples})


def summarize(
    rewards_PG: np.ndarray,
    answers_PG: Sequence[Sequence[str]] | None = None,
    *,
    seed: int = 0,
    same: Same = operator.eq,
) -> dict[str, Interval]:
    """mean@G, pass@k and (where `answers_PG` is given) maj@k, each with its interval over problems.

    `answers_PG` holds the answers, "" for none; those that are the `same` are one vote.
    """
    samples = rewards_PG.shape[1]
    right_PG = np.asarray(rewards_PG) > SUCCESS
    values: dict[str, np.ndarray] = {f"mean@{samples}": mean_at(rewards_PG)}
    for k in ks(samples):
        values[f"pass@{k}"] = np.array([pass_at(int(row.sum()), samples, k) for row in right_PG])
    if answers_PG is not None:
        voted = [votes(answers, row.tolist(), same) for answers, row in zip(answers_PG, right_PG, strict=True)]
        for k in ks(samples):
            if k > 1:
                rng = np.random.default_rng([seed, k])
                values[f"maj@{k}"] = np.array([majority_at(row, k, rng) for row in voted])
    return {name: bootstrap(column, seed=seed) for name, column in values.items()}


def by_bin(rates: Sequence[float | None], values_P: Sequence[float]) -> Mapping[str, tuple[int, float]]:
    """(problems, mean value) of every difficulty bin that has a problem."""
    groups: dict[str, list[float]] = {}
    for rate, value in zip(rates, values_P, strict=True):
        groups.setdefault(bin_of(rate), []).append(value)
    order = [*(name for name, _ in BINS), "unknown"]
    return {name: (len(groups[name]), float(np.mean(groups[name]))) for name in order if name in groups}
