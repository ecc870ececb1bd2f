"""Coverage: how often a rollout has a peer to learn from, in closed form and as observed.

A rollout of a problem that is solved with probability p has a peer with probability 1 - (1-p)^(G-1); it failed and
has one, so that hindsight can repair it, with probability f(p, G) = (1-p) (1 - (1-p)^(G-1)).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np

from hsd_jax.reporting.logs import BAND, Group
from hsd_jax.types import SUCCESS

DIFFICULTIES = ("easy", "medium", "hard")


def has_peer(pass_rate: float, group_size: int) -> float:
    """Pr[|S_i| > 0] = 1 - (1-p)^(G-1). Source: arXiv:2606.15576, section on coverage."""
    return 1.0 - (1.0 - pass_rate) ** (group_size - 1)


def recoverable(pass_rate: float, group_size: int) -> float:
    """f(p, G) = (1-p) (1 - (1-p)^(G-1)): failed and has a peer. Source: arXiv:2606.15576, Eq. 12."""
    return (1.0 - pass_rate) * has_peer(pass_rate, group_size)


def most_recoverable(group_size: int) -> tuple[float, float]:
    """(p*, f*) where f(p, G) is largest: p* = 1 - G^(-1/(G-1)), f* = (1 - 1/G) G^(-1/(G-1))."""
    root = group_size ** (-1.0 / (group_size - 1))
    return 1.0 - root, (1.0 - 1.0 / group_size) * root


@dataclass(frozen=True)
class Observed:
    """Shares over the rollouts of groups cut down to `group_size`: with a peer, and failed with one; 95 % bands."""

    group_size: int
    groups: int
    pass_rate: float
    has_peer: float
    has_peer_band: float
    recoverable: float
    recoverable_band: float


def observed(groups: Sequence[Group], group_size: int) -> Observed:
    """Observed coverage at `group_size` ≤ G, averaged over all sub-groups of the recorded groups of that size.

    With s other successes among G - 1, a rollout has no peer in a random sub-group of size G' with probability
    C(G-1-s, G'-1) / C(G-1, G'-1). Groups smaller than `group_size` do not enter.
    """
    rows = np.array([_of_group(group, group_size) for group in groups if len(group.rollouts) >= group_size])
    if len(rows) == 0:
        return Observed(group_size, 0, *[float("nan")] * 5)
    mean = rows.mean(axis=0)
    spread = rows.std(axis=0, ddof=1) if len(rows) > 1 else np.full(3, np.nan)
    band = BAND * spread / np.sqrt(len(rows))
    return Observed(
        group_size, len(rows), float(mean[0]), float(mean[1]), float(band[1]), float(mean[2]), float(band[2])
    )


def _of_group(group: Group, group_size: int) -> tuple[float, float, float]:
    solved = np.array([rollout.reward > SUCCESS for rollout in group.rollouts])
    others, chosen = len(solved) - 1, group_size - 1
    peerless = np.array([comb(others - int(solved.sum() - own), chosen) / comb(others, chosen) for own in solved])
    with_peer = 1.0 - peerless
    return float(solved.mean()), float(with_peer.mean()), float((with_peer * ~solved).mean())


def difficulty_of(group: Group) -> str:
    """easy, medium or hard: thirds of the recorded initial pass rate, or of the group's own when none is recorded."""
    rate = group.difficulty
    if rate is None:
        rate = float(np.mean([rollout.reward > SUCCESS for rollout in group.rollouts])) if group.rollouts else 0.0
    return "easy" if rate > 2 / 3 else "medium" if rate > 1 / 3 else "hard"


def group_sizes(groups: Sequence[Group]) -> list[int]:
    """The powers of two from 2 up to the largest recorded group, and that size itself."""
    largest = max((len(group.rollouts) for group in groups), default=0)
    return sorted({size for size in (2, 4, 8, 16, 32, 64) if size <= largest} | ({largest} if largest >= 2 else set()))
