"""What a run warns about by itself, and when it stops: numbers that are not finite, and the ways policies collapse.

Lengths and entropies are held against the run's own first steps, since what is normal differs between models and data;
the limits are those of the report's health panel (`metric_table.THRESHOLDS`).
"""

import logging
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hsd_jax.config import Guards
from hsd_jax.errors import RunStopped
from hsd_jax.runtime import multihost
from hsd_jax.update.metric_table import THRESHOLDS, Threshold, judge

log = logging.getLogger(__name__)
FIRST, RECENT = 10, 5  # steps that say what is normal, and steps that are compared with them
VARIETY = ("eval/pass@16", "eval/pass@4")  # the larger k tells first
PLANNED = ("sample", "update")  # the phases that a plan gives seconds for
RISE, FALL = 0.01, 0.03  # what counts between evaluations of a hundred questions
Line = Mapping[str, Any]


@dataclass(frozen=True)
class Alarm:
    """A sign of collapse: a metric of the recent steps, or its ratio to the first ones, is past where to act."""

    metric: str
    threshold: Threshold
    says: str
    ratio: bool = False


ALARMS = (
    Alarm("repeated_ngrams", THRESHOLDS["repeated_ngrams"], "responses repeat themselves"),
    Alarm("response_length", THRESHOLDS["length_ratio"], "responses shrink", ratio=True),
    Alarm("entropy", THRESHOLDS["entropy_ratio"], "the policy's entropy falls", ratio=True),
    Alarm("kl_reference", THRESHOLDS["kl_reference"], "the policy has left its reference"),
)


def watch(lines: Sequence[Line], settings: Guards, workdir: str) -> None:
    """Looks at the metrics so far, newest last: warns once when an alarm begins to ring.

    Raises: RunStopped after too many updates in a row that were not finite, or on collapse where that is asked for.
    """
    skipped = [line.get("skipped", 0) for line in lines[-settings.nonfinite_updates :]]
    if len(skipped) == settings.nonfinite_updates and all(skipped):
        raise RunStopped(
            f"step {lines[-1]['step']}: loss or grad_norm was not finite in {len(skipped)} updates in a row (skipped);"
            f" lower optimizer.learning-rate or use --model.compute-dtype float32, then resume {workdir}"
        )
    for alarm in ALARMS:
        if rings(alarm, lines) and not rings(alarm, lines[:-1]):
            message = f"step {lines[-1]['step']}: {alarm.metric}: {alarm.says} (the policy may be collapsing)"
            if settings.stop_on_collapse:
                raise RunStopped(f"{message}; stopped, as guards.stop-on-collapse asks")
            log.warning("%s; consider --method.teacher frozen, a larger --method.beta or a smaller step", message)
    if (said := narrowing(lines)) and not narrowing(lines[:-1]):
        log.warning("step %d: %s: answers sharpen at the price of variety", lines[-1]["step"], said)
    for phase in PLANNED:
        if (said := beyond_plan(phase, lines)) and not beyond_plan(phase, lines[:-1]):
            log.warning("step %d: %s", lines[-1]["step"], said)


def name_offenders(step: int, names: Sequence[str], stats: Mapping[str, np.ndarray], length_PG: np.ndarray) -> None:
    """Logs the questions of an update that was skipped because a number was not finite."""
    shares = multihost.gather(f"offenders/{step}", [offenders(names, stats, length_PG), list(names)])
    found, names = ([name for share in shares for name in share[i]] for i in range(2))
    what = f"not finite in questions {', '.join(found)}" if found else f"finite in each of {', '.join(names)} alone"
    log.warning("step %d: update skipped, loss or gradient is not finite; per-token numbers are %s", step, what)


def offenders(names: Sequence[str], stats: Mapping[str, np.ndarray], length_PG: np.ndarray) -> list[str]:
    """The questions of which a per-token number (values [P, G, T, ...]) is not finite inside of a response."""
    bad_P = np.zeros(len(names), bool)
    for values in stats.values():
        broken_PGT = ~np.isfinite(np.asarray(values, np.float32)).reshape(*values.shape[:3], -1).all(axis=-1)
        bad_P |= (broken_PGT & (np.arange(values.shape[2]) < length_PG[..., None])).any(axis=(1, 2))
    return [name for name, bad in zip(names, bad_P, strict=True) if bad]


def rings(alarm: Alarm, lines: Sequence[Line]) -> bool:
    """Whether an alarm rings over the last steps; not before there are enough of them."""
    values = [line[alarm.metric] for line in lines if _finite(line.get(alarm.metric))]
    if len(values) < FIRST + RECENT:
        return False
    first, now = sum(values[:FIRST]) / FIRST, sum(values[-RECENT:]) / RECENT
    value = now / max(first, 1e-9) if alarm.ratio else now
    return judge(value, alarm.threshold) == "act"


def narrowing(lines: Sequence[Line]) -> str:
    """In words, what fell while pass@1 rose: pass@k now against the evaluation at which it was best; "" for nothing."""
    for metric in VARIETY:
        scored = [line for line in lines if _finite(line.get("eval/pass@1")) and _finite(line.get(metric))]
        if scored:
            best, now = max(scored, key=lambda line: line[metric]), scored[-1]
            rise, fall = now["eval/pass@1"] - best["eval/pass@1"], best[metric] - now[metric]
            if rise > RISE and fall > FALL:
                changes = (f"{name} {best[name]:.3f} -> {now[name]:.3f}" for name in ("eval/pass@1", metric))
                return f"{' and '.join(changes)} since step {best['step']}"
    return ""


def beyond_plan(phase: str, lines: Sequence[Line]) -> str:
    """In words, how much longer a phase takes than its plan, in most of the recent steps; "" where it does not."""
    keys = f"time/{phase}", f"plan/{phase}"
    timed = [line for line in lines if all(_finite(line.get(key)) for key in keys)][-RECENT:]
    took, planned = (statistics.median(line[key] for line in timed) if timed else 0.0 for key in keys)
    if len(timed) < RECENT or judge(took / max(planned, 1e-9), THRESHOLDS["beyond_plan"]) != "act":
        return ""
    return (
        f"{phase}: {took:.0f} s a step, {took / planned:.1f} times its plan of {planned:.0f} s (docs/operations.md, 5)"
    )


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
