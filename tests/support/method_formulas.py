"""Every row of the table of methods in NumPy: float64, one rollout at a time, from the formulas of the papers.

What the step stops gradients at is computed from `anchor_params` instead of `params`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hsd_jax.reading.contexts import Chosen
from tests.support.method_cases import (
    FEEDBACK_PGX,
    REWARDS,
    STEP,
    WRONG_PGX,
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
    others: dict[str, np.ndarray]  # the method's further views
    ids: list[int]
    old: np.ndarray
    advantage: float
    reward: float
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


# --- methods of several views, or of statistics of the whole rollout


def np_purified(x: Seen) -> np.ndarray:
    gain = x.teacher - x.others["blind"]
    gain = gain - gain.mean(-1, keepdims=True)
    target = log_softmax(x.anchor + 10 * np.tanh(gain / 10))
    return x.distilled * jsd(x.student, target)


def np_vopd(x: Seen) -> np.ndarray:
    gain = x.gap() + kl(x.fixed, x.teacher)
    return -x.distilled * gain * x.at(x.student)


def mean_one(weight: np.ndarray) -> np.ndarray:
    return weight / weight.mean()


def np_msd(x: Seen) -> np.ndarray:
    best = np.sort(np.exp(x.teacher), axis=-1)[:, ::-1][:, :32]
    best = best / best.sum(-1, keepdims=True)
    sure = 1 + (best * np.log(best)).sum(-1) / np.log(32)
    unsure = 1 - np.exp(x.fixed[np.arange(len(x.ids)), x.teacher.argmax(-1)])
    return x.distilled * mean_one(sure * unsure) * kl(x.student, x.teacher)


def np_entropy(logp: np.ndarray) -> np.ndarray:
    return -(np.exp(logp) * logp).sum(-1)


def np_egrsd(x: Seen, ahead: int = 0) -> np.ndarray:
    entropy = np_entropy(x.teacher)
    least = np.array([entropy[t : t + ahead + 1].min() for t in range(len(entropy))])
    gate = 0.2 + 0.8 * (1 - least / np.log(x.teacher.shape[-1]))
    weight = np.exp(np.sign(x.advantage) * x.gap()).clip(0.8, 1.2)
    return clipped(x, x.advantage * (weight * gate if x.distilled else 1), 0.2, 0.28)


def np_srpo(x: Seen) -> np.ndarray:
    if not x.distilled:
        return clipped(x, x.advantage, 0.2, 0.28)
    return mean_one(np.exp(-np_entropy(x.teacher))) * np_sdpo(x)


def np_oasis(x: Seen) -> np.ndarray:
    student, teacher = log_softmax(x.student / 1.1), log_softmax(x.teacher / 1.1)
    return x.distilled * np.minimum(np.exp(teacher) * (teacher - student), 0.05).sum(-1)


def np_ssopd(x: Seen) -> np.ndarray:
    entries = np.minimum(np.exp(x.teacher) * (x.teacher - x.student), 0.05).sum(-1)
    return x.distilled * entries + clipped(x, x.advantage, 0.2, 0.2)


def same_sign(advantage: float, changed: np.ndarray) -> np.ndarray:
    return np.where(np.sign(changed) == np.sign(advantage), changed, 0)


def np_sipo(x: Seen) -> np.ndarray:
    bonus = 0.5 * (x.at(x.teacher) - x.at(x.others["wrong"])).clip(-0.2, 0.2) * x.distilled
    changed = same_sign(x.advantage, x.advantage + bonus)
    return clipped(x, bonus if x.advantage == 0 and x.reward == 0 else changed, 0.2, 0.2)


def np_rlcsd(x: Seen) -> np.ndarray:
    bonus = 0.5 * np.tanh((x.at(x.teacher) - x.at(x.others["wrong"])) / 0.02) * x.distilled
    changed = np.where(abs(bonus) > 0.02, same_sign(x.advantage, x.advantage + bonus), x.advantage)
    return clipped(x, changed, 0.2, 0.2)


# --- texts that the data give, rows that nobody sampled


def np_on_policy(x: Seen) -> np.ndarray:
    return -x.distilled * x.gap() * x.at(x.student)


def np_rethinking(x: Seen) -> np.ndarray:
    out = np.zeros(len(x.ids))
    for t, (student, fixed, teacher) in enumerate(zip(x.student, x.fixed, x.teacher, strict=True)):
        best = np.argsort(-fixed)[:16]
        share = np.exp(fixed[best]) / np.exp(fixed[best]).sum()
        out[t] = (share * (fixed[best] - teacher[best]) * student[best]).sum()
    return x.distilled * out


def on_best(x: Seen, of: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    best = np.argsort(-of, axis=-1)[:, :k]
    student, teacher = (log_softmax(np.take_along_axis(logp, best, axis=-1)) for logp in (x.student, x.teacher))
    return student, teacher


def np_brts(x: Seen) -> np.ndarray:
    student, teacher = on_best(x, x.fixed, 16)
    return x.distilled * kl(student, teacher)


def np_brts_row(x: Seen) -> np.ndarray:
    student, teacher = on_best(x, x.teacher, 16)
    return x.distilled * kl(teacher, student)


def np_rcsd(x: Seen) -> np.ndarray:
    student, teacher = on_best(x, x.teacher, 20)
    return x.distilled * np.minimum(np.exp(teacher) * (teacher - student), 0.05).sum(-1)


def np_sgsd(x: Seen) -> np.ndarray:
    total = np.zeros(len(x.ids))
    for teacher in (x.teacher, *x.others.values()):
        support = (x.at(teacher) - x.at(x.fixed)).clip(-3, 3).mean()
        sign = np.sign(support) * (abs(support) > 0.05) * (1 if x.reward > 0.5 else -1)
        gap = x.at(teacher) - x.at(x.student)
        total += sign * (np.log(2) - np.log1p(np.exp(-(gap**2) / 2)))
    return x.distilled * total / 4


def np_trust(x: Seen) -> np.ndarray:
    return x.distilled * jsd(x.student, log_softmax(0.95 * x.others["still"] + 0.05 * x.teacher))


ALL = lambda success, peer, known: peer or known  # noqa: E731
WITH_PEER = lambda success, peer, known: peer  # noqa: E731
FAILED = lambda success, peer, known: not success and peer  # noqa: E731
SUCCESSFUL = lambda success, peer, known: success and peer  # noqa: E731
NOBODY = lambda success, peer, known: False  # noqa: E731


@dataclass(frozen=True)
class Formula:
    """A row, stated again: what its teacher reads, whose weights teach, who is distilled, and the rest.

    What is read are words: blocks of the problem, "peer", "failed" (a failure, said to be one), "wrong peer" (a failure
    in the words of a peer), "wrong answer"; without "question" only the opening stands before them.
    """

    reads: tuple[str, ...]
    teacher: str
    distilled: Callable[[bool, bool, bool], bool]
    token: Callable[[Seen], np.ndarray]
    divided_by: str
    beta: float
    centered: bool = False
    overlong: bool = False
    skips: int = 0
    others: tuple[tuple[str, tuple[str, ...]], ...] = ()
    only: str = ""  # the one rollout of a group that is distilled
    ends: int = T  # tokens of a response that are in the loss
    row: str = ""  # what nobody sampled: "golden", or the success that was likeliest, else that
    row_token: Callable[[Seen], np.ndarray] = lambda x: -x.at(x.student)
    row_weight: float = 0.0
    still: bool = False  # whether further views are of the initial weights


def is_only(formula: Formula, lengths: np.ndarray, i: int, rewards: np.ndarray) -> bool:
    """Whether a rollout is one of those that are distilled; everybody where nobody is chosen."""
    if not formula.only:
        return True
    length, outcome = formula.only.split()
    own = [j for j in range(len(rewards)) if bool(rewards[j]) == (outcome == "success")]
    best = {"shortest": min, "longest": max}[length]
    return i in own and lengths[i] == best(lengths[j] for j in own)


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
    "purified_opsd": Formula(
        ("solution",), "initial", ALL, np_purified, "tokens", 0, others=(("blind", ("alone", "solution")),)
    ),
    "vopd": Formula(("answer",), "initial", ALL, np_vopd, "tokens", 0),
    "msd": Formula(("solution",), "initial", ALL, np_msd, "sequence", 0),
    "egrsd": Formula(("answer",), "teacher", ALL, np_egrsd, "tokens", 0),
    "cl_egrsd": Formula(("answer",), "teacher", ALL, lambda x: np_egrsd(x, 4), "tokens", 0),
    "mopd": Formula(("peer", "failed"), "teacher", WITH_PEER, np_sdpo, "tokens", 1e-3),
    "srpo": Formula(("peer",), "teacher", FAILED, np_srpo, "tokens", 0, centered=True),
    "oasis": Formula(("attempt",), "initial", WITH_PEER, np_oasis, "tokens", 0, only="shortest success"),
    "ssopd": Formula(("peer",), "initial", FAILED, np_ssopd, "sequence", 0, only="longest failure"),
    "sipo": Formula(
        ("answer",), "teacher", ALL, np_sipo, "tokens", 0, centered=True, others=(("wrong", ("wrong answer",)),)
    ),
    "rlcsd": Formula(("peer",), "teacher", WITH_PEER, np_rlcsd, "tokens", 0, others=(("wrong", ("wrong peer",)),)),
}

FORMULAS |= {
    "popd": Formula(("answer",), "initial", ALL, np_on_policy, "tokens", 0, ends=2),
    "topd": Formula(("answer",), "initial", ALL, np_on_policy, "tokens", 0, ends=2),
    "rethinking_opd": Formula(("answer",), "initial", ALL, np_rethinking, "tokens", 0),
    "stable_opd": Formula(("answer",), "initial", ALL, np_on_policy, "sequence", 0.01, row="golden", row_weight=0.1),
    "brts": Formula(
        ("answer",), "initial", ALL, np_brts, "tokens", 0, row="success", row_token=np_brts_row, row_weight=10.0
    ),
    "rcsd": Formula(("answer", "rubric"), "initial", ALL, np_rcsd, "tokens", 0),
    "ccopd": Formula(("canonical",), "initial", ALL, lambda x: x.distilled * kl(x.student, x.teacher), "sequence", 0),
    "sgsd": Formula(
        ("skill0",),
        "policy",
        ALL,
        np_sgsd,
        "sequence",
        1e-3,
        others=tuple((f"teacher{k}", (f"skill{k}",)) for k in (1, 2, 3)),
    ),
    "cgtr": Formula(("peer",), "teacher", WITH_PEER, np_sdpo, "tokens", 1e-3),
    "sdpo_trust_region": Formula(
        ("peer",), "policy", WITH_PEER, np_trust, "tokens", 1e-3, others=(("still", ("peer",)),), still=True
    ),
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


OUTCOMES = {"peer": "successes", "attempt": "failures", "failed": "failures", "wrong peer": "failures"}
Sets = dict[str, np.ndarray]  # by outcome, the rollouts that each rollout reads [P, G, count]


def sets_of(chosen: Chosen) -> Sets:
    """The drawn sets by their outcome; only failures where there are any count as "failures_first"."""
    return {piece.outcome.replace("_first", ""): np.asarray(peers) for piece, peers in chosen.peers.items()}


def np_context(of: Batch, words: tuple[str, ...], p: int, i: int, sets: Sets) -> tuple[list[int], bool, bool]:
    """The context, whether it tells anything (all that is named, where it is a contrast), and whether by attempts."""
    parts = [[54]] if "alone" in words else [of.pieces["head"][p]]
    if words == ("canonical",):
        return of.pieces["canonical"][p] + of.pieces["tail"][p], bool(of.pieces["canonical"][p]), False
    told, attempts = [], []
    for word in words:
        if word in ("answer", "solution", "rubric") or word.startswith("skill"):
            told.append(of.pieces[word][p])
        elif word == "wrong answer":
            told.append(WRONG_PGX[p, i].tolist())
        elif word in OUTCOMES:
            for peer in sets[OUTCOMES[word]][p, i]:
                text = of.responses[p][peer][: -1 if bool(of.rollouts.finished_PG[p, peer]) else None]
                opens, closes = {"failed": ([55], [56]), "attempt": ([49], [48])}.get(word, ([50], [51, 52]))
                attempts += [opens + text + closes] * int(peer >= 0)
    said = FEEDBACK_PGX[p, i].tolist() if "feedback" in words and REWARDS[p, i] < 1 and not attempts else []
    parts += [*told, said, *attempts, [53], of.pieces["tail"][p]]
    return [token for part in parts for token in part], bool(sum(told, []) or said or attempts), bool(attempts)


def np_loss(name: str, sets: Sets, params: Params, anchor_params: Params) -> float:
    """The loss of a step; `anchor_params` are the policy's wherever no gradient flows."""
    of, formula = batch(), (FORMULAS | CONTEXTS)[name]
    who = {key: doubles(of.weights[key]) for key in ("initial", "teacher")} | {"policy": anchor_params}
    lengths = np.array([[len(ids) for ids in group] for group in of.responses])
    advantages, total = np_advantages(formula, lengths), 0.0
    inside = np.minimum(lengths, formula.ends)

    def seen_of(p: int, i: int, ids: list[int], **known: Any) -> Seen:
        question = of.pieces["head"][p] + of.pieces["tail"][p]
        teacher, further = who[formula.teacher], who["initial" if formula.still else formula.teacher]
        others = {view: np_context(of, words, p, i, sets)[0] for view, words in formula.others}
        return Seen(
            student=np_logp(params, question, ids),
            fixed=np_logp(anchor_params, question, ids),
            teacher=np_logp(teacher, np_context(of, formula.reads, p, i, sets)[0], ids),
            anchor=np_logp(teacher, question, ids),
            others={view: np_logp(further, context, ids) for view, context in others.items()},
            ids=ids,
            **known,
        )

    for p, i in np.ndindex(P, G):
        if not bool(of.rollouts.finished_PG[p, i]):
            continue
        ids = of.responses[p][i]
        _, known, peer = np_context(of, formula.reads, p, i, sets)
        known = known and all(np_context(of, words, p, i, sets)[1] for _, words in formula.others)
        known = known and ("rubric" not in formula.reads or bool(of.pieces["rubric"][p]))
        seen = seen_of(
            p,
            i,
            ids,
            old=np.asarray(of.rollouts.logprob_PGT[p, i, : len(ids)], np.float64),
            advantage=float(advantages[p, i]),
            reward=float(REWARDS[p, i]),
            distilled=known
            and is_only(formula, lengths[p], i, REWARDS[p])
            and formula.distilled(bool(REWARDS[p, i]), peer, known),
        )
        in_loss = (np.arange(len(ids)) >= formula.skips) & (np.arange(len(ids)) < formula.ends)
        question = of.pieces["head"][p] + of.pieces["tail"][p]
        token = formula.token(seen) * in_loss
        token = token + formula.beta * in_loss * kl(seen.student, np_logp(who["initial"], question, ids))
        divisor = {
            "sequence": max(in_loss.sum(), 1) * P * G,
            "tokens": inside[np.asarray(of.rollouts.finished_PG)].sum(),
            "window": P * G * T,
        }[formula.divided_by]
        total += token.sum() / divisor
    rows = {p: ids for p in range(P) if (ids := further_row(of, formula, p))}
    for p, ids in rows.items():
        known = np_context(of, formula.reads, p, 0, sets)[1]
        seen = seen_of(p, 0, ids, old=np.zeros(len(ids)), advantage=0.0, reward=0.0, distilled=known)
        divisor = len(ids) * P if formula.divided_by == "sequence" else sum(map(len, rows.values()))
        total += formula.row_weight * formula.row_token(seen).sum() / divisor
    return total


def further_row(of: Batch, formula: Formula, p: int) -> list[int]:
    """The row that nobody sampled of a problem; empty where there is none."""
    successes = [i for i in range(G) if REWARDS[p, i]]
    if formula.row == "success" and successes:
        lengths = [len(ids) for ids in of.responses[p]]
        means = [float(np.asarray(of.rollouts.logprob_PGT[p, i, : lengths[i]]).mean()) for i in successes]
        return of.responses[p][successes[int(np.argmax(means))]]
    return of.pieces["golden"][p] if formula.row else []


def np_slope(name: str, sets: Sets, along: Params, size: float = 1e-6) -> float:
    """The derivative of the loss along a direction, by central differences."""
    policy = doubles(batch().weights["policy"])
    ends = [{key: policy[key] + sign * size * along[key] for key in policy} for sign in (1, -1)]
    return (np_loss(name, sets, ends[0], policy) - np_loss(name, sets, ends[1], policy)) / (2 * size)
