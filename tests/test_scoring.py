"""Two-stream scoring in packed rows against each [context; response] as one plain sequence: values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hsd_jax.scoring import score
from hsd_jax.types import Contexts
from models.qwen3 import Qwen3Config, forward, init_params

CONFIG = Qwen3Config(
    vocab_size=61, width=16, mlp_width=24, layers=2, heads=4, kv_heads=2, head_dim=8, rope_theta=1e4, norm_eps=1e-6,
    tied=True, max_positions=512,
)  # fmt: skip
P, G, M, C, T = 3, 4, 2, 11, 9


def groups(seed=0, distinct=M, group=G, problems=P):
    rng = np.random.default_rng(seed)
    contexts = Contexts(
        jnp.int32(rng.integers(1, 61, (problems, distinct, C))),
        jnp.int32(rng.integers(1, C + 1, (problems, distinct))),
        jnp.int32(rng.integers(0, distinct, (problems, group))),
    )
    response = jnp.int32(rng.integers(1, 61, (problems, group, T)))
    length = jnp.int32(rng.integers(1, T + 1, (problems, group))).at[0, 0].set(T).at[0, 1].set(1)
    return contexts, response, length


@pytest.fixture(scope="module")
def params():
    """Weights at which every block matters and rounding is not magnified by the first norm."""
    params = jax.jit(init_params, static_argnums=0)(CONFIG, jax.random.key(0))
    return {**jax.tree.map(lambda x: 10 * x if x.ndim > 2 else x, params), "embed_VD": 50 * params["embed_VD"]}


def plain_sequences(contexts, response, length):
    """Every rollout alone, as one right-padded sequence [q; c; o]: tokens, lengths, where its states begin."""
    sequence, start = [], []
    for p, g in np.ndindex(*length.shape):
        m = int(contexts.of_PG[p, g])
        c = np.array(contexts.tokens_PMC)[p, m, : int(contexts.length_PM[p, m])]
        o = np.array(response)[p, g, : int(length[p, g])]
        sequence.append(np.concatenate([c, o, np.zeros(C + T - len(c) - len(o), int)]))
        start.append(len(c) - 1)
    return jnp.int32(np.stack(sequence)), jnp.int32(start), length


def plain(params, tokens, start, length):
    """hidden_PGTD of sequences that know nothing of groups or packing."""
    ends = start + 1 + length.reshape(-1)
    hidden = forward(CONFIG, params, tokens, jnp.arange(C + T)[None] < ends[:, None])
    index = jnp.minimum(start[:, None] + jnp.arange(T)[None], C + T - 1)
    hidden = jnp.take_along_axis(hidden, index[..., None], axis=1).reshape(*length.shape, T, -1)
    return hidden * (jnp.arange(T)[None, None] < length[..., None])[..., None]


def value_and_gradient(function):
    """The states, a scalar that weighs every one of them differently, and its gradient in the weights."""

    def loss(params, *data):
        hidden = function(params, *data)
        scale = jnp.cos(jnp.arange(hidden.size)).reshape(hidden.shape)
        return jnp.mean(jnp.sin(hidden) * scale), hidden

    return jax.jit(jax.value_and_grad(loss, has_aux=True))


def close(actual, expected, tolerance=1e-5):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance), actual, expected)


@pytest.fixture(scope="module")
def expected(params):
    return value_and_gradient(plain)(params, *plain_sequences(*groups()))


@pytest.mark.parametrize("block", [4, 128])
def test_states_and_gradients_equal_those_of_plain_sequences(params, expected, block):
    close(value_and_gradient(lambda *args: score(CONFIG, *args, block=block))(params, *groups()), expected)
