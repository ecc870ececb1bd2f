"""The paper's diagnostics as numbers, computed from the rollout log and the metrics. No drawing here."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hsd_jax.reporting.coverage import DIFFICULTIES, difficulty_of
from hsd_jax.reporting.logs import Group, Record, Rollout
from hsd_jax.reporting.profile import Means, column_means, has_divergence, offset_profile

WINDOWS = (0, 1, 2, 4, 8, 16, 32)
RELATIVE_BINS = 20
PHASES = ("sample", "grade", "update")


def rollouts_of(groups: Iterable[Group]) -> list[Rollout]:
    """All rollouts, in the order of the log."""
    return [rollout for group in groups for rollout in group.rollouts]


def mass_within(rollout: Rollout, windows: Sequence[int] = WINDOWS) -> npt.NDArray[np.float64]:
    """Share of a rollout's Σ|A| at tokens with |t - τ| ≤ w, for each w; nan when it received no credit at all."""
    size = np.abs(np.nan_to_num(rollout.credit.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0))
    distance = np.abs(np.arange(len(size)) - rollout.divergence)
    total = size.sum()
    return np.array([size[distance <= window].sum() / total if total > 0 else np.nan for window in windows])


def cumulative_mass(rollouts: Iterable[Rollout], windows: Sequence[int] = WINDOWS) -> Means:
    """Mean over rollouts of the share of |credit| within w tokens of the divergence, by window w.

    Source: arXiv:2606.15576, Fig. 5 (right), Table 5.
    """
    rows = [mass_within(rollout, windows) for rollout in rollouts if has_divergence(rollout)]
    return column_means(np.array(windows, np.float64), np.array(rows, np.float64).reshape(-1, len(windows)))


def uniform_mass(rollouts: Iterable[Rollout], windows: Sequence[int] = WINDOWS) -> npt.NDArray[np.float64]:
    """What `cumulative_mass` would be if every token of a rollout received the same credit: the line to beat."""
    rows = []
    for rollout in rollouts:
        if has_divergence(rollout):
            distance = np.abs(np.arange(len(rollout.credit)) - rollout.divergence)
            rows.append([np.mean(distance <= window) for window in windows])
    return np.array(rows).mean(axis=0) if rows else np.full(len(windows), np.nan)


def shift_by_position(rollouts: Iterable[Rollout], bins: int = RELATIVE_BINS) -> Means:
    """Mean KL(teacher || student) in nats by relative position t / |o|, each rollout first averaged within a bin.

    Token t of n falls into bin ⌊t · bins / n⌋; `at` are the centres. Source: arXiv:2606.15576, Fig. 1.
    """
    rows = []
    for rollout in rollouts:
        count = len(rollout.kl)
        row = np.full(bins, np.nan)
        place = np.arange(count) * bins // max(count, 1)
        finite = np.isfinite(rollout.kl)
        for index in np.unique(place[finite]):
            row[index] = rollout.kl[finite & (place == index)].astype(np.float64).mean()
        rows.append(row)
    return column_means((np.arange(bins) + 0.5) / bins, np.array(rows, np.float64).reshape(-1, bins))


@dataclass(frozen=True)
class DivergenceRow:
    """Where rollouts of one difficulty leave their peer and how strong credit is there (nats)."""

    difficulty: str
    rollouts: int
    median_position: float
    credit_at_divergence: float
    peak_credit: float
    peak_offset: float


def divergence_by_difficulty(groups: Sequence[Group]) -> list[DivergenceRow]:
    """Median τ, mean |A| at τ, and the largest value of the mean profile, for easy, medium and hard problems.

    Source: arXiv:2606.15576, Table 4.
    """
    rows = []
    for difficulty in (*DIFFICULTIES, "all"):
        chosen = [group for group in groups if difficulty in ("all", difficulty_of(group))]
        found = [rollout for rollout in rollouts_of(chosen) if has_divergence(rollout)]
        profile = offset_profile(found)
        known = np.isfinite(profile.mean)
        peak = int(np.argmax(np.where(known, profile.mean, -np.inf)))
        rows.append(
            DivergenceRow(
                difficulty,
                len(found),
                float(np.median([rollout.divergence for rollout in found])) if found else np.nan,
                float(profile.mean[profile.at == 0][0]),
                float(profile.mean[peak]) if known.any() else np.nan,
                float(profile.at[peak]) if known.any() else np.nan,
            )
        )
    return rows


def phase_seconds(metrics: Sequence[Record], skip_steps: int = 1) -> dict[str, float]:
    """Mean seconds of each phase of a step; the first `skip_steps` steps, which compile, are left out if others exist.

    "other" is what `time/step` holds beyond the named phases. Source: arXiv:2606.15576, Table 8.
    """
    timed = [record for record in metrics if any(f"time/{phase}" in record for phase in PHASES)]
    timed = timed[skip_steps:] or timed
    seconds = {phase: series_mean(timed, f"time/{phase}") for phase in PHASES}
    seconds = {phase: value for phase, value in seconds.items() if np.isfinite(value)}
    step = series_mean(timed, "time/step")
    if np.isfinite(step) and seconds:
        seconds["other"] = max(0.0, step - sum(seconds.values()))
    return seconds


def series(metrics: Sequence[Record], key: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(steps, values) of one metric; steps that do not hold it as a number are left out, non-finite ones kept."""
    pairs = [
        (record["step"], record[key])
        for record in metrics
        if isinstance(record.get(key), int | float) and not isinstance(record.get(key), bool)
    ]
    table = np.array(pairs, np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def series_mean(metrics: Sequence[Record], key: str) -> float:
    """Mean of the finite values of one metric, nan when there are none."""
    values = series(metrics, key)[1]
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")
