"""What another problem of the batch gives where a view reads one: never the same question, nearest in length.

A problem of which no other can give everything that is needed gets nothing: who reads it is left out, never filled.
"""

from collections.abc import Iterable

import jax
import jax.numpy as jnp

from hsd_jax.reading.peers import successful
from hsd_jax.reading.pieces import Attempts, Piece, Text
from hsd_jax.reading.ragged import only_where
from hsd_jax.types import Array, Padded, Problems, Rollouts


def borrowed(pieces: Iterable[Piece]) -> tuple[Piece, ...]:
    """The pieces that come from another problem."""
    return tuple(piece for piece in pieces if getattr(piece, "whose", "own") == "other")


def give(
    pieces: Iterable[Piece],
    problems: Problems,
    rollouts: Rollouts,
    rewards_PG: Array,
    readable_PG: Array,
    key: Array,
) -> dict[str, Padded]:
    """By name the texts [P] of the problem that gives: its question, its blocks, one success.

    Among the batch's rollouts that succeeded (or, where no attempt is read, among its problems) the one whose attempt
    (or block) is nearest in length to the own ones, mean over the group; ties are drawn by `key` and the question ids,
    so that the order of the batch changes nothing.
    """
    wanted = borrowed(pieces)
    blocks = [piece.block for piece in wanted if isinstance(piece, Text)]
    with_attempt = any(isinstance(piece, Attempts) for piece in wanted)
    can_PG = successful(rewards_PG) & readable_PG if with_attempt else jnp.arange(rewards_PG.shape[1])[None] == 0
    for block in blocks:
        can_PG &= problems.text(block).length[:, None] > 0
    text_PG = rollouts.length_PG - rollouts.finished_PG.astype(jnp.int32)
    size_PG = text_PG if with_attempt else jnp.broadcast_to(_block_tokens(problems, blocks)[:, None], can_PG.shape)
    giver_P, which_P, found_P = _nearest(problems.id_P, size_PG, can_PG, key)
    given = {block: _taken(problems.text(block), giver_P, found_P) for block in blocks}
    if with_attempt:
        text = Padded(rollouts.response_PGT[giver_P, which_P], text_PG[giver_P, which_P])
        given["attempt"] = only_where(text, found_P)
    return given


def _block_tokens(problems: Problems, blocks: list[str]) -> Array:
    return sum((problems.text(block).length for block in blocks), start=jnp.zeros(len(problems.id_P), jnp.int32))


def _nearest(id_P: Array, size_PG: Array, can_PG: Array, key: Array) -> tuple[Array, Array, Array]:
    """For every problem the problem and rollout nearest in size, and whether there is any."""
    own_P = jnp.round(jnp.mean(size_PG.astype(jnp.float32), axis=1))
    of_pair = jax.vmap(jax.vmap(_tie, (None, None, 0)), (None, 0, None))
    distance_PPG = jnp.abs(size_PG[None] - own_P[:, None, None]) + of_pair(key, id_P, id_P)[..., None]
    allowed_PPG = can_PG[None] & (id_P[:, None] != id_P[None])[..., None]
    cost_PX = jnp.where(allowed_PPG, distance_PPG, jnp.inf).reshape(len(id_P), -1)
    best_P, group = jnp.argmin(cost_PX, axis=1), size_PG.shape[1]
    return best_P // group, best_P % group, jnp.isfinite(jnp.min(cost_PX, axis=1))


def _tie(key: Array, reader: Array, giver: Array) -> Array:
    return 0.5 * jax.random.uniform(jax.random.fold_in(jax.random.fold_in(key, reader), giver))


def _taken(text: Padded, giver_P: Array, found_P: Array) -> Padded:
    return only_where(Padded(text.tokens[giver_P], text.length[giver_P]), found_P)
