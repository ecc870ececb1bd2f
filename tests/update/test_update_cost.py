"""What an HSD update costs, counted from the jaxpr at the shapes of Qwen3-8B: nothing is allocated or run."""

from math import prod

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.grouped_updates import analytic_minimum, in_order, make_groups, packed, plan
from hsd_jax.planning.jaxpr_cost import jaxpr_of, matmul_flops, values
from models.qwen3 import param_shapes
from models.scan import Compute
from tests.support.tiny_config import QWEN3_8B

RESPONSE, GROUP, CHUNK = 3072, 8, 512


def trace(draws, *, teacher=True, length_PG=None, rows=1, block=512):
    """(jaxpr, groups) of one update in bfloat16."""
    length_PG = np.full((1, GROUP), RESPONSE) if length_PG is None else length_PG
    question_P = np.full(len(length_PG), RESPONSE // 6)
    groups = make_groups(length_PG, question_P, draws, 100)
    sizes = plan(groups, rows, block)
    how = Compute(jnp.bfloat16)
    function = packed(QWEN3_8B, sizes, rows, int(length_PG.max()), chunk=CHUNK, teacher=teacher, how=how)
    leaf = lambda shape: jax.ShapeDtypeStruct(shape, jnp.float32)  # noqa: E731
    params = jax.tree.map(leaf, param_shapes(QWEN3_8B), is_leaf=lambda x: isinstance(x, tuple))
    return jaxpr_of(function, params, params, *in_order(groups, sizes.order_P)), groups


@pytest.fixture(scope="module")
def flops():
    """Coupled and independent HSD, OPSD (the answer alone), GRPO; all with the KL to a reference."""
    traces = {draws: trace(draws)[0] for draws in ("coupled", "independent", "none")}
    return {name: matmul_flops(jaxpr) for name, jaxpr in traces.items()} | {
        "grpo": matmul_flops(trace("none", teacher=False)[0])
    }


def test_hsd_costs_little_more_than_opsd_and_grpo(flops):
    """Responses full, the peer as long as the response, the question a sixth of it."""
    assert flops["coupled"] / flops["none"] <= 1.10
    assert flops["independent"] / flops["none"] <= 1.30
    assert flops["coupled"] / flops["grpo"] <= 1.40


def test_the_update_is_near_its_analytic_minimum():
    jaxpr, groups = trace("coupled")
    assert 1 <= matmul_flops(jaxpr) / analytic_minimum(QWEN3_8B, groups) <= 1.10


def test_uneven_lengths_cost_little_more_than_their_minimum():
    sigma = np.sqrt(np.log(1 + 0.6**2))
    lengths = np.random.default_rng(0).lognormal(np.log(1000) - sigma**2 / 2, sigma, (16, GROUP))
    jaxpr, groups = trace("coupled", length_PG=np.clip(lengths, 1, 4096).astype(int), rows=4, block=256)
    assert matmul_flops(jaxpr) / analytic_minimum(QWEN3_8B, groups) <= 1.20


def test_no_intermediate_of_the_update_holds_the_vocabulary_and_more_than_a_chunk():
    jaxpr, _ = trace("coupled")
    vocab, width = QWEN3_8B.vocab_size, QWEN3_8B.width
    rows = {int(np.prod(v.shape)) // vocab for v in values(jaxpr) if vocab in v.shape}
    assert CHUNK in rows and rows - {width} <= set(range(CHUNK + 1))


def test_no_intermediate_of_the_update_holds_the_scores_of_more_than_a_pair_of_blocks():
    """Neither scores nor masks: differentiating a scan must not pull them out of it for all pairs at once."""
    jaxpr, _ = trace("coupled")
    pair = 512 * 512 * QWEN3_8B.heads
    largest = max((prod(v.shape), v.primitive, v.shape) for v in values(jaxpr) if v.shape[-2:] == (512, 512))
    assert largest[0] <= pair, largest
