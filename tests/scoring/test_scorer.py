"""Two-stream scoring in packed rows against each [context; response] as one plain sequence: values and gradients."""

import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hsd_jax.scoring.bin_packing import Lengths, pack_problems
from hsd_jax.scoring.packed_attention import block_attention, on_mesh
from hsd_jax.scoring.scorer import packed_scorer, padded_scorer
from hsd_jax.types import Contexts
from models.qwen3 import forward, init_params
from models.scan import Compute
from models.sharding import batch_sharding, make_mesh, param_shardings, placement
from tests.support.padding import full_sizes
from tests.support.tiny_config import tiny_config

CONFIG = tiny_config()
P, G, M, C, T = 3, 4, 2, 11, 9


def groups(seed=0, distinct=M, group=G, problems=P):
    rng = np.random.default_rng(seed)
    contexts = Contexts(
        jnp.int32(rng.integers(1, 64, (problems, distinct, C))),
        jnp.int32(rng.integers(1, C + 1, (problems, distinct))),
        jnp.int32(rng.integers(0, distinct, (problems, group))),
    )
    response = jnp.int32(rng.integers(1, 64, (problems, group, T)))
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
        m = int(contexts.context_index_PG[p, g])
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


def scored(scorer, which="teacher"):
    """hidden_PGTD by a scorer, 0 past each length."""

    def function(params, contexts, response, length):
        hidden_ND = (scorer.view(0) if which == "teacher" else scorer.student)(params, contexts, response, length)
        hidden = scorer.unflatten(hidden_ND, length)
        return hidden * (jnp.arange(T)[None, None] < length[..., None])[..., None]

    return function


@pytest.mark.parametrize("block", [4, 128])
def test_states_and_gradients_equal_those_of_plain_sequences(params, expected, block):
    data = groups()
    sizes = full_sizes(data[0], data[1], 1, block=block)
    scorer = packed_scorer(CONFIG, [sizes, sizes], rows=P, steps=T)
    close(value_and_gradient(scored(scorer))(params, *data), expected)


def planned(data, rows, block):
    """The same batch in the order of a plan, and the plan."""
    contexts, response, length = jax.tree.map(np.asarray, data)
    stream = Lengths(contexts.length_PM, contexts.context_index_PG)
    plan = pack_problems(length, [stream], rows, block=block)
    return jax.tree.map(lambda x: jnp.asarray(x[plan.order_P]), (contexts, response, length)), plan


def planned_scorer(plan, rows, **options):
    """Student and teacher read alike here."""
    return packed_scorer(CONFIG, plan.sizes * 2, rows=rows, steps=T, **options)


def test_rows_of_several_problems_in_planned_sizes_change_nothing(params, expected):
    data, plan = planned(groups(), 1, 8)
    score, order = scored(planned_scorer(plan, 1)), np.argsort(plan.order_P)
    (loss, hidden), grads = value_and_gradient(lambda *args: score(*args)[order])(params, *data)
    close(((loss, hidden), grads), expected)


def test_what_stands_in_the_padding_does_not_matter(params, expected):
    contexts, response, length = groups()
    beyond = jnp.arange(T)[None, None] >= length[..., None]
    beyond_context = jnp.arange(C)[None, None] >= contexts.length_PM[..., None]
    contexts = replace(contexts, tokens_PMC=jnp.where(beyond_context, 17, contexts.tokens_PMC))
    data, plan = planned((contexts, jnp.where(beyond, 23, response), length), 3, 8)
    hidden = jax.jit(scored(planned_scorer(plan, 3)))(params, *data)
    close(hidden[np.argsort(plan.order_P)], expected[0][1])


def test_padded_and_packed_scorers_agree(params, expected):
    hidden = jax.jit(scored(padded_scorer(CONFIG, steps=T)))(params, *groups())
    close(hidden, expected[0][1])


@pytest.mark.parametrize("shape", [(2, 2, 2)])
def test_devices_do_not_matter(params, shape):
    data, plan = planned(groups(problems=4), 4, 8)
    alone = value_and_gradient(scored(planned_scorer(plan, 4)))(params, *data)
    devices = jax.devices()[: math.prod(shape)]
    mesh = make_mesh(*shape, devices=devices)
    how = Compute(placement=placement(CONFIG, mesh, jnp.float32))
    spread = planned_scorer(plan, 4, attention=on_mesh(block_attention(8), mesh), how=how)
    sharded = jax.device_put(params, param_shardings(CONFIG, mesh))
    close(value_and_gradient(scored(spread))(sharded, *jax.device_put(data, batch_sharding(mesh))), alone)
