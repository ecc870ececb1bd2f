"""Peers: only successful ones of the same group, never oneself, uniform, -1 where there is none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hsd_jax.peers import DRAWS, coverage, select_peers, successful

REWARDS = np.array(
    [[1, 1, 1, 0, 0, 0, 0, 0], [0] * 8, [0, 0, 1, 0, 0, 0, 0, 0], [1] * 8, [1, 0, 0, 0, 0, 0, 0, 1]],
    np.float32,
)


@pytest.fixture(scope="module", params=list(DRAWS))
def many_draws(request: pytest.FixtureRequest) -> np.ndarray:
    keys = jax.random.split(jax.random.key(0), 10_000)
    draw = jax.jit(jax.vmap(lambda key: select_peers(key, jnp.asarray(REWARDS), draws=request.param)))
    return np.asarray(draw(keys))


def chi_square(counts: np.ndarray) -> float:
    expected = counts.sum() / counts.size
    return float(((counts - expected) ** 2 / expected).sum())


def test_peers_are_successful_and_never_oneself(many_draws: np.ndarray) -> None:
    for p, rewards in enumerate(REWARDS):
        for i in range(8):
            allowed = {j for j in range(8) if j != i and rewards[j] == 1} or {-1}
            assert set(np.unique(many_draws[:, p, i])) == allowed


def test_each_marginal_is_uniform(many_draws: np.ndarray) -> None:
    for p, rewards in enumerate(REWARDS):
        for i in range(8):
            others = [j for j in range(8) if j != i and rewards[j] == 1]
            if len(others) > 1:
                counts = np.array([(many_draws[:, p, i] == j).sum() for j in others])
                # 99.99 % quantile of chi-square with at most 6 degrees of freedom
                assert chi_square(counts) < 27.9


def test_coupled_groups_have_at_most_two_peers() -> None:
    keys = jax.random.split(jax.random.key(1), 500)
    peers = np.asarray(jax.vmap(lambda key: select_peers(key, jnp.asarray(REWARDS)))(keys))
    assert max(len(np.unique(row)) for draw in peers for row in draw) == 2


def test_the_draw_of_a_question_depends_on_its_own_key_alone() -> None:
    keys_P = jax.random.split(jax.random.key(2), len(REWARDS))
    together = select_peers(keys_P, jnp.asarray(REWARDS))
    for p in range(len(REWARDS)):
        alone = select_peers(keys_P[p : p + 1], jnp.asarray(REWARDS[p : p + 1]))
        np.testing.assert_array_equal(alone[0], together[p])


@pytest.mark.parametrize("draws", list(DRAWS))
def test_ranking_rules(draws: str) -> None:
    rewards = jnp.asarray([[1.0, 1.0, 0.0, 1.0]])
    lengths = jnp.asarray([[30, 10, 5, 20]])
    key = jax.random.key(0)
    pick = lambda rule: select_peers(key, rewards, rule=rule, draws=draws, scores_PG=lengths).tolist()[0]  # noqa: E731
    assert pick("lowest") == [1, 3, 1, 1]
    assert pick("highest") == [3, 0, 0, 0]
    assert pick("first") == [1, 0, 0, 0]


def test_coverage_is_the_share_of_rollouts_with_a_peer() -> None:
    assert float(coverage(successful(jnp.asarray(REWARDS)))) == pytest.approx((8 + 0 + 7 + 8 + 8) / 40)


def test_bad_arguments_are_refused() -> None:
    rewards = jnp.zeros((1, 2))
    with pytest.raises(ValueError, match="rule must be one of"):
        select_peers(jax.random.key(0), rewards, rule="best")
    with pytest.raises(ValueError, match="ranks by scores_PG"):
        select_peers(jax.random.key(0), rewards, rule="lowest")
