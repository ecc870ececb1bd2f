"""The cache of decoding: one ring of token places per slot and layer, and everything that touches it.

A slot is a row of the cache. All slots write their keys and values at the same place, `time % S`, so that the write is
one `dynamic_update_slice`; what a slot may read, and its positions, follow from the time at which it started. A prompt
enters a freed slot so that it ends at the present time.
"""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from hsd_jax.sampler.state import Cache, DecodeState, SamplerConfig, SlotInsert

Array = jax.Array


@partial(jax.jit, static_argnames=("program", "rows", "length"))
def empty_cache(*, program: SamplerConfig, rows: int, length: int) -> tuple[Cache, DecodeState]:
    """A cache of zeros and idle slots, created with their sharding."""
    config = program.config
    one = jnp.zeros((rows, config.kv_heads, length, config.head_dim), program.dtype)
    rings = tuple(one for _ in range(config.layers))
    zeros_B = jnp.zeros(rows, jnp.int32)
    slots = DecodeState(
        time=jnp.int32(0),
        token_B=zeros_B,
        start_B=zeros_B,
        written_B=zeros_B,
        limit_B=zeros_B,
        id_B=zeros_B.astype(jnp.uint32),
        rollout_B=zeros_B,
        active_B=zeros_B > 0,
    )
    return program.layout.constrain(Cache(rings, rings), "B", "K", None, None), program.layout.rows(slots)


@partial(jax.jit, static_argnames="program", donate_argnames=("cache", "slots"))
def insert_prompts(
    program: SamplerConfig, cache: Cache, slots: DecodeState, prompts: Cache, entry: SlotInsert
) -> tuple[Cache, DecodeState]:
    """Starts rollouts: copies prompts into their slots so that they end at the present time, and sets the slots."""
    length, window = cache.keys[0].shape[2], prompts.keys[0].shape[2]
    first = (slots.time - window) % length  # ring place of the prompt window's left edge
    new_B = entry.source_B >= 0
    source_B = jnp.maximum(entry.source_B, 0)

    def write(cache_BKSH: Array, prompt_RKCH: Array, left: Array, shift: Array) -> Array:
        """Writes the part of the window that falls on ring places left .. left + C - 1, moved right by `shift`."""
        place_C = jnp.arange(window) - shift
        taken = new_B[:, None, None, None] & ((place_C >= 0) & (place_C < window))[None, None, :, None]
        moved_BKCH = jnp.roll(prompt_RKCH, shift, axis=2)[source_B]
        old_BKCH = lax.dynamic_slice_in_dim(cache_BKSH, left, window, axis=2)
        return lax.dynamic_update_slice_in_dim(cache_BKSH, jnp.where(taken, moved_BKCH, old_BKCH), left, axis=2)

    def insert(cache_BKSH: Array, prompt_RKCH: Array) -> Array:
        # a window that passes the end of the ring falls into two pieces; otherwise the second covers nothing
        left = jnp.minimum(first, length - window)
        cache_BKSH = write(cache_BKSH, prompt_RKCH, left, first - left)
        return write(cache_BKSH, prompt_RKCH, jnp.zeros_like(first), first - length)

    cache = program.layout.constrain(jax.tree.map(insert, cache, prompts), "B", "K", None, None)
    return cache, program.layout.rows(fill_slots(slots, entry, new_B))


def fill_slots(slots: DecodeState, entry: SlotInsert, new_B: Array) -> DecodeState:
    """The slots with those of `new_B` at the start of a rollout: the prompt's last token is fed at the present time."""

    def take(new: Array, old: Array) -> Array:
        return jnp.where(new_B, new, old)

    return DecodeState(
        time=slots.time,
        token_B=take(entry.token_B, slots.token_B),
        start_B=take(slots.time - (entry.length_B - 1), slots.start_B),
        written_B=take(jnp.zeros_like(slots.written_B), slots.written_B),
        limit_B=take(entry.limit_B, slots.limit_B),
        id_B=take(entry.id_B, slots.id_B),
        rollout_B=take(entry.rollout_B, slots.rollout_B),
        active_B=slots.active_B | new_B,
    )


@partial(jax.jit, static_argnames=("program", "length"))
def move_ring(program: SamplerConfig, cache_BKSH: Array, rows_B: Array, time: Array, *, length: int) -> Array:
    """One layer's ring in another shape: the slots `rows_B`, with every token at its place in a ring of `length`."""
    # the time each new place was last written, and where the old ring keeps that time
    age_S = (time - 1 - jnp.arange(length)) % length
    source_S = (time - 1 - age_S) % cache_BKSH.shape[2]
    moved = jnp.take(jnp.take(cache_BKSH, rows_B, axis=0), source_S, axis=2)
    return program.layout.constrain(moved, "B", "K", None, None)


@partial(jax.jit, static_argnames="program")
def move_slots(program: SamplerConfig, slots: DecodeState, rows_B: Array, kept_B: Array) -> DecodeState:
    """The slots `rows_B`; those not `kept_B` become idle."""
    moved = jax.tree.map(lambda x: x if x.ndim == 0 else x[rows_B], slots)
    idle = dataclasses.replace(moved, active_B=moved.active_B & kept_B)
    return program.layout.rows(idle)
