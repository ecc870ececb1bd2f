"""Token sequences of different lengths in one window: joined, repeated, left out."""

from collections.abc import Sequence

import jax.numpy as jnp

from hsd_jax.types import Array, Padded


def splice(pieces: Sequence[Padded], width: int) -> Padded:
    """Concatenates ragged pieces row by row into one right-padded window of `width` ids (pad id 0).

    All pieces share their leading axes. Ids past the window are cut; the caller makes room first.
    """
    lengths = jnp.stack([piece.length for piece in pieces])
    ends = jnp.cumsum(lengths, axis=0)
    position = jnp.arange(width)[(None,) * (ends.ndim - 1)]
    tokens = jnp.zeros((*ends.shape[1:], width), jnp.int32)
    for piece, end in zip(pieces, ends, strict=True):
        offset = position - (end - piece.length)[..., None]
        inside = (offset >= 0) & (offset < piece.length[..., None])
        ids = jnp.take_along_axis(piece.tokens, jnp.clip(offset, 0, piece.tokens.shape[-1] - 1), axis=-1)
        tokens = jnp.where(inside, ids, tokens)
    return Padded(tokens, jnp.minimum(ends[-1], width).astype(jnp.int32))


def over_contexts(piece: Padded, shape: tuple[int, ...]) -> Padded:
    """A piece of every problem [P], for each of its contexts [P, M]."""
    tokens = jnp.broadcast_to(piece.tokens[:, None], (*shape, piece.tokens.shape[-1]))
    return Padded(tokens, jnp.broadcast_to(piece.length[:, None], shape))


def constant(piece: Padded, shape: tuple[int, ...]) -> Padded:
    """One piece, everywhere."""
    tokens = piece.tokens[(None,) * len(shape)]
    return Padded(jnp.broadcast_to(tokens, (*shape, tokens.shape[-1])), jnp.broadcast_to(piece.length, shape))


def nothing(shape: tuple[int, ...]) -> Padded:
    """A piece of length 0."""
    return Padded(jnp.zeros((*shape, 1), jnp.int32), jnp.zeros(shape, jnp.int32))


def only_where(piece: Padded, condition: Array) -> Padded:
    """The piece where a condition holds, of length 0 elsewhere."""
    return Padded(piece.tokens, jnp.where(condition, piece.length, 0))


def without_start(piece: Padded, count: Array) -> Padded:
    """The piece without its first `count` ids."""
    last = piece.tokens.shape[-1] - 1
    ids = jnp.take(piece.tokens, jnp.minimum(jnp.arange(last + 1) + count, last), axis=-1)
    return Padded(ids, jnp.maximum(piece.length - count, 0))
