"""Where credit falls around the divergence: the profile by offset, and the same as text for a terminal.

The claim of the method is a shape: |A| is near zero before the first token that differs from the peer, spikes there,
and decays after it (Source: arXiv:2606.15576, Eq. 2, Eq. 11, Fig. 5).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hsd_jax.reporting.logs import BAND, Rollout

WINDOW = (-6, 32)
# The half-width of a 95 % band around a mean, in standard errors.


@dataclass(frozen=True)
class Means:
    """Means at places `at` with the half-width of their 95 % bands (nan below two values) and how many entered."""

    at: npt.NDArray[np.float64]
    mean: npt.NDArray[np.float64]
    band: npt.NDArray[np.float64]
    count: npt.NDArray[np.int64]


def has_divergence(rollout: Rollout) -> bool:
    """Whether the rollout read a peer and left it within its own tokens: only then has an offset a meaning."""
    return rollout.peer >= 0 and 0 <= rollout.divergence < len(rollout.credit)


def offset_profile(rollouts: Iterable[Rollout], window: tuple[int, int] = WINDOW) -> Means:
    """Mean |A| in nats by offset from the divergence, over the rollouts that reach that offset.

    mean(d) = average of |A_{i, τ_i + d}| over rollouts i with a peer and 0 ≤ τ_i + d < |o_i|, d in `window`.
    Source: arXiv:2606.15576, Fig. 5 (left).
    """
    first, last = window
    rows = [_around(rollout, first, last) for rollout in rollouts if has_divergence(rollout)]
    table = np.array(rows, np.float64).reshape(-1, last - first + 1)
    present = np.isfinite(table)
    return ratio_of_sums(np.arange(first, last + 1), np.where(present, table, 0.0), present)


def ratio_of_sums(at: npt.ArrayLike, numerators: npt.ArrayLike, denominators: npt.ArrayLike) -> Means:
    """Σ_i a_i / Σ_i b_i for each column of [rollouts, places], with a 95 % band over rollouts.

    band = 1.96 √(n/(n-1) Σ_i (a_i - r b_i)²) / Σ_i b_i; where b is 0 or 1 this is the band of an ordinary mean.
    Rollouts with b_i = 0 do not enter, places without any are nan.
    """
    a, b = np.asarray(numerators, np.float64), np.asarray(denominators, np.float64)
    count, total = (b > 0).sum(axis=0), b.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(count > 0, a.sum(axis=0) / total, np.nan)
        squares = np.where(b > 0, (a - ratio * b) ** 2, 0.0).sum(axis=0)
        band = np.where(count > 1, BAND * np.sqrt(squares * count / (count - 1)) / total, np.nan)
    return Means(np.asarray(at, np.float64), ratio, band, count)


def credit_profile_text(offsets: Sequence[int], mean_abs_credit: Sequence[float], width: int = 40) -> str:
    """The profile as lines of text with bars of up to `width` characters; the divergence is marked.

    Raises: ValueError when the two sequences differ in length.
    """
    if len(offsets) != len(mean_abs_credit):
        raise ValueError(
            f"mean_abs_credit needs one value per offset; got {len(mean_abs_credit)} values for {len(offsets)} offsets"
        )
    finite = [value for value in mean_abs_credit if np.isfinite(value)]
    if not finite:
        return "No rollout has both a peer and recorded credit yet: there is no credit profile to show."
    top = max(max(finite), 1e-12)
    lines = ["Mean |credit| (nats) by offset from the divergence"]
    for offset, value in zip(offsets, mean_abs_credit, strict=True):
        mark = "divergence" if offset == 0 else ""
        number = f"{value:8.3f}" if np.isfinite(value) else f"{'-':>8}"
        lines.append(f"{offset:+4d} {number}  {_bar(value / top, width)} {mark}".rstrip())
    return "\n".join(lines)


def _around(rollout: Rollout, first: int, last: int) -> npt.NDArray[np.float64]:
    offsets = np.arange(first, last + 1)
    places = rollout.divergence + offsets
    inside = (places >= 0) & (places < len(rollout.credit))
    return np.where(inside, np.abs(rollout.credit[np.where(inside, places, 0)]).astype(np.float64), np.nan)


def _bar(share: float, width: int) -> str:
    """A bar of eighths of a character, so that small values still differ."""
    eighths = int(round(share * width * 8)) if np.isfinite(share) else 0
    return "█" * (eighths // 8) + ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")[eighths % 8]
