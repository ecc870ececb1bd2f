"""Whole problems packed into rows: contexts, then responses, back to back, so that almost every position is a token.

The host knows the lengths and plans which problems share a row and how wide rows must be (`row_plan`). The device
lays the tokens out from the same lengths, by index arithmetic (`pack`). Groups stay tensors everywhere else:
`to_flat` and `to_groups` translate per-token arrays [B, P, G, T] <-> [B, N].

Axes here: B rows, P problems of a row, S = C + N tokens of a row: C of contexts, then N of responses (both
padded at their end only), Z sequences of a row: P·M contexts, then P·G responses.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import register_dataclass

from hsd_jax.packed_attention import Visible, visible_blocks
from hsd_jax.types import Array, Contexts


@dataclass(frozen=True)
class Sizes:
    """The static shape of packed rows: tokens of contexts, tokens of responses, pairs of blocks, tokens of a block."""

    context_tokens: int
    response_tokens: int
    pairs: int
    block: int


@register_dataclass
@dataclass(frozen=True)
class Packed:
    """Rows of tokens and where everything is in them.

    `before_BN` is the stream position whose hidden state predicts response token n: the one before it, or the
    last token of its context. `source_BN` indexes the row's flattened [P, G, T] (its size: a pad), `flat_BPGT` is the
    inverse (N: not a token).
    """

    tokens_BS: Array
    positions_BS: Array
    visible: Visible
    before_BN: Array
    source_BN: Array
    flat_BPGT: Array


def pack(contexts: Contexts, response_BPGT: Array, length_BPG: Array, sizes: Sizes) -> Packed:
    """Lays out rows of whole problems; every argument has a leading row axis before its problem axis.

    Positions of a response continue from the true length of its context. What does not fit into `sizes` would be
    lost: take them from `row_plan`, or from `full_sizes` where lengths are unknown.
    """
    return jax.vmap(lambda c, r, n: _pack_row(c, r, n, sizes))(contexts, response_BPGT, length_BPG)


def full_sizes(contexts: Contexts, response_PGT: Array, problems: int, *, block: int) -> Sizes:
    """Sizes that hold `problems` problems in a row whatever their lengths."""
    (_, distinct, window), (group, steps) = contexts.tokens_PMC.shape[-3:], response_PGT.shape[-2:]
    context_tokens = _whole_blocks(problems * distinct * window, block)
    response_tokens = _whole_blocks(problems * group * steps, block)
    pairs = ((context_tokens + response_tokens) // block) ** 2
    return Sizes(context_tokens, response_tokens, pairs, block)


def to_flat(packed: Packed, values_BPGT: Array) -> Array:
    """[B, P, G, T] -> [B, N], pads 0."""
    flat = values_BPGT.reshape(values_BPGT.shape[0], -1)
    return jax.vmap(lambda x, i: x.at[i].get(mode="fill", fill_value=0))(flat, packed.source_BN)


def to_groups(packed: Packed, values_BN: Array) -> Array:
    """[B, N, ..] -> [B, P, G, T, ..], 0 where there is no token."""
    return jax.vmap(lambda x, i: x.at[i].get(mode="fill", fill_value=0))(values_BN, packed.flat_BPGT)


def in_rows(tree: Any, order_P: Array, rows: int) -> Any:
    """Every leaf [P, ..] in the order of the plan, as [rows, P / rows, ..]."""
    return jax.tree.map(lambda x: x[order_P].reshape(rows, -1, *x.shape[1:]), tree)


def out_of_rows(tree: Any, order_P: Array) -> Any:
    """The inverse of `in_rows`: [rows, P / rows, ..] -> [P, ..] in the original order."""
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[jnp.argsort(order_P)], tree)


def _pack_row(contexts: Contexts, response_PGT: Array, length_PG: Array, sizes: Sizes) -> Packed:
    (problems, distinct), (_, group, steps) = contexts.length_PM.shape, response_PGT.shape
    context_Z, response_Z = contexts.length_PM.reshape(-1), length_PG.reshape(-1)
    of_Z = (contexts.of_PG + distinct * jnp.arange(problems)[:, None]).reshape(-1)  # in the row's contexts
    c_sequence, c_offset, c_start = _lay_out(context_Z, sizes.context_tokens)
    sequence, offset, start = _lay_out(response_Z, sizes.response_tokens)
    real, shown = sequence < len(response_Z), jnp.minimum(sequence, len(response_Z) - 1)
    last_Z = jnp.maximum(c_start + context_Z - 1, 0)[of_Z]
    before_N = jnp.where(offset > 0, sizes.context_tokens + jnp.arange(sizes.response_tokens) - 1, last_Z[shown])
    sequence_S = jnp.concatenate([c_sequence, sequence + len(context_Z)])
    real_S = jnp.concatenate([c_sequence < len(context_Z), real])
    none_S = jnp.full(sizes.context_tokens, -2)
    reads_S = jnp.concatenate([none_S, jnp.where(real, of_Z[shown], -2)])
    step_T = jnp.arange(steps)
    flat_ZT = jnp.where(step_T[None] < response_Z[:, None], start[:, None] + step_T[None], sizes.response_tokens)
    return Packed(
        tokens_BS=jnp.concatenate(
            [
                _at(contexts.tokens_PMC.reshape(len(context_Z), -1), c_sequence, c_offset),
                _at(response_PGT.reshape(len(response_Z), -1), sequence, offset),
            ]
        ),
        positions_BS=jnp.concatenate([c_offset, jnp.where(real, context_Z[of_Z[shown]] + offset, 0)]),
        visible=_visible(
            jnp.where(real_S, sequence_S, -1), reads_S, (c_start, start), (context_Z, response_Z), of_Z, sizes
        ),
        before_BN=jnp.where(real, before_N, 0),
        source_BN=jnp.where(real, shown * steps + offset, len(response_Z) * steps),
        flat_BPGT=flat_ZT.reshape(problems, group, steps),
    )


def _visible(
    sequence_S: Array,
    reads_S: Array,
    start: tuple[Array, Array],
    length: tuple[Array, Array],
    of_Z: Array,
    sizes: Sizes,
) -> Visible:
    blocks = len(sequence_S) // sizes.block
    start_Z = jnp.concatenate([start[0], start[1] + sizes.context_tokens])
    reads_Z = jnp.concatenate([jnp.full(len(start[0]), -1), of_Z])
    seen = visible_blocks(start_Z, jnp.concatenate(length), reads_Z, blocks, sizes.block)
    (pair_E,) = jnp.nonzero(seen.reshape(-1), size=sizes.pairs, fill_value=blocks * blocks - 1)
    pairs_E2 = jnp.stack([pair_E // blocks, pair_E % blocks], axis=1).astype(jnp.int32)
    return Visible(sequence_S, reads_S, pairs_E2, jnp.sum(seen))


def _lay_out(length_Z: Array, window: int) -> tuple[Array, Array, Array]:
    """For each position of a window filled by sequences: its sequence (Z: pad) and offset in it; and all starts."""
    end_Z = jnp.cumsum(length_Z)
    start_Z = end_Z - length_Z
    position = jnp.arange(window)
    sequence = jnp.searchsorted(end_Z, position, side="right")
    real = sequence < len(length_Z)
    offset = jnp.where(real, position - start_Z[jnp.minimum(sequence, len(length_Z) - 1)], 0)
    return sequence, offset, start_Z


def _at(tokens_ZX: Array, sequence: Array, offset: Array) -> Array:
    return tokens_ZX.at[sequence, offset].get(mode="fill", fill_value=0)


def _whole_blocks(tokens: int, block: int) -> int:
    return max(-(-tokens // block), 1) * block
