"""What a run warns about by itself, and when it stops: numbers that are not finite, and the ways policies collapse.

The thresholds compare with the run's own first steps, since what is normal differs between models and data.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hsd_jax.config import Guards

log = logging.getLogger(__name__)
FIRST, RECENT = 10, 5  # steps that say what is normal, and steps that are compared with them
Line = Mapping[str, Any]


class RunStopped(RuntimeError):
    """The run ended itself; the message names metric, step and what to do."""


@dataclass(frozen=True)
class Alarm:
    """A sign of collapse: `rings(first, recent)` on the means of a metric over the first and the recent steps."""

    metric: str
    rings: Callable[[float, float], bool]
    advice: str


ALARMS = (
    Alarm("repeated_ngrams", lambda first, now: now > first + 0.2, "responses repeat themselves"),
    Alarm("response_length", lambda first, now: now < first / 2, "responses shrink to less than half"),
    Alarm("entropy", lambda first, now: now < first / 4, "the policy's entropy has fallen to less than a quarter"),
    Alarm("kl_reference", lambda first, now: now > max(1.0, 20 * first), "the policy has left its reference"),
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
            message = f"step {lines[-1]['step']}: {alarm.metric}: {alarm.advice} (the policy may be collapsing)"
            if settings.stop_on_collapse:
                raise RunStopped(f"{message}; stopped, as guards.stop-on-collapse asks")
            log.warning("%s; consider --method.teacher frozen, a larger --method.beta or a smaller step", message)


def rings(alarm: Alarm, lines: Sequence[Line]) -> bool:
    """Whether an alarm rings over the last steps; not before there are enough of them."""
    values = [line[alarm.metric] for line in lines if _finite(line.get(alarm.metric))]
    if len(values) < FIRST + RECENT:
        return False
    return alarm.rings(sum(values[:FIRST]) / FIRST, sum(values[-RECENT:]) / RECENT)


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
