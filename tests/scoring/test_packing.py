"""Where everything lands in a packed row."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hsd_jax.scoring import bin_packing
from hsd_jax.scoring.bin_packing import Lengths, pack_problems
from hsd_jax.scoring.packing import Sizes, flatten, pack, split_rows, unflatten
from hsd_jax.types import Contexts
from tests.support.padding import full_sizes

P, G, M, C, T = 4, 3, 2, 6, 5


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    contexts = Contexts(
        jnp.int32(rng.integers(100, 200, (P, M, C))),
        jnp.int32(rng.integers(1, C + 1, (P, M))).at[1, 1].set(0),
        jnp.int32(rng.integers(0, M, (P, G))).at[1].set(0),
    )
    return contexts, jnp.int32(rng.integers(1, 100, (P, G, T))), jnp.int32(rng.integers(1, T + 1, (P, G)))


def packed_rows(batch, rows, sizes):
    contexts, response, length = split_rows(batch, rows)
    return jax.jit(pack, static_argnums=3)(contexts, response, length, sizes)


def by_hand(batch, p, g):
    """The ids [context; response] of one rollout."""
    contexts, response, length = jax.tree.map(np.asarray, batch)
    m = contexts.context_index_PG[p, g]
    return contexts.tokens_PMC[p, m, : contexts.length_PM[p, m]], response[p, g, : length[p, g]]


def test_every_response_token_finds_its_context_its_position_and_its_predecessor(batch):
    rows = 2
    sizes = full_sizes(batch[0], batch[1], P // rows, block=4)
    packed = jax.tree.map(np.asarray, packed_rows(batch, rows, sizes))
    for b in range(rows):
        sequence, reads = packed.visible.sequence_BS[b], packed.visible.reads_BS[b]
        for z in range(P // rows * G):
            p, g = b * P // rows + z // G, z % G
            context, response = by_hand(batch, p, g)
            (mine,) = np.nonzero(sequence == P // rows * M + z)
            (read,) = np.nonzero(sequence == reads[mine[0]])
            np.testing.assert_array_equal(packed.tokens_BS[b, mine], response)
            np.testing.assert_array_equal(packed.tokens_BS[b, read], context)
            np.testing.assert_array_equal(packed.positions_BS[b, mine], len(context) + np.arange(len(response)))
            np.testing.assert_array_equal(packed.positions_BS[b, read], np.arange(len(context)))
            before = packed.before_BN[b, mine - sizes.context_tokens]
            np.testing.assert_array_equal(before, [read[-1], *mine[:-1]])


def test_flatten_and_unflatten_are_inverse_and_in_the_order_of_the_rows(batch):
    _, response, length = batch
    flat = flatten(response, length, rows=2, tokens=32)
    valid = np.arange(T)[None, None] < np.array(length)[..., None]
    np.testing.assert_array_equal(unflatten(flat, length, rows=2, tokens=32, steps=T), np.where(valid, response, 0))
    packed = packed_rows(batch, 2, Sizes(24, 32, 99, 4))
    np.testing.assert_array_equal(flat.reshape(2, 32), packed.tokens_BS[:, 24:])


def test_the_plan_counts_the_pairs_of_blocks_that_the_device_lists(batch):
    contexts, _, length = jax.tree.map(np.asarray, batch)
    for rows, block in ((1, 2), (2, 4), (4, 2)):
        plan = pack_problems(length, [Lengths(contexts.length_PM, contexts.context_index_PG)], rows, block=block)
        (sizes,) = plan.sizes
        ordered = jax.tree.map(lambda x, order=plan.order_P: x[order], batch)
        packed = packed_rows(ordered, rows, sizes)
        in_order = [x[plan.order_P] for x in (length, contexts.length_PM, contexts.context_index_PG)]
        needed = bin_packing._needed(*in_order, rows, block).block_pairs
        assert needed == int(packed.visible.count_B.max())
        assert sizes.block_pairs == bin_packing._step(needed, bin_packing._steps_per_octave(length.size))
        real = int(np.sum(length) + np.sum(contexts.length_PM))
        assert int((packed.visible.sequence_BS >= 0).sum()) == real


def test_listed_pairs_are_exactly_those_with_something_visible(batch):
    block = 2
    sizes = full_sizes(batch[0], batch[1], P, block=block)
    visible = jax.tree.map(lambda x: np.asarray(x[0]), packed_rows(batch, 1, sizes).visible)
    sequence, reads = visible.sequence_BS, visible.reads_BS
    index = np.arange(len(sequence))
    own = (sequence[:, None] == sequence[None]) & (sequence >= 0)[:, None] & (index[:, None] >= index[None])
    seen = own | (reads[:, None] == sequence[None])
    blocks = len(sequence) // block
    expected = np.argwhere(seen.reshape(blocks, block, blocks, block).any((1, 3)))
    np.testing.assert_array_equal(visible.pairs_BE2[: visible.count_B], expected)
