"""Where credit falls: the divergence of a rollout from its peer, and credit by distance from it.

Credit is A_t = log pi(o_t | q, c, o_<t) - log pi(o_t | q, o_<t). Source: arXiv:2606.15576, Eq. 2 and 11.
"""

import jax.numpy as jnp

from hsd_jax.types import Array


def divergence_positions(response_PGT: Array, length_PG: Array, peers_PG: Array) -> Array:
    """tau: the first t with o_t != o_peer,t, int32 [P, G]; -1 without a peer or where both texts are the same.

    Where one text is a beginning of the other, tau is the length of the shorter one, if the rollout has a token there.
    """
    peer_PG = jnp.maximum(peers_PG, 0)
    peer_PGT = jnp.take_along_axis(response_PGT, peer_PG[..., None], axis=1)
    steps_T = jnp.arange(response_PGT.shape[2])[None, None, :]
    inside_PGT = steps_T < length_PG[..., None]
    beyond_PGT = steps_T >= jnp.take_along_axis(length_PG, peer_PG, axis=1)[..., None]
    differs_PGT = inside_PGT & ((response_PGT != peer_PGT) | beyond_PGT)
    found_PG = jnp.any(differs_PGT, axis=2) & (peers_PG >= 0)
    return jnp.where(found_PG, jnp.argmax(differs_PGT, axis=2), -1).astype(jnp.int32)


def offsets(divergence_PG: Array, window: int) -> Array:
    """t - tau for every token, [P, G, T]; a number outside every window where there is no divergence."""
    steps_T = jnp.arange(window)[None, None, :]
    return jnp.where((divergence_PG >= 0)[..., None], steps_T - divergence_PG[..., None], 2 * window)


def at_offsets(size_PGT: Array, valid_PGT: Array, divergence_PG: Array, first: int, last: int) -> Array:
    """Mean of `size_PGT` over all tokens whose offset from the divergence lies in first..last; 0 if there are none."""
    offset_PGT = offsets(divergence_PG, size_PGT.shape[2])
    where = valid_PGT & (offset_PGT >= first) & (offset_PGT <= last)
    return jnp.sum(jnp.where(where, size_PGT, 0.0)) / jnp.maximum(jnp.sum(where), 1)


def mass_within(size_PGT: Array, valid_PGT: Array, divergence_PG: Array, tokens: int) -> Array:
    """Share of sum |A| that lies within `tokens` of the divergence, over rollouts that diverge. Source: Table 5."""
    diverges_PGT = valid_PGT & (divergence_PG >= 0)[..., None]
    near_PGT = diverges_PGT & (jnp.abs(offsets(divergence_PG, size_PGT.shape[2])) <= tokens)
    total = jnp.sum(jnp.where(diverges_PGT, size_PGT, 0.0))
    return jnp.sum(jnp.where(near_PGT, size_PGT, 0.0)) / jnp.maximum(total, 1e-9)


def median_position(divergence_PG: Array) -> Array:
    """Median tau over the rollouts that diverge from a peer; -1 if none does."""
    position = jnp.where(divergence_PG >= 0, divergence_PG, jnp.nan).astype(jnp.float32)
    return jnp.nan_to_num(jnp.nanmedian(position), nan=-1.0)
