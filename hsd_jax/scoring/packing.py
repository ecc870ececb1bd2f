"""Whole problems packed into rows: contexts, then responses, back to back, so that almost every position is a token.

The host knows the lengths and plans which problems share a row and how wide rows must be (`row_plan`). The device
lays the tokens out from the same lengths, by index arithmetic (`pack`). Groups stay tensors everywhere else:
`flatten` and `unflatten` translate per-token arrays [P, G, T] <-> [N].

Axes here: B rows, P problems of a row, S = C + N tokens of a row: C of contexts, then N of responses (both
padded at their end only), Z sequences of a row: P·M contexts, then P·G responses.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import register_dataclass

from hsd_jax.scoring.packed_attention import Visible, visible_blocks
from hsd_jax.types import Array, Contexts


@dataclass(frozen=True)
class Sizes:
    """The static shape of packed rows: tokens of contexts, tokens of responses, pairs of blocks, tokens of a block."""

    context_tokens: int
    response_tokens: int
    block_pairs: int
    block: int


@register_dataclass
@dataclass(frozen=True)
class Packed:
    """Rows of tokens and where everything is in them.

    `before_BN` is the stream position whose hidden state predicts response token n: the one before it, or the
    last token of its context.
    """

    tokens_BS: Array
    positions_BS: Array
    visible: Visible
    before_BN: Array


def pack(contexts: Contexts, response_BPGT: Array, length_BPG: Array, sizes: Sizes) -> Packed:
    """Lays out rows of whole problems; every argument has a leading row axis before its problem axis (`split_rows`).

    Positions of a response continue from the true length of its context. What does not fit into `sizes` would be
    lost: take them from `bin_packing.pack_problems`.
    """
    return jax.vmap(lambda c, r, n: _pack_row(c, r, n, sizes))(contexts, response_BPGT, length_BPG)


def flatten(values_PGT: Array, length_PG: Array, *, rows: int, tokens: int) -> Array:
    """[P, G, T] -> [N]: the response tokens row by row, `tokens` places a row, pads 0."""
    values_BX, length_BZ = values_PGT.reshape(rows, -1), length_PG.reshape(rows, -1)

    def row(values_X: Array, length_Z: Array) -> Array:
        sequence, offset, _ = _lay_out(length_Z, tokens)
        return _at(values_X.reshape(len(length_Z), -1), sequence, offset)

    return jax.vmap(row)(values_BX, length_BZ).reshape(-1)


def unflatten(values_N: Array, length_PG: Array, *, rows: int, tokens: int, steps: int) -> Array:
    """[N, ..] -> [P, G, T, ..], the inverse of `flatten`; 0 where there is no token."""
    values_BN, length_BZ = values_N.reshape(rows, tokens, *values_N.shape[1:]), length_PG.reshape(rows, -1)

    def row(values_N: Array, length_Z: Array) -> Array:
        start_Z = jnp.cumsum(length_Z) - length_Z
        index_ZT = start_Z[:, None] + jnp.arange(steps)[None]
        index_ZT = jnp.where(jnp.arange(steps)[None] < length_Z[:, None], index_ZT, tokens)
        return values_N.at[index_ZT].get(mode="fill", fill_value=0)

    return jax.vmap(row)(values_BN, length_BZ).reshape(*length_PG.shape, steps, *values_N.shape[1:])


def split_rows(tree: Any, rows: int) -> Any:
    """Every leaf [P, ..] as [rows, P / rows, ..]."""
    return jax.tree.map(lambda x: x.reshape(rows, -1, *x.shape[1:]), tree)


def _pack_row(contexts: Contexts, response_PGT: Array, length_PG: Array, sizes: Sizes) -> Packed:
    problems, distinct = contexts.length_PM.shape
    context_Z, response_Z = contexts.length_PM.reshape(-1), length_PG.reshape(-1)
    of_Z = (contexts.context_index_PG + distinct * jnp.arange(problems)[:, None]).reshape(-1)  # in the row's contexts
    c_sequence, c_offset, c_start = _lay_out(context_Z, sizes.context_tokens)
    sequence, offset, start = _lay_out(response_Z, sizes.response_tokens)
    real, shown = sequence < len(response_Z), jnp.minimum(sequence, len(response_Z) - 1)
    last_Z = jnp.maximum(c_start + context_Z - 1, 0)[of_Z]
    before_N = jnp.where(offset > 0, sizes.context_tokens + jnp.arange(sizes.response_tokens) - 1, last_Z[shown])
    sequence_S = jnp.concatenate([c_sequence, sequence + len(context_Z)])
    real_S = jnp.concatenate([c_sequence < len(context_Z), real])
    none_S = jnp.full(sizes.context_tokens, -2)
    reads_S = jnp.concatenate([none_S, jnp.where(real, of_Z[shown], -2)])
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
    (pair_E,) = jnp.nonzero(seen.reshape(-1), size=sizes.block_pairs, fill_value=blocks * blocks - 1)
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
