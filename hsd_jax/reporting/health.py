"""Reads a run's metrics for the known ways this family of methods fails, and says in plain words what to do.

Every check is a pure function of the metrics; every number that decides stands in `metric_table.THRESHOLDS`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hsd_jax.reporting.logs import Record
from hsd_jax.reporting.trends import (
    beyond_plan,
    drop_from_best,
    localization,
    non_finite_steps,
    ratio_to_start,
    recent,
    share_of_verdicts,
    teacher_drift,
)
from hsd_jax.update.metric_table import METRICS, THRESHOLDS, Level, judge


@dataclass(frozen=True)
class Finding:
    """One line of the health panel: the value found, the threshold it was held against, the meaning, the advice."""

    name: str
    title: str
    level: Level
    value: float
    limit: str
    meaning: str
    advice: str


def examine(metrics: Sequence[Record]) -> list[Finding]:
    """All findings, the most urgent first; checks whose metric was not recorded come last as "unknown"."""
    order = {"act": 0, "watch": 1, "ok": 2, "unknown": 3}
    return sorted((check(metrics) for check in CHECKS), key=lambda finding: order[finding.level])


Check = Callable[[Sequence[Record]], Finding]


def _check(
    name: str, title: str, measure: Callable[[Sequence[Record]], float], advice: str, meaning: str = ""
) -> Check:
    """A check of one number against its row of `THRESHOLDS`; a recorded number means what its row of `METRICS` says."""
    threshold, meaning = THRESHOLDS[name], meaning or f"{METRICS[name]}."
    side = "below" if threshold.act < threshold.watch else "from"
    limit = f"look {side} {threshold.watch:g}, act {side} {threshold.act:g}"

    def check(metrics: Sequence[Record]) -> Finding:
        value = measure(metrics)
        return Finding(name, title, judge(value, threshold), value, limit, meaning, advice)

    return check


def _newest(key: str) -> Callable[[Sequence[Record]], float]:
    return lambda metrics: recent(metrics, key)


def _ratio(key: str) -> Callable[[Sequence[Record]], float]:
    return lambda metrics: ratio_to_start(metrics, key)


def _check_finite(metrics: Sequence[Record]) -> Finding:
    count = non_finite_steps(metrics)
    return Finding(
        "non_finite",
        "Non-finite updates",
        "unknown" if not metrics else "act" if count else "ok",
        count if metrics else float("nan"),
        "act from 1",
        "Steps whose loss or gradient norm was not a finite number; such updates are skipped.",
        "Lower the learning rate, and look at the rollouts of the first such step.",
    )


# fmt: off
CHECKS: tuple[Check, ...] = (
    _check_finite,
    _check(
        "coverage", "Coverage", _newest("coverage"),
        "The data is too hard for this model at this group size: take easier problems, a larger group, or a "
        "stronger base model. If nearly every rollout already succeeds, take harder ones.",
    ),
    _check(
        "teacher_coherence", "Teacher coherence", _newest("teacher_coherence"),
        "The teacher recites its peer instead of reading the student's state; training on it makes the student "
        "unlearn its own reasoning. Use a stronger base model, or train on failed rollouts only, or stop.",
    ),
    _check(
        "first_token_kl", "First-token agreement", _newest("first_token_kl"),
        "Student and teacher prompts probably end differently: compare the generation prompts and the thinking "
        "setting of both in the teacher text of a rollout.",
    ),
    _check(
        "localization", "Credit localization", localization,
        "The peer changes little about what the teacher expects. Check in the rollout view that the peer is read "
        "in full, and whether style words carry the credit.",
        "Credit at the divergence over credit in the six tokens before it (1 = no localization).",
    ),
    _check(
        "length_ratio", "Response length", _ratio("response_length"),
        "Shrinking responses are an early sign of collapse. Read some; raise beta, freeze the teacher, or return "
        "to an earlier checkpoint.",
        "Response length of the newest steps over that of the first ones.",
    ),
    _check(
        "repeated_ngrams", "Repetition", _newest("repeated_ngrams"),
        "The policy loops. Return to an earlier checkpoint with a lower learning rate, a larger beta or a frozen "
        "teacher.",
    ),
    _check(
        "teacher_drift", "Teacher drift", teacher_drift,
        "A live teacher moves with its student and may take it along. Compare with a frozen teacher, or re-sync it "
        "only now and then; a growing fallback share or falling reward confirms the trouble.",
        "Relative change of the teacher's entropy since the first steps.",
    ),
    _check(
        "reward_drop", "Drop from the best level", lambda metrics: drop_from_best(metrics, "reward"),
        "Go back to the checkpoint of the best stretch. Freeze the teacher, lower the learning rate or raise beta "
        "before going on.",
        "How far the pass rate of the newest steps is below the best stretch of this run.",
    ),
    _check(
        "kl_reference", "Distance from the initial model", _newest("kl_reference"),
        "The policy has moved far. If quality falls, raise beta; if it rises, this may be what you want.",
    ),
    _check(
        "entropy_ratio", "Variety of the policy", _ratio("entropy"),
        "The policy is becoming certain faster than better. Look at pass@k in the evaluation; raise beta, lower the "
        "learning rate or freeze the teacher.",
        "Entropy of the policy, newest steps over first ones.",
    ),
    _check(
        "masked", "Rollouts without weight", _newest("masked"),
        "If the method distils only some rollouts, this is meant. Otherwise add reference answers to the data, or "
        "raise the group size.",
    ),
    _check(
        "truncated", "Truncated responses", _newest("truncated"),
        "Raise the response limit, or find out in the rollout view whether they loop.",
    ),
    _check(
        "peer_truncated", "Truncated peers", _newest("peer_truncated"),
        "Enlarge the context window: a cut peer hides how the problem was solved.",
    ),
    _check(
        "unread_answers", "Unreadable answers",
        lambda metrics: share_of_verdicts(metrics, ("no_answer", "unparsed")),
        "The reward measures format more than correctness. Check the task instruction and the chat template.",
        "Share of responses in which the verifier found no answer it could read.",
    ),
    _check(
        "verifier_failures", "Verifier failures",
        lambda metrics: share_of_verdicts(metrics, ("timeout", "crash")),
        "Look at the extracted answers of such rollouts; raise the time limit if they are honest.",
        "Share of verdicts that were a timeout or a crash of the checking process.",
    ),
    _check(
        "hedging_ratio", "Words of doubt", _ratio("hedging"),
        "Answer-conditioned teachers make students sound sure. Check evaluation on harder, unseen problems.",
        "Density of words such as wait, hmm or perhaps, newest steps over first ones.",
    ),
    _check(
        "grad_norm_ratio", "Gradient growth", _ratio("grad_norm"),
        "A growing gradient comes before divergence: lower the learning rate or raise beta.",
        "Gradient norm before clipping, newest steps over first ones.",
    ),
    _check(
        "beyond_plan", "Slower than planned", beyond_plan,
        "Compare the seconds of each phase with the plan, and the slowest host with the mean of all: one slow host "
        "holds up the others. docs/operations.md, 5, says what to look at.",
        "Seconds of the phase that is furthest beyond its plan, over those of the plan.",
    ),
    _check(
        "recompilations", "Recompilations", _newest("recompilations"),
        "Row sizes change between steps: --optimizer.layout padded compiles one program.",
    ),
)
# fmt: on
