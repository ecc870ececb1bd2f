"""What the newest steps say against the first ones and the best ones: the measures behind the health checks."""

from collections.abc import Sequence

import numpy as np

from hsd_jax.reporting.diagnostics import series
from hsd_jax.reporting.logs import Record
from hsd_jax.types import Reason

# The newest and the first steps are judged by the mean of this many steps, so that one odd batch decides nothing.
STEPS = 10
# Comparisons with the first steps need this many steps before they say anything.
STEPS_FOR_TREND = 6
# Credit in nats below which two models cannot be told apart: keeps the ratio of two silences finite.
LEAST_CREDIT = 1e-3


def recent(metrics: Sequence[Record], key: str) -> float:
    """Mean of the newest `STEPS` finite values of a metric, nan when there are none."""
    return _mean(finite_values(metrics, key)[-STEPS:])


def ratio_to_start(metrics: Sequence[Record], key: str) -> float:
    """Newest steps over first steps, nan before there are enough steps or when the start is zero."""
    values = finite_values(metrics, key)
    if len(values) < STEPS_FOR_TREND:
        return float("nan")
    window = min(STEPS, len(values) // 2)
    start = _mean(values[:window])
    return _mean(values[-window:]) / start if start > 0 else float("nan")


def drop_from_best(metrics: Sequence[Record], key: str) -> float:
    """How far the newest steps are below the best stretch of the run (running mean), in units of the metric."""
    values = finite_values(metrics, key)
    if len(values) < STEPS_FOR_TREND:
        return float("nan")
    window = min(STEPS, len(values) // 2)
    running = np.convolve(values, np.full(window, 1.0 / window), "valid")
    return float(running.max() - running[-1])


def localization(metrics: Sequence[Record]) -> float:
    """Mean |credit| at the divergence over the mean over the six tokens before it."""
    at, before = recent(metrics, "credit_at_divergence"), recent(metrics, "credit_before_divergence")
    return at / max(before, LEAST_CREDIT)


def teacher_drift(metrics: Sequence[Record]) -> float:
    """Relative change of the teacher's entropy since the first steps: a live teacher moves with its student."""
    return abs(ratio_to_start(metrics, "teacher_entropy") - 1.0)


def beyond_plan(metrics: Sequence[Record]) -> float:
    """Seconds over planned seconds of the phase that is furthest beyond its plan, newest steps; nan without a plan."""
    planned = [record for record in metrics if any(key.startswith("plan/") for key in record)]
    phases = {key.removeprefix("plan/") for record in planned for key in record if key.startswith("plan/")}
    ratios = [recent(planned, f"time/{phase}") / max(recent(planned, f"plan/{phase}"), 1e-9) for phase in phases]
    return max(ratios, default=float("nan"))


def share_of_verdicts(metrics: Sequence[Record], reasons: Sequence[Reason]) -> float:
    """Share of the newest verdicts that carry one of `reasons`, nan when verdicts were not recorded."""
    newest = metrics[-STEPS:]
    counts = {
        key: sum(_number(record.get(key)) for record in newest)
        for key in {key for record in newest for key in record if key.startswith("verdict/")}
    }
    total = sum(counts.values())
    return sum(counts.get(f"verdict/{reason}", 0.0) for reason in reasons) / total if total else float("nan")


def non_finite_steps(metrics: Sequence[Record]) -> float:
    """How many steps skipped their update or recorded a loss or gradient norm that is no number (null in the log)."""

    def broken(record: Record) -> bool:
        named = [record[key] for key in ("loss", "grad_norm") if key in record]
        return _number(record.get("skipped")) > 0 or any(value is None or not np.isfinite(value) for value in named)

    return float(sum(broken(record) for record in metrics))


def finite_values(metrics: Sequence[Record], key: str) -> list[float]:
    """The finite values of one metric, in the order of steps."""
    values = series(metrics, key)[1]
    return values[np.isfinite(values)].tolist()


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
