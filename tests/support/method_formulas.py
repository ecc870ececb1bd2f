"""Every row of the table of methods in NumPy: float64, one rollout at a time, from the formulas of the papers.

What the step stops gradients at is computed from `anchor_params` instead of `params`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.support.method_cases import (
    FEEDBACK_PGX,
    REWARDS,
    STEP,
    Batch,
    G,
    P,
    Params,
    T,
    batch,
    doubles,
    np_logp,
)
from tests.support.numpy_oracles import clipped_surrogate, jsd, kl, log_softmax


@dataclass(frozen=True)
class Seen:
    """What a formula may look at: log-probabilities [t, V] of one rollout, and what is known of its tokens."""

    student: np.ndarray
    fixed: np.ndarray  # the student's, without gradient
    teacher: np.ndarray
    anchor: np.ndarray
    ids: list[int]
    old: np.ndarray
    advantage: float
    distilled: bool

    def at(self, logp: np.ndarray) -> np.ndarray:
        """Log-probabilities of the sampled tokens."""
        return logp[np.arange(len(self.ids)), self.ids]

    def capped(self) -> np.ndarray:
        """min(p / p_old, 2), without gradient."""
        return np.minimum(np.exp(self.at(self.fixed) - self.old), 2)

    def gap(self) -> np.ndarray:
        """log p_T - log p_S at the sampled tokens, without gradient."""
        return self.at(self.teacher) - self.at(self.fixed)


def clipped(seen: Seen, advantage: Any, low: float, high: float, *, rollout: bool = False) -> np.ndarray:
    log_ratio = seen.at(seen.student) - seen.old
    ratio = np.exp(np.full(len(seen.ids), log_ratio.mean()) if rollout else log_ratio)
    return clipped_surrogate(ratio, advantage, low, high)


def np_hsd(x: Seen) -> np.ndarray:
    return x.distilled * kl(x.teacher, x.student)


def np_opsd_official(x: Seen) -> np.ndarray:
    student, teacher = log_softmax(x.student / 1.1), log_softmax(x.teacher / 1.1)
    return x.distilled * np.minimum(np.exp(teacher) * (teacher - student), 0.06).sum(-1)


def np_sdpo(x: Seen) -> np.ndarray:
    best = np.argsort(-x.fixed, axis=-1)[:, :100]

    def kept(logp: np.ndarray) -> np.ndarray:
        top = np.take_along_axis(logp, best, axis=-1)
        return np.concatenate([top, np.log(1 - np.exp(top).sum(-1, keepdims=True))], axis=-1)

    return x.distilled * x.capped() * jsd(kept(x.student), kept(x.teacher))


def np_sdft(x: Seen) -> np.ndarray:
    return x.distilled * x.capped().mean() * kl(x.teacher, x.student) * (np.arange(len(x.ids)) >= 3)


def np_rlsd(x: Seen) -> np.ndarray:
    strength = 0.5 * (1 - STEP / 50) * x.distilled
    weight = np.exp(np.sign(x.advantage) * x.gap()).clip(0.8, 1.2)
    return clipped(x, x.advantage * (1 - strength + strength * weight), 0.2, 0.28)


def np_rlrt(x: Seen) -> np.ndarray:
    strength = 0.5 * x.distilled
    weight = np.exp(-np.sign(x.advantage) * x.gap()).clip(0, 2)
    return clipped(x, x.advantage * (1 - strength + strength * weight), 0.2, 0.28)


def np_antisd(x: Seen) -> np.ndarray:
    bonus = 0.5 * (np.log1p(np.exp(x.gap())) - np.log(2))
    return clipped(x, x.advantage - 0.5 * x.distilled * bonus, 0.2, 0.2)


def np_demopsd(x: Seen) -> np.ndarray:
    share = 2 * 0.15 * (1 / (1 + np.exp(-50 * jsd(x.anchor, x.teacher))) - 0.5)
    target = log_softmax((1 - share[:, None]) * x.teacher + share[:, None] * x.anchor)
    constant = kl(x.student, target) - (1 - share) * kl(x.student, x.teacher) - share * kl(x.student, x.anchor)
    # the barycenter's own normalizer does not depend on the student: subtract it, to have the two-term form
    return x.distilled * x.capped() * (kl(x.student, target) - constant)


def np_grpo_opsd(x: Seen) -> np.ndarray:
    return 0.5 * np_hsd(x) + 0.5 * clipped(x, x.advantage, 0.2, 0.2)


ALL = lambda success, peer, known: peer or known  # noqa: E731
WITH_PEER = lambda success, peer, known: peer  # noqa: E731
SUCCESSFUL = lambda success, peer, known: success and peer  # noqa: E731
NOBODY = lambda success, peer, known: False  # noqa: E731


@dataclass(frozen=True)
class Formula:
    """A row, stated again: what its teacher reads, whose weights teach, who is distilled, and the rest."""

    reads: tuple[str, ...]
    teacher: str
    distilled: Callable[[bool, bool, bool], bool]
    token: Callable[[Seen], np.ndarray]
    divided_by: str
    beta: float
    centered: bool = False
    overlong: bool = False
    skips: int = 0


FORMULAS: dict[str, Formula] = {
    "hsd": Formula(("answer", "peer"), "policy", ALL, np_hsd, "sequence", 1e-3),
    "opsd": Formula(("answer",), "policy", ALL, np_hsd, "sequence", 1e-3),
    "opsd_official": Formula(("solution",), "initial", ALL, np_opsd_official, "tokens", 0),
    "sdpo": Formula(("peer",), "teacher", WITH_PEER, np_sdpo, "tokens", 1e-3),
    "rlsd": Formula(("answer",), "teacher", ALL, np_rlsd, "tokens", 1e-3),
    "sdft": Formula(("solution",), "teacher", ALL, np_sdft, "sequence", 1e-3, skips=3),
    "grpo": Formula((), "policy", NOBODY, lambda x: clipped(x, x.advantage, 0.2, 0.2), "sequence", 1e-3),
    "dr_grpo": Formula((), "policy", NOBODY, lambda x: clipped(x, x.advantage, 0.2, 0.2), "window", 1e-3, True),
    "gspo": Formula(
        (), "policy", NOBODY, lambda x: clipped(x, x.advantage, 3e-4, 4e-4, rollout=True), "sequence", 1e-3
    ),
    "dapo": Formula((), "policy", NOBODY, lambda x: clipped(x, x.advantage, 0.2, 0.28), "tokens", 1e-3, overlong=True),
    "grpo_opsd": Formula(("answer",), "policy", ALL, np_grpo_opsd, "sequence", 1e-3),
    "rlrt": Formula(("peer",), "policy", SUCCESSFUL, np_rlrt, "tokens", 0),
    "antisd": Formula(("peer",), "policy", WITH_PEER, np_antisd, "sequence", 0),
    "demopsd": Formula(("peer",), "teacher", WITH_PEER, np_demopsd, "tokens", 0),
}

# what else a teacher may read, as `hsd` would
CONTEXTS: dict[str, Formula] = {
    "feedback": Formula(("feedback",), "policy", ALL, np_hsd, "sequence", 1e-3),
    "peer_or_feedback": Formula(("peer", "feedback"), "policy", ALL, np_hsd, "sequence", 1e-3),
}


def np_advantages(formula: Formula, lengths: np.ndarray) -> np.ndarray:
    buffer = T / 8
    unequal = np.ptp(REWARDS, axis=1, keepdims=True) > 0  # a group of equal rewards does not learn from length
    shaped = REWARDS - formula.overlong * unequal * ((lengths - (T - buffer)) / buffer).clip(0, 1)
    centered = shaped - shaped.mean(1, keepdims=True)
    spread = shaped.std(1, ddof=1, keepdims=True)
    return centered if formula.centered else centered / (spread + 1e-6)


def np_context(of: Batch, formula: Formula, p: int, i: int, peer: int) -> list[int]:
    parts = [of.pieces["head"][p]] + [of.pieces[name][p] for name in ("answer", "solution") if name in formula.reads]
    if peer >= 0 and "peer" in formula.reads:
        text = of.responses[p][peer]
        parts += [[50], text[:-1] if bool(of.rollouts.finished_PG[p, peer]) else text, [51, 52]]
    elif "feedback" in formula.reads and REWARDS[p, i] < 1:
        parts += [FEEDBACK_PGX[p, i].tolist()]
    return [token for part in (*parts, [53], of.pieces["tail"][p]) for token in part]


def np_loss(name: str, peers: np.ndarray, params: Params, anchor_params: Params) -> float:
    """The loss of a step; `anchor_params` are the policy's wherever no gradient flows."""
    of, formula = batch(), (FORMULAS | CONTEXTS)[name]
    who = {key: doubles(of.weights[key]) for key in ("initial", "teacher")} | {"policy": anchor_params}
    lengths = np.array([[len(ids) for ids in group] for group in of.responses])
    advantages, total = np_advantages(formula, lengths), 0.0
    for p, i in np.ndindex(P, G):
        if not bool(of.rollouts.finished_PG[p, i]):
            continue
        ids, question = of.responses[p][i], of.pieces["head"][p] + of.pieces["tail"][p]
        known = any(of.pieces[part][p] for part in ("answer", "solution") if part in formula.reads)
        known = known or ("feedback" in formula.reads and REWARDS[p, i] < 1)
        peer = peers[p, i] >= 0 and "peer" in formula.reads
        seen = Seen(
            student=np_logp(params, question, ids),
            fixed=np_logp(anchor_params, question, ids),
            teacher=np_logp(who[formula.teacher], np_context(of, formula, p, i, int(peers[p, i])), ids),
            anchor=np_logp(who[formula.teacher], question, ids),
            ids=ids,
            old=np.asarray(of.rollouts.logprob_PGT[p, i, : len(ids)], np.float64),
            advantage=float(advantages[p, i]),
            distilled=formula.distilled(bool(REWARDS[p, i]), bool(peer), known),
        )
        token = formula.token(seen)
        in_loss = np.arange(len(ids)) >= formula.skips
        token = token + formula.beta * in_loss * kl(seen.student, np_logp(who["initial"], question, ids))
        divisor = {
            "sequence": max(in_loss.sum(), 1) * P * G,
            "tokens": lengths[np.asarray(of.rollouts.finished_PG)].sum(),
            "window": P * G * T,
        }[formula.divided_by]
        total += token.sum() / divisor
    return total


def np_slope(name: str, peers: np.ndarray, along: Params, size: float = 1e-6) -> float:
    """The derivative of the loss along a direction, by central differences."""
    policy = doubles(batch().weights["policy"])
    ends = [{key: policy[key] + sign * size * along[key] for key in policy} for sign in (1, -1)]
    return (np_loss(name, peers, ends[0], policy) - np_loss(name, peers, ends[1], policy)) / (2 * size)
