"""Peers: only successful ones of the same group, never oneself, uniform, -1 where there is none."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hsd_jax.methods import METHODS
from hsd_jax.reading.peers import (
    DRAWS,
    PEER_RANKINGS,
    allowed,
    coverage,
    free_of,
    likeness,
    peer_scores,
    select_peers,
    successful,
)
from hsd_jax.reading.pieces import PEER
from hsd_jax.types import Rollouts
from hsd_jax.update.inputs import choose_peers
from tests.support import step_case
from tests.support.padding import right_padded_groups

REWARDS = np.array(
    [[1, 1, 1, 0, 0, 0, 0, 0], [0] * 8, [0, 0, 1, 0, 0, 0, 0, 0], [1] * 8, [1, 0, 0, 0, 0, 0, 0, 1]],
    np.float32,
)


@pytest.fixture(scope="module", params=list(DRAWS))
def many_draws(request: pytest.FixtureRequest) -> np.ndarray:
    keys = jax.random.split(jax.random.key(0), 10_000)
    draw = jax.jit(jax.vmap(lambda key: select_peers(key, jnp.asarray(REWARDS) > 0, draws=request.param)[..., 0]))
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
    peers = np.asarray(jax.vmap(lambda key: select_peers(key, jnp.asarray(REWARDS) > 0)[..., 0])(keys))
    assert max(len(np.unique(row)) for draw in peers for row in draw) == 2


@pytest.mark.parametrize("draws", list(DRAWS))
def test_sets_are_uniform_and_coupled_ones_few(draws: str) -> None:
    """Two peers each: every ordered pair of S_i alike (chi-square), what is missing -1, at most three sets coupled."""
    allowed_PG = jnp.asarray(REWARDS) > 0
    draw = jax.jit(jax.vmap(lambda key: select_peers(key, allowed_PG, draws=draws, count=2)))
    sets = np.asarray(draw(jax.random.split(jax.random.key(3), 10_000)))
    for p, i in np.ndindex(*REWARDS.shape):
        others = [j for j in range(8) if j != i and REWARDS[p, j]]
        wanted = [(a, b) for a in others for b in others if a != b] or [(*others, -1, -1)[:2]]
        found = Counter(map(tuple, sets[:, p, i].tolist()))
        assert set(found) == set(wanted)
        # 99.99 % quantile of chi-square with as many degrees of freedom (2, 6, 42)
        limits = {1: 0.1, 2: 15.2, 6: 25.8, 30: 67.7, 42: 83.3}
        assert chi_square(np.array(list(found.values()))) < limits[len(wanted)]
    if draws == "coupled":
        assert max(len(np.unique(row, axis=0)) for draw in sets[:300] for row in draw) == 3


def test_failures_are_taken_first_where_they_are_preferred() -> None:
    rewards = jnp.asarray([[1.0, 1, 0, 1], [1, 1, 1, 0], [1, 1, 1, 1]])
    levels = allowed("failures_first", rewards, jnp.ones((3, 4), bool))
    lengths = jnp.asarray([[30, 10, 5, 20], [4, 3, 2, 1], [4, 3, 2, 1]])
    peers = select_peers(jax.random.key(0), levels, rule="lowest", scores_PG=lengths, count=2)
    assert peers[..., 0].tolist() == [[2, 2, 1, 2], [3, 3, 3, 2], [3, 3, 3, 2]]
    assert peers[..., 1].tolist() == [[1, 3, 3, 1], [2, 2, 1, 1], [2, 2, 1, 1]]


def test_the_draw_of_a_question_depends_on_its_own_key_alone() -> None:
    keys_P = jax.random.split(jax.random.key(2), len(REWARDS))
    together = select_peers(keys_P, jnp.asarray(REWARDS) > 0)
    for p in range(len(REWARDS)):
        alone = select_peers(keys_P[p : p + 1], jnp.asarray(REWARDS[p : p + 1]) > 0)
        np.testing.assert_array_equal(alone[0], together[p])


@pytest.mark.parametrize("draws", list(DRAWS))
def test_ranking_rules(draws: str) -> None:
    rewards = jnp.asarray([[True, True, False, True]])
    lengths = jnp.asarray([[30, 10, 5, 20]])
    key = jax.random.key(0)
    pick = lambda rule: select_peers(key, rewards, rule=rule, draws=draws, scores_PG=lengths)[0, :, 0].tolist()  # noqa: E731
    assert pick("lowest") == [1, 3, 1, 1]
    assert pick("highest") == [3, 0, 0, 0]
    assert pick("first") == [1, 0, 0, 0]


def rollouts_of(rng: np.random.Generator) -> Rollouts:
    """Random responses of few tokens, with whatever behind their ends; among them an empty one and two alike."""
    shape = 2, 5, 12
    response_PGT, length_PG = rng.integers(0, 6, shape), rng.integers(2, shape[2] + 1, shape[:2])
    length_PG[0, 0] = 0
    response_PGT[1, 3], length_PG[1, 3] = response_PGT[1, 4], length_PG[1, 4]
    response_PGT[1, 4, length_PG[1, 4] :] += 1
    tokens, length = jnp.asarray(response_PGT, jnp.int32), jnp.asarray(length_PG, jnp.int32)
    return Rollouts(tokens, length, length > 0, jnp.zeros(shape))


def cosine(a: list[int], b: list[int]) -> float:
    """Of the counts of neighboring pairs, without any hashing."""
    first, second = (Counter(pairwise(ids)) for ids in (a, b))
    size = np.sqrt(sum(c * c for c in first.values()) * sum(c * c for c in second.values()))
    return sum(first[pair] * second[pair] for pair in first) / size if size else 0.0


@pytest.mark.parametrize("seed", range(3))
def test_rules_that_seek_variety_choose_the_success_that_is_least_alike(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rollouts = rollouts_of(rng)
    ids = [
        [row[:n].tolist() for row, n in zip(*group, strict=True)]
        for group in zip(np.asarray(rollouts.response_PGT), np.asarray(rollouts.length_PG), strict=True)
    ]
    alike = np.array([[[cosine(a, b) for b in group] for a in group] for group in ids])
    np.testing.assert_allclose(likeness(rollouts), alike, atol=1e-6)
    rewards_PG = np.array([[1, 1, 0, 1, 1], [1, 0, 1, 1, 0]], np.float32)

    def chosen(rule: str, draws: str) -> list[list[int]]:
        scores = peer_scores(rule, rollouts, jnp.asarray(rewards_PG) > 0)
        ranking = PEER_RANKINGS[rule]
        key = jax.random.key(seed)
        allowed_PG = jnp.asarray(rewards_PG) > 0
        return select_peers(key, allowed_PG, rule=ranking, draws=draws, scores_PG=scores)[..., 0].tolist()

    for p, rewards in enumerate(rewards_PG):
        wins = np.flatnonzero(rewards)
        rarity = {j: np.mean([alike[p, j, k] for k in wins if k != j]) for j in wins}
        others = [[j for j in wins if j != i] for i in range(5)]
        for draws in DRAWS:
            assert chosen("rarest", draws)[p] == [min(those, key=lambda j: rarity[j]) for those in others]
        farthest = [min(those, key=lambda j: alike[p, i, j]) for i, those in enumerate(others)]
        assert chosen("farthest", "independent")[p] == farthest


def padded_rollouts(responses: list[list[list[int]]], finished: list[list[bool]]) -> Rollouts:
    padded = right_padded_groups(responses, 4)
    return Rollouts(padded.tokens, padded.length, jnp.asarray(finished), jnp.zeros(padded.tokens.shape))


def test_a_rollout_with_a_control_id_is_nobodys_peer() -> None:
    """Ids 8 and 9 are control ids, 9 also ends a response: it counts where it is sampled before the end."""
    responses = [[[1, 9], [1, 8, 2, 9], [1, 2, 3, 9], [8, 2]], [[8, 9], [2, 9, 9], [3, 3, 3, 8], [4]]]
    finished = [[True, True, True, False], [True, True, False, False]]
    rollouts = padded_rollouts(responses, finished)
    assert free_of((8, 9), rollouts).tolist() == [[True, False, True, False], [False, False, False, True]]
    assert free_of((), rollouts).all()  # behind the end there are pads, whatever the ids
    assert free_of((0,), rollouts).all()
    problems = replace(step_case.make_case().problems, id_P=jnp.asarray([5, 6], jnp.uint32))
    ones = jnp.ones((2, 4))
    peers = (
        choose_peers(METHODS["hsd"], problems, rollouts, ones, jax.random.key(0), (8, 9)).peers[PEER][..., 0].tolist()
    )
    assert peers == [[2, peers[0][1], 0, peers[0][3]], [3, 3, 3, -1]]
    assert {peers[0][1], peers[0][3]} <= {0, 2}


def test_coverage_is_the_share_of_rollouts_with_a_peer() -> None:
    assert float(coverage(successful(jnp.asarray(REWARDS)))) == pytest.approx((8 + 0 + 7 + 8 + 8) / 40)


def test_bad_arguments_are_refused() -> None:
    rewards = jnp.zeros((1, 2), bool)
    with pytest.raises(ValueError, match="rule must be one of"):
        select_peers(jax.random.key(0), rewards, rule="best")
    with pytest.raises(ValueError, match="ranks by scores_PG"):
        select_peers(jax.random.key(0), rewards, rule="lowest")
    with pytest.raises(ValueError, match="needs independent draws; got 'coupled'"):
        select_peers(jax.random.key(0), rewards, rule="lowest", scores_PG=jnp.zeros((1, 2, 2)))
