"""From answers and credits to the few numbers that the page of predictions is made of, and their intervals."""

import zlib
from collections.abc import Mapping, Sequence
from math import comb
from typing import Any

import numpy as np

from tools.prediction_views import Credit

OFFSETS = (-6, 18)
STEP = 5  # tokens behind the divergence until the next written result, which may err again
SIZES = (4, 8, 16, 32)
STRATA = ((0.0, 0.15), (0.15, 0.25), (0.25, 0.35), (0.35, 0.5), (0.5, 0.65), (0.65, 1.0))
DRAWS, DIGITS = 2000, 5
Numbers = list[float | None]


def interval(values: Sequence[float | None] | np.ndarray, name: str) -> tuple[float, float, float]:
    """The mean over questions and a 95 % bootstrap interval; `name` addresses the draws. nan without values."""
    held = np.array([value for value in values if value is not None], float)
    if not len(held):
        return float("nan"), float("nan"), float("nan")
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    means = held[rng.integers(0, len(held), (DRAWS, len(held)))].mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(held.mean()), float(low), float(high)


def shown(values: Sequence[float | None], name: str, digits: int = 3) -> str:
    """Mean and interval as text."""
    mean, low, high = interval(values, name)
    return "–" if np.isnan(mean) else f"{mean:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def of_view(credits: Sequence[Credit], questions: int) -> dict[str, Any]:
    """What is kept of a view: |A| by offset, and by question |A| before, at and behind the divergence, AUCs and KL.

    `auc`: how often a right rollout has more mean credit than a wrong one of its question; `auc_length` the same with
    the mean credit's linear dependence on length taken out.
    """
    first, last = OFFSETS
    table: list[list[float]] = [[] for _ in range(last - first + 1)]
    parts: dict[str, list[list[float]]] = {
        name: [[] for _ in range(questions)] for name in ("before", "at", "near", "later", "whole", "kl_on", "kl_off")
    }
    for one in credits:
        size, tau = np.abs(one.credit_T), one.divergence
        parts["whole"][one.question].append(float(size.mean()))
        if tau < 0:
            continue
        for offset in range(max(first, -tau), min(last, len(size) - 1 - tau) + 1):
            table[offset - first].append(float(size[tau + offset]))
        cuts = {"before": size[:tau], "at": size[tau : tau + 1], "near": size[tau + 1 : tau + 1 + STEP]}
        cuts |= {"later": size[tau + 1 + STEP :], "kl_on": one.kl_T[:tau], "kl_off": one.kl_T[tau:]}
        for name, cut in cuts.items():
            parts[name][one.question] += [float(cut.mean())] if len(cut) else []
    profile = [round(float(np.mean(column)), DIGITS) if column else None for column in table]
    means = {name: [_mean(values) for values in lists] for name, lists in parts.items()}
    aucs = {"auc": _aucs(credits, questions, 0.0), "auc_length": _aucs(credits, questions, _slope(credits))}
    return {"rollouts": len(credits), "profile": profile, **means, **aucs}


def _mean(values: Sequence[float]) -> float | None:
    return round(float(np.mean(values)), DIGITS) if values else None


def _slope(credits: Sequence[Credit]) -> float:
    lengths = np.array([len(one.credit_T) for one in credits], float)
    means = np.array([one.credit_T.mean() for one in credits], float)
    spread = lengths - lengths.mean() if len(credits) else lengths
    return float(spread @ means / (spread @ spread)) if spread @ spread else 0.0


def _aucs(credits: Sequence[Credit], questions: int, slope: float) -> Numbers:
    found: Numbers = []
    for question in range(questions):
        own = [one for one in credits if one.question == question]
        score = {
            right: [o.credit_T.mean() - slope * len(o.credit_T) for o in own if o.right == right] for right in (0, 1)
        }
        pairs = [float(a > b) + 0.5 * float(a == b) for a in score[1] for b in score[0]]
        found.append(_mean(pairs))
    return found


def coverage(right: Mapping[str, Sequence[bool]]) -> dict[str, dict[str, list[float]]]:
    """By group size: the share of a question's rollouts that failed beside a success, and what f(p, G) says.

    Groups are cut from a question's first half of samples, p is estimated on the second, without bias: with s of n
    samples right, (1-p)^k is C(n-s, k) / C(n, k).
    """
    found = {}
    for size in SIZES:
        seen, said = [], []
        for samples in right.values():
            half = len(samples) // 2
            if size > half:
                continue
            groups = np.array(samples[: half // size * size]).reshape(-1, size)
            seen.append(round(float(np.mean(~groups & groups.any(axis=1, keepdims=True))), DIGITS))
            wrong = half - sum(samples[half : 2 * half])
            powers = [comb(wrong, k) / comb(half, k) for k in (1, size)]
            said.append(round(powers[0] - powers[1], DIGITS))
        found[str(size)] = {"seen": seen, "said": said}
    return found


def rates(right: Mapping[str, Sequence[bool]]) -> dict[str, float]:
    """Each question's share of right samples."""
    return {name: round(float(np.mean(samples)), DIGITS) for name, samples in right.items()}


def pass_at(right: Mapping[str, Sequence[bool]], k: int) -> list[float]:
    """Each question's pass@k, unbiased."""
    return [1.0 - comb(len(s) - sum(s), k) / comb(len(s), k) for s in right.values() if len(s) >= k]
