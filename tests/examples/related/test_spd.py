"""SPD's gradients, subspace and projected attention against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from examples.related import spd
from examples.related.bench import Texts
from models import qwen3
from models.attention import reference_attention
from tests.support.numpy_qwen3 import CONFIG, causal, random_params, run, slope

ROWS, LENGTH = 2, 9
SIZE = CONFIG.kv_heads * CONFIG.head_dim


@pytest.fixture(scope="module")
def texts() -> Texts:
    """The second text is shorter; two tokens of the first decide, one of the second."""
    tokens = np.random.default_rng(0).integers(0, CONFIG.vocab_size, (ROWS, LENGTH)).astype(np.int32)
    valid, weights = np.ones((ROWS, LENGTH), bool), np.zeros((ROWS, LENGTH), np.float32)
    valid[1, 6:], weights[0, [4, 8]], weights[1, 5] = False, 1, 1
    return Texts(*map(jnp.asarray, (tokens, valid, weights)))


def loss(params, texts: Texts, edit) -> float:
    """-1/|S| sum_S log p, mean over texts; `edit(row)` interferes."""
    total = 0.0
    for b in range(ROWS):
        tokens = np.asarray(texts.tokens_BS[b])[np.asarray(texts.valid_BS[b])]
        logp = run(params, tokens, causal(len(tokens)), edit(b)).logp
        decides = np.flatnonzero(np.asarray(texts.weights_BS[b]))
        total -= np.mean([logp[t - 1, tokens[t]] for t in decides]) / ROWS
    return total


def test_gradients_of_keys_and_values_are_those_of_the_tokens_that_decide(texts: Texts) -> None:
    params = random_params(1)
    gradients = jax.jit(spd.key_value_gradients, static_argnums=0)(CONFIG, params, texts)
    rng = np.random.default_rng(2)
    for layer, b, which in [(1, 0, 0), (1, 1, 1), (2, 0, 1), (2, 1, 0)]:
        direction = rng.standard_normal((LENGTH, CONFIG.kv_heads, CONFIG.head_dim))

        def shifted(step: float, layer=layer, b=b, which=which, direction=direction) -> float:
            def edit(row: int):
                def inside(i: int, *kv: np.ndarray):
                    moved = [
                        x + step * direction[: len(x)] * (i == layer and row == b and j == which)
                        for j, x in enumerate(kv)
                    ]
                    return moved[0], moved[1]

                return inside

            return loss(params, texts, edit)

        assert float(jnp.sum(gradients[which][layer, b] * direction)) == pytest.approx(
            slope(shifted), rel=1e-3, abs=1e-5
        )
    assert not np.asarray(gradients[0])[:, 1, 6:].any() and not np.asarray(gradients[1])[:, 1, 6:].any()


def test_subspace_keeps_the_directions_of_most_gradient() -> None:
    rng = np.random.default_rng(0)
    gradients = rng.standard_normal((40, 6)) @ rng.standard_normal((6, SIZE))  # of rank 6
    projection = spd.subspace(gradients, 0.5)
    values, vectors = np.linalg.eigh(gradients.T @ gradients)
    top = vectors[:, np.argsort(values)[-3:]]
    np.testing.assert_allclose(projection, top @ top.T, atol=1e-8)
    random = spd.random_projections({1: (jnp.asarray(projection), jnp.asarray(projection))}, rng)[1][0]
    np.testing.assert_allclose(random @ random, random, atol=1e-5)
    assert np.trace(random) == pytest.approx(3, abs=1e-4)


def test_projected_attention_is_that_of_projected_keys_and_values() -> None:
    """As a layer of the sampler's would compute it, and the other layers unchanged."""
    params, tokens = random_params(3), np.arange(LENGTH)
    k_EE, v_EE = (spd.subspace(np.random.default_rng(i).standard_normal((30, SIZE)), 7 / SIZE) for i in range(2))
    chosen = {1: (jnp.asarray(k_EE, jnp.float32), jnp.asarray(v_EE, jnp.float32))}
    layers = tuple({name: x[i] for name, x in params["layers"].items()} for i in range(CONFIG.layers))
    weights = spd.with_projections({"layers": layers}, chosen)["layers"]

    @jax.jit
    def last(params) -> jax.Array:
        rows = jnp.asarray(tokens)[None]
        plain = qwen3.attend_to_self(reference_attention, rows >= 0, rows * 0)
        x = params["embed_VD"][rows]
        for w in weights:
            x, _ = qwen3.layer(CONFIG, w, x, rows, spd.projected(w, plain))
        return x[0]

    def edit(i: int, k: np.ndarray, v: np.ndarray):
        flat = [x.reshape(LENGTH, -1) for x in (k, v)]
        return tuple((x @ p if i == 1 else x).reshape(k.shape) for x, p in zip(flat, (k_EE, v_EE), strict=True))

    np.testing.assert_allclose(last(params), run(params, tokens, causal(LENGTH), edit).layers[-1], atol=2e-3, rtol=2e-3)
