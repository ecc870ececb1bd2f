"""Where credit falls, against plain loops over Python lists."""

from itertools import product

import jax.numpy as jnp
import numpy as np
import pytest

from hsd_jax.update import credit
from tests.support.padding import right_padded_groups

T = 6


def first_difference(mine: list[int], peers: list[int]) -> int:
    """tau of Eq. 11 of arXiv:2606.15576: the first t at which the rollout's token is not the peer's."""
    for t, token in enumerate(mine):
        if t >= len(peers) or token != peers[t]:
            return t
    return -1


@pytest.mark.parametrize("seed", range(4))
def test_tau_is_the_first_token_that_differs_from_the_peer(seed: int) -> None:
    """Few distinct tokens, so that beginnings agree; ids after the end of a response must not matter."""
    rng = np.random.default_rng(seed)
    groups = [[rng.integers(0, 2, rng.integers(0, T + 1)).tolist() for _ in range(4)] for _ in range(12)]
    groups[0] = [[1, 0, 1], [1, 0], [1, 0, 1, 1], [1, 0, 1]]  # beginnings of each other, and equal texts
    peers_PG = np.array([[rng.choice([j for j in range(-1, 4) if j != i]) for i in range(4)] for _ in groups])
    peers_PG[0] = [3, 0, 1, 2]
    ragged = right_padded_groups(groups, T)
    valid_PGT = np.arange(T) < np.asarray(ragged.length)[..., None]
    garbage_PGT = jnp.where(jnp.asarray(valid_PGT), ragged.tokens, jnp.asarray(rng.integers(0, 2, valid_PGT.shape)))
    tau_PG = np.asarray(credit.divergence_positions(garbage_PGT, ragged.length, jnp.asarray(peers_PG)))
    for p, i in product(range(len(groups)), range(4)):
        peer = peers_PG[p, i]
        assert tau_PG[p, i] == (-1 if peer < 0 else first_difference(groups[p][i], groups[p][peer])), (p, i)
    assert tau_PG[0].tolist() == [-1, -1, 2, -1]
    assert tau_PG.dtype == np.int32


def test_credit_around_the_divergence() -> None:
    rng = np.random.default_rng(0)
    size_PGT, length_PG = rng.random((5, 3, T)), rng.integers(0, T + 1, (5, 3))
    tau_PG = np.minimum(rng.integers(-1, T, (5, 3)), length_PG - 1)
    valid_PGT = np.arange(T) < length_PG[..., None]
    given = jnp.asarray(size_PGT), jnp.asarray(valid_PGT), jnp.asarray(tau_PG)
    rollouts = [(p, i) for p, i in np.ndindex(5, 3) if tau_PG[p, i] >= 0]
    offsets = [(t - tau_PG[p, i], size_PGT[p, i, t]) for p, i in rollouts for t in range(length_PG[p, i])]
    for first, last in ((0, 0), (-3, -1), (2, T)):
        wanted = np.mean([size for offset, size in offsets if first <= offset <= last])
        assert float(credit.at_offsets(*given, first, last)) == pytest.approx(wanted, rel=1e-5)
    for tokens in (0, 1, T):
        near = sum(size for offset, size in offsets if abs(offset) <= tokens)
        wanted = near / sum(size for _, size in offsets)
        assert float(credit.mass_within(*given, tokens)) == pytest.approx(wanted, rel=1e-5)
    median = np.median([tau_PG[place] for place in rollouts])
    assert float(credit.median_position(given[2])) == median


def test_without_any_divergence_the_measures_are_defined() -> None:
    size_PGT, valid_PGT, tau_PG = jnp.ones((2, 2, T)), jnp.ones((2, 2, T), bool), jnp.full((2, 2), -1)
    assert float(credit.at_offsets(size_PGT, valid_PGT, tau_PG, -T, T)) == 0
    assert float(credit.mass_within(size_PGT, valid_PGT, tau_PG, T)) == 0
    assert float(credit.median_position(tau_PG)) == -1
