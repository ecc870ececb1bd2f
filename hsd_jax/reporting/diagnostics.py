"""The paper's diagnostics as numbers, computed from the rollout log and the metrics. No drawing here."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hsd_jax.reporting.coverage import DIFFICULTIES, difficulty_of
from hsd_jax.reporting.credit_profile import Means, has_divergence, offset_profile, ratio_of_sums
from hsd_jax.reporting.logs import Group, Record, Rollout
from hsd_jax.types import PHASES, Phase

Numbers = npt.NDArray[np.float64]
WINDOWS = (0, 1, 2, 4, 8, 16, 32)
RELATIVE_BINS = 16
# What a step cannot be without: records that have none of these (an evaluation before the first step) are no steps.
MAIN_PHASES: tuple[Phase, ...] = ("sample", "update")


def rollouts_of(groups: Iterable[Group]) -> list[Rollout]:
    """All rollouts, in the order of the log."""
    return [rollout for group in groups for rollout in group.rollouts]


def cumulative_mass(rollouts: Iterable[Rollout], windows: Sequence[int] = WINDOWS) -> Means:
    """Share of all |credit| that lies within w tokens of the divergence, by window w, over rollouts that diverge.

    mass(w) = Σ_i Σ_{|t - τ_i| ≤ w} |A_{i,t}| / Σ_i Σ_t |A_{i,t}|. Source: arXiv:2606.15576, Fig. 5 (right), Table 5.
    """
    return _share_within(rollouts, windows, lambda credit: np.abs(_known(credit)))


def uniform_mass(rollouts: Iterable[Rollout], windows: Sequence[int] = WINDOWS) -> Numbers:
    """What `cumulative_mass` would be if every token received the same credit: the line to beat."""
    return _share_within(rollouts, windows, np.ones_like).mean


def shift_by_position(rollouts: Iterable[Rollout], bins: int = RELATIVE_BINS) -> Means:
    """Mean KL(teacher || student) in nats over the tokens of a relative position t / |o|.

    Token t of n falls into bin ⌊t · bins / n⌋; `at` are the centers. Source: arXiv:2606.15576, Fig. 1.
    """
    sums, counts = [], []
    for rollout in rollouts:
        size = len(rollout.kl)
        place = np.arange(size) * bins // max(size, 1)
        present = np.isfinite(rollout.kl)
        sums.append(np.bincount(place[present], rollout.kl[present].astype(np.float64), bins))
        counts.append(np.bincount(place[present], minlength=bins))
    centers = (np.arange(bins) + 0.5) / bins
    return ratio_of_sums(centers, np.reshape(sums, (-1, bins)), np.reshape(counts, (-1, bins)))


def _share_within(rollouts: Iterable[Rollout], windows: Sequence[int], size_of: Callable[[Numbers], Numbers]) -> Means:
    near, all_of_it = [], []
    for rollout in rollouts:
        if has_divergence(rollout):
            size = size_of(rollout.credit.astype(np.float64))
            distance = np.abs(np.arange(len(size)) - rollout.divergence)
            near.append([size[distance <= window].sum() for window in windows])
            all_of_it.append([size.sum()] * len(windows))
    return ratio_of_sums(windows, np.reshape(near, (-1, len(windows))), np.reshape(all_of_it, (-1, len(windows))))


def _known(values: Numbers) -> Numbers:
    return np.where(np.isfinite(values), values, 0.0)


@dataclass(frozen=True)
class DivergenceRow:
    """Where rollouts of one difficulty leave their peer and how strong credit is there (nats)."""

    difficulty: str
    rollouts: int
    median_position: float
    credit_at_divergence: float
    peak_credit: float


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
            )
        )
    return rows


def phase_seconds(metrics: Sequence[Record], skip_steps: int = 1) -> dict[str, float]:
    """Mean seconds of each phase per step; a phase that a step does not have took it no time.

    The first `skip_steps` steps, which compile, are left out if there are others. "other" is what `time/step` holds
    beyond the named phases. Source: arXiv:2606.15576, Table 8.
    """
    timed = [record for record in metrics if any(f"time/{phase}" in record for phase in MAIN_PHASES)]
    timed = timed[skip_steps:] or timed
    found = [phase for phase in PHASES if any(f"time/{phase}" in record for record in timed)]
    seconds = {phase: float(series(timed, f"time/{phase}")[1].sum() / len(timed)) for phase in found}
    other = series_mean(timed, "time/step") - sum(seconds.values())
    return seconds | ({"other": other} if found and other > 0.01 * sum(seconds.values()) else {})


def series(metrics: Sequence[Record], key: str) -> tuple[Numbers, Numbers]:
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
