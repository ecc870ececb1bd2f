"""Decoding with a ring cache: the records, and the jitted programs that read prompts, fill slots and write tokens.

A slot is a row of the cache. All slots write their keys and values at the same place, `time % S`, so that the write is
one `dynamic_update_slice`; what a slot may read, and its positions, follow from the time at which it started. A prompt
enters a freed slot so that it ends at the present time.

Every program is compiled for shapes only: which slots are filled, how long, with what settings, are array values.
"""

import dataclasses
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh
from jax.tree_util import register_dataclass

from hsd_jax.decode_layout import DecodeParams, Layout
from hsd_jax.token_choice import Settings, address, choose
from hsd_jax.types import Ragged
from models import qwen3

Array = jax.Array
CHECK = 8  # decode steps between two looks at whether any slot still works: the look is a reduction over all rows


@dataclass(frozen=True)
class Program:
    """Everything that shapes the compiled programs of the sampler. See `sampling.program`.

    `vocabulary` is the tokenizer's size: ids from there on are never sampled. `shapes` are the cache shapes (slots,
    length) that may be used, `chunk` the most steps between two visits of the host, `reads` the number of prompts
    read at once. `mesh` (None: one device) holds only devices of this process, with axes "data" and "tensor".
    """

    config: qwen3.Qwen3Config
    vocabulary: int
    pad_id: int
    prompt_window: int
    response_window: int
    shapes: tuple[tuple[int, int], ...]
    chunk: int
    reads: int
    dtype: str
    mesh: Mesh | None

    @property
    def layout(self) -> Layout:
        """Where the arrays of the sampler lie."""
        return Layout(self.mesh)


@register_dataclass
@dataclass(frozen=True)
class Cache:
    """Rotated keys and values, one array per layer: [B, K, S, H] with S a ring of token slots."""

    keys: tuple[Array, ...]
    values: tuple[Array, ...]


@register_dataclass
@dataclass(frozen=True)
class Slots:
    """What each slot is doing. `token_B` is fed next, at `time`; `start_B` is the time of its first prompt token."""

    time: Array
    token_B: Array
    start_B: Array
    written_B: Array
    limit_B: Array
    id_B: Array
    rollout_B: Array
    active_B: Array


@register_dataclass
@dataclass(frozen=True)
class Entry:
    """Rollouts to start: slot b takes prompt `source_B[b]` of those read last (-1: the slot keeps what it has)."""

    source_B: Array
    token_B: Array
    length_B: Array
    limit_B: Array
    id_B: Array
    rollout_B: Array


@register_dataclass
@dataclass(frozen=True)
class Written:
    """A chunk's tokens, [N, B] step by step, and how the slots stand after it.

    `count_B` tokens have been written since the slot's rollout began: those of this chunk stand at the top of its
    column. `broken_B` tells that the slot's logits were not finite.
    """

    steps: Array
    token_NB: Array
    logprob_NB: Array
    broken_B: Array
    count_B: Array
    active_B: Array


@partial(jax.jit, static_argnames=("program", "rows", "length"))
def empty_cache(*, program: Program, rows: int, length: int) -> tuple[Cache, Slots]:
    """A cache of zeros and idle slots, made where they will lie."""
    config = program.config
    one = jnp.zeros((rows, config.kv_heads, length, config.head_dim), program.dtype)
    rings = tuple(one for _ in range(config.layers))
    zeros_B = jnp.zeros(rows, jnp.int32)
    slots = Slots(
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


@partial(jax.jit, static_argnames="program")
def read_prompts(program: Program, params: DecodeParams, prompts: Ragged) -> Cache:
    """Keys and values [R, K, C, H] of every prompt but its last token, the last of them at the right edge.

    The last token is left to the first decode step, which so chooses the first response token like any other.
    """
    window = prompts.tokens.shape[1]
    source_RC = jnp.arange(window)[None, :] - (window - (prompts.length - 1))[:, None]
    valid_RC = source_RC >= 0
    tokens_RC = jnp.take_along_axis(prompts.tokens, jnp.maximum(source_RC, 0), axis=1)
    positions_RC = jnp.maximum(source_RC, 0)
    segments_RC = jnp.where(valid_RC, 0, -1)

    def attend(q: Array, k: Array, v: Array) -> tuple[Array, tuple[Array, Array]]:
        out = qwen3.reference_attention(q, k, v, segments_RC, segments_RC)
        return out, (jnp.swapaxes(k, 1, 2), jnp.swapaxes(v, 1, 2))

    x = qwen3.embed(params, tokens_RC, program.dtype)
    entries = []
    for weights in params["layers"]:
        x, entry = qwen3.layer(program.config, weights, x, positions_RC, attend)
        entries.append(entry)
    keys, values = zip(*entries, strict=True)
    # every shard of the slots may need any prompt, so prompts are whole on the data axis
    return program.layout.constrain(Cache(keys, values), None, "K", None, None)


@partial(jax.jit, static_argnames="program", donate_argnames=("cache", "slots"))
def enter(program: Program, cache: Cache, slots: Slots, prompts: Cache, entry: Entry) -> tuple[Cache, Slots]:
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


def fill_slots(slots: Slots, entry: Entry, new_B: Array) -> Slots:
    """The slots with those of `new_B` at the start of a rollout: the prompt's last token is fed at the present time."""

    def take(new: Array, old: Array) -> Array:
        return jnp.where(new_B, new, old)

    return Slots(
        time=slots.time,
        token_B=take(entry.token_B, slots.token_B),
        start_B=take(slots.time - (entry.length_B - 1), slots.start_B),
        written_B=take(jnp.zeros_like(slots.written_B), slots.written_B),
        limit_B=take(entry.limit_B, slots.limit_B),
        id_B=take(entry.id_B, slots.id_B),
        rollout_B=take(entry.rollout_B, slots.rollout_B),
        active_B=slots.active_B | new_B,
    )


@partial(jax.jit, static_argnames="program", donate_argnames=("cache", "slots"))
def decode(
    program: Program,
    params: DecodeParams,
    cache: Cache,
    slots: Slots,
    settings: Settings,
    key: Array,
    steps: Array,
    idle_limit: Array,
) -> tuple[Cache, Slots, Written]:
    """Up to `steps` decode steps, in rounds of 8; stops early once more than `idle_limit` slots stand idle.

    The caller sees to it that no active slot outgrows the ring.
    """
    rows = slots.token_B.shape[0]
    written = Written(
        steps=jnp.int32(0),
        token_NB=jnp.zeros((program.chunk, rows), jnp.int32),
        logprob_NB=jnp.zeros((program.chunk, rows), jnp.float32),
        broken_B=jnp.zeros(rows, bool),
        count_B=slots.written_B,
        active_B=slots.active_B,
    )

    def works(carry: tuple[Cache, Slots, Written]) -> Array:
        _, slots, written = carry
        idle = rows - slots.active_B.sum()
        return (written.steps < steps) & (idle <= idle_limit) & (idle < rows)

    def round_(carry: tuple[Cache, Slots, Written]) -> tuple[Cache, Slots, Written]:
        return lax.fori_loop(0, CHECK, lambda _, c: decode_step(program, params, settings, key, *c), carry)

    cache, slots, written = lax.while_loop(works, round_, (cache, slots, written))
    cache = program.layout.constrain(cache, "B", "K", None, None)
    return cache, program.layout.rows(slots), program.layout.replicated(written)


def decode_step(
    program: Program,
    params: DecodeParams,
    settings: Settings,
    key: Array,
    cache: Cache,
    slots: Slots,
    written: Written,
) -> tuple[Cache, Slots, Written]:
    """Feeds one token per slot, writes its keys and values, and chooses the next token of the active slots."""
    config, length = program.config, cache.keys[0].shape[2]
    position_B1 = (slots.time - slots.start_B)[:, None]
    # ring place j was last written (slots.time - j) % S steps ago
    age_S = (slots.time - jnp.arange(length)) % length
    visible_BS = age_S[None, :] <= position_B1
    place = slots.time % length

    x = qwen3.embed(params, slots.token_B[:, None], program.dtype)
    keys, values = [], []
    for weights, k_BKSH, v_BKSH in zip(params["layers"], cache.keys, cache.values, strict=True):
        x, (k, v) = qwen3.layer(config, weights, x, position_B1, cached_attend(k_BKSH, v_BKSH, place, visible_BS))
        keys.append(k)
        values.append(v)
    hidden_BD = qwen3.final_norm(config, params, x)[:, 0]
    logits_BV = program.layout.split_rows(qwen3.logits(params, hidden_BD))
    key_B = address(key, slots.id_B, slots.rollout_B, slots.written_B)
    token_B, logprob_B = choose(logits_BV, key_B, settings, vocabulary=program.vocabulary, active_B=slots.active_B)
    slots, written = record(slots, written, settings, token_B, logprob_B)
    return Cache(tuple(keys), tuple(values)), slots, written


def record(
    slots: Slots, written: Written, settings: Settings, token_B: Array, logprob_B: Array
) -> tuple[Slots, Written]:
    """Notes one step's tokens; a slot ends at a stop id, at its limit, or where its logits were not finite."""
    broken_B = slots.active_B & ~jnp.isfinite(logprob_B)
    count_B = slots.written_B + slots.active_B
    stopped_B = (token_B[:, None] == settings.stop_ids_E[None, :]).any(-1)
    after = Slots(
        time=slots.time + 1,
        token_B=jnp.where(slots.active_B, token_B, slots.token_B),
        start_B=slots.start_B,
        written_B=count_B,
        limit_B=slots.limit_B,
        id_B=slots.id_B,
        rollout_B=slots.rollout_B,
        active_B=slots.active_B & ~stopped_B & ~broken_B & (count_B < slots.limit_B),
    )
    noted = Written(
        steps=written.steps + 1,
        token_NB=lax.dynamic_update_index_in_dim(written.token_NB, token_B, written.steps, 0),
        logprob_NB=lax.dynamic_update_index_in_dim(written.logprob_NB, logprob_B, written.steps, 0),
        broken_B=written.broken_B | broken_B,
        count_B=after.written_B,
        active_B=after.active_B,
    )
    return after, noted


def cached_attend(k_BKSH: Array, v_BKSH: Array, place: Array, visible_BS: Array) -> qwen3.Attend:
    """Attention of one token per row to the ring, itself included; hands out the updated ring."""

    def attend(q_B1NH: Array, k_B1KH: Array, v_B1KH: Array) -> tuple[Array, tuple[Array, Array]]:
        keys = lax.dynamic_update_slice_in_dim(k_BKSH, jnp.swapaxes(k_B1KH, 1, 2).astype(k_BKSH.dtype), place, axis=2)
        values = lax.dynamic_update_slice_in_dim(v_BKSH, jnp.swapaxes(v_B1KH, 1, 2).astype(v_BKSH.dtype), place, axis=2)
        rows, _, heads, size = q_B1NH.shape
        q_BKgH = q_B1NH.reshape(rows, keys.shape[1], -1, size)
        score = jnp.einsum("bkgh,bksh->bkgs", q_BKgH, keys, preferred_element_type=jnp.float32) * size**-0.5
        weight = jax.nn.softmax(jnp.where(visible_BS[:, None, None], score, -jnp.inf), axis=-1)
        out = jnp.einsum("bkgs,bksh->bkgh", weight.astype(values.dtype), values)
        return out.reshape(rows, 1, heads, size).astype(q_B1NH.dtype), (keys, values)

    return attend


@partial(jax.jit, static_argnames=("program", "length"))
def move_ring(program: Program, cache_BKSH: Array, rows_B: Array, time: Array, *, length: int) -> Array:
    """One layer's ring in another shape: the slots `rows_B`, with every token at its place in a ring of `length`."""
    # the time each new place was last written, and where the old ring keeps that time
    age_S = (time - 1 - jnp.arange(length)) % length
    source_S = (time - 1 - age_S) % cache_BKSH.shape[2]
    moved = jnp.take(jnp.take(cache_BKSH, rows_B, axis=0), source_S, axis=2)
    return program.layout.constrain(moved, "B", "K", None, None)


@partial(jax.jit, static_argnames="program")
def move_slots(program: Program, slots: Slots, rows_B: Array, kept_B: Array) -> Slots:
    """The slots `rows_B`; those not `kept_B` stand idle."""
    moved = jax.tree.map(lambda x: x if x.ndim == 0 else x[rows_B], slots)
    idle = dataclasses.replace(moved, active_B=moved.active_B & kept_B)
    return program.layout.rows(idle)
