"""Temperature, top-k and top-p without a sort: distributions, exact sets, adversarial logits."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from hsd_jax.errors import InputError
from hsd_jax.sampler.token_sampling import STOP_IDS, fold_key, kth_largest, sample_token, sampling_params

DRAWS = 20_000
SPREAD = np.array([3.0, 2.5, 2.5, 2.0, 1.0, 0.5, 0.0, -0.5, -1.0, -2.0, -3.0, -9.0], np.float32)


@partial(jax.jit, static_argnames=("vocabulary", "rows"))
def draw_many(logits_V, settings, key, *, vocabulary, rows):
    """Ids and log-probabilities of many rows with the same logits, each with its own address."""
    rows_B = jnp.arange(rows)
    key_B = fold_key(key, jnp.full(rows, 7, jnp.uint32), rows_B, rows_B // 3)
    logits_BV = jnp.broadcast_to(logits_V[None, :], (rows, logits_V.shape[0]))
    return sample_token(logits_BV, key_B, settings, vocabulary=vocabulary, active_B=rows_B >= 0)


def kept_ids(logits, *, temperature=1.0, top_p=1.0, top_k=0):
    """The reference in float64: top-k, then every id whose strictly likelier ids hold less than top_p."""
    scaled = np.asarray(logits, np.float64) / temperature
    weight = np.exp(scaled - scaled.max())
    if top_k:
        weight = np.where(scaled >= np.sort(scaled)[-min(top_k, len(scaled))], weight, 0)
    weight = weight / weight.sum()
    likelier = np.array([weight[scaled > s].sum() for s in scaled])
    kept = (weight > 0) & ((likelier < top_p) | (top_p == 1))
    return np.where(kept, weight, 0) / weight[kept].sum()


@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.2])
@pytest.mark.parametrize("top_p, top_k", [(0.9, 0), (0.95, 0), (1.0, 0), (1.0, 3), (0.8, 5), (0.3, 0)])
def test_draws_follow_the_exact_distribution(temperature, top_p, top_k):
    chosen = sampling_params(temperature=temperature, top_p=top_p, top_k=top_k)
    ids, _ = draw_many(SPREAD, chosen, jax.random.key(3), vocabulary=len(SPREAD), rows=DRAWS)
    expected = kept_ids(SPREAD, temperature=temperature, top_p=top_p, top_k=top_k)
    counts = np.bincount(ids, minlength=len(SPREAD))
    assert not counts[expected == 0].any()
    seen = expected > 0
    statistic = ((counts[seen] - DRAWS * expected[seen]) ** 2 / (DRAWS * expected[seen])).sum()
    assert statistic <= stats.chi2.isf(1e-4, max(seen.sum() - 1, 1))


@pytest.mark.parametrize(
    "logits, top_p, expected",
    [
        (np.zeros(12), 0.3, range(12)),  # flat: nobody is strictly likelier
        (np.eye(12)[4] * 50, 0.999, [4]),  # one-hot
        ([5, 5, 5, 1] + [0] * 8, 0.5, [0, 1, 2]),  # ties at the edge stay together
        ([5, 5, 5, 1] + [0] * 8, 1e-7, [0, 1, 2]),
        ([5] + [-np.inf] * 10 + [5], 0.9, [0, 11]),
        (np.log([0.5, 0.25, 0.25] + [1e-9] * 9), 0.75, [0, 1, 2]),
    ],
)
def test_top_p_keeps_exactly_the_reference_set(logits, top_p, expected):
    ids, _ = draw_many(
        np.asarray(logits, np.float32), sampling_params(top_p=top_p), jax.random.key(0), vocabulary=12, rows=4000
    )
    assert set(np.asarray(ids).tolist()) == set(expected)


@pytest.mark.parametrize("top_p", [0.1, 0.5, 0.95])
def test_top_p_set_on_a_large_vocabulary(top_p):
    logits = np.random.default_rng(5).normal(0, 3, 20_000).astype(np.float32)
    ids, _ = draw_many(logits, sampling_params(top_p=top_p), jax.random.key(1), vocabulary=20_000, rows=512)
    # an id whose neighborhood of the edge is narrower than float32 sums may fall on either side
    outside = kept_ids(logits, top_p=min(top_p + 1e-6, 1)) == 0
    assert not outside[np.asarray(ids)].any()
    assert len(set(np.asarray(ids).tolist())) > 1


@pytest.mark.parametrize("k", [1, 2, 3, 7, 12, 99])
def test_kth_largest_is_that_of_a_sort(k):
    scores = np.stack([SPREAD, -SPREAD, np.roll(SPREAD, 3) * 0, np.where(SPREAD > 0, SPREAD, -np.inf)])
    expected = np.sort(scores, axis=-1)[:, ::-1][:, min(k, 12) - 1]
    np.testing.assert_array_equal(jax.jit(kth_largest)(scores, k), expected)


def test_ids_beyond_the_tokenizer_are_never_chosen_but_count_in_the_logprob():
    logits = np.zeros(12, np.float32)
    logits[9:] = 20
    for temperature in (0.0, 1.0):
        ids, logprob = draw_many(
            logits, sampling_params(temperature=temperature), jax.random.key(0), vocabulary=9, rows=4000
        )
        assert np.asarray(ids).max() < 9
        np.testing.assert_allclose(logprob, logits[0] - np.log(np.exp(logits.astype(np.float64)).sum()), rtol=1e-6)


def test_logprobs_are_untruncated_and_at_temperature_one():
    chosen = sampling_params(temperature=0.6, top_p=0.9, top_k=4)
    ids, logprob = draw_many(SPREAD, chosen, jax.random.key(2), vocabulary=12, rows=DRAWS)
    np.testing.assert_allclose(logprob, jax.nn.log_softmax(SPREAD)[ids], atol=1e-6)


def test_temperature_zero_takes_the_likeliest():
    ids, _ = draw_many(SPREAD, sampling_params(temperature=0, top_p=0.5), jax.random.key(0), vocabulary=12, rows=DRAWS)
    assert set(np.asarray(ids).tolist()) == {0}


def test_rows_that_are_broken_or_inactive_end_the_search():
    logits = np.stack([SPREAD, SPREAD * np.nan, np.full(12, np.inf, np.float32), SPREAD])
    key_B = fold_key(jax.random.key(0), jnp.zeros(4, jnp.uint32), jnp.arange(4), jnp.arange(4))
    active_B = np.array([True, True, True, False])
    pick = jax.jit(sample_token, static_argnames="vocabulary")
    _, logprob = pick(logits, key_B, sampling_params(top_p=0.5, top_k=2), vocabulary=12, active_B=active_B)
    assert np.isfinite(logprob).tolist() == [True, False, False, True]


def test_noise_differs_between_rollouts_questions_and_positions():
    def first(question, rollout, position):
        key_B = fold_key(jax.random.key(0), *(jnp.array([n], jnp.uint32) for n in (question, rollout, position)))
        return float(jax.random.uniform(key_B[0]))

    places = [(q, r, p) for q in (0, 1, 2**31 + 5) for r in (0, 1) for p in (0, 1, 2)]
    assert len({first(*place) for place in places}) == len(places)


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"temperature": -1.0}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_p": 0.0}, "top_p"),
        ({"top_p": 1.5}, "top_p"),
        ({"top_k": -1}, "top_k"),
        ({"stop_ids": range(STOP_IDS + 1)}, "stop_ids"),
        ({"stop_ids": [-1]}, "stop_ids"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(wrong, words):
    with pytest.raises(InputError, match=words):
        sampling_params(**wrong)
