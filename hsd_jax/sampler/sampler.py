"""Rollouts of a batch of prompts: a slot of the cache is refilled as soon as its rollout ends.

The host syncs with the device once per chunk of steps. It takes what was written, starts the next rollouts in the
free slots, and picks the smallest cache shape that holds what is running. While the device decodes the next chunk,
finished rollouts are handed to the caller, who can grade them meanwhile.

The noise belongs to (key, question id, rollout index, token position). In float32 so do the tokens: the same ones in
any slot, batch and number of devices. In bfloat16 the order of sums, which these change, decides between close tokens.
In a run of several processes each samples its own problems on its own devices: nothing here communicates.
"""

from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import jax
import numpy as np

from hsd_jax.errors import InputError
from hsd_jax.sampler import decode, kv_cache
from hsd_jax.sampler.buckets import make_sampler_config as make_sampler_config
from hsd_jax.sampler.decode_sharding import DecodeParams
from hsd_jax.sampler.decode_sharding import decode_mesh as decode_mesh
from hsd_jax.sampler.decode_sharding import decode_params as decode_params
from hsd_jax.sampler.scheduler import (
    Batch,
    OnFinished,
    SlotTable,
    assign,
    collect,
    compact,
    emit_finished,
    new_slot_table,
    next_prefill,
    next_shape,
)
from hsd_jax.sampler.state import Cache, ChunkLimits, DecodeState, SamplerConfig, empty_entry
from hsd_jax.sampler.state import Capacity as Capacity
from hsd_jax.sampler.token_sampling import SamplingParams
from hsd_jax.sampler.token_sampling import sampling_params as sampling_params
from hsd_jax.types import Padded

REFILL = 8  # a chunk ends early once more than 1/REFILL of the slots are idle and rollouts are queued


def ignore(problem: int, rollout: int, tokens: np.ndarray) -> None:
    """Does nothing with a finished rollout."""


@dataclass(frozen=True)
class Requests:
    """Prompts to answer, on the host: a stable id and the longest response in tokens of each, rollouts of each.

    `repeat_P` counts how often the question of that id has been asked before with the same key, by any process.
    """

    prompts: Padded
    id_P: Any
    limit_P: Any
    group_size: int
    repeat_P: Any = 0


def sample(
    program: SamplerConfig,
    params: DecodeParams,
    asked: Requests,
    settings: SamplingParams,
    key: jax.Array,
    on_finished: OnFinished = ignore,
) -> SlotTable:
    """`group_size` rollouts of every prompt, as host arrays [P, G, ...], and how well the slots were used.

    T is the program's response window.
    `params` are those of `decode_params`. `key` (typed, of one run, seed and step) addresses all noise.
    `on_finished(problem, rollout, token_ids)` is called in the order of finishing, from this thread, while the device
    works on.

    Raises:
        InputError: no problems, a prompt or limit that does not fit, a stop id that is no token.
        RunStopped: logits were not finite.
    """
    settings = jax.device_get(settings)
    batch = check(program, asked, settings)
    layout = program.layout
    settings = layout.put(settings)
    key = jax.random.wrap_key_data(layout.put(jax.device_get(jax.random.key_data(key))), impl=jax.random.key_impl(key))
    warm_up(program, params, settings, key)
    table = new_slot_table(program, batch)
    shape = next_shape(program, table)
    cache, slots = kv_cache.empty_cache(program=program, rows=shape[0], length=shape[1])
    table.problem_B, table.rollout_B, table.age_B = (np.full(shape[0], -1, np.int32) for _ in range(3))
    read: tuple[list[int], Cache] = ([], cache)
    while table.waiting or (table.problem_B >= 0).any():
        wanted = next_shape(program, table)
        if wanted != shape:
            cache, slots = resize_cache(program, cache, slots, wanted, *compact(table, wanted[0]))
            shape = wanted
        cache, slots, read = start(program, params, table, cache, slots, read)
        chunk, idle = (cast(jax.Array, np.int32(n)) for n in (program.chunk, idle_limit(program, table)))
        limits = layout.put(ChunkLimits(chunk, idle))
        cache, slots, written = decode.decode(program, params, cache, slots, settings, key, limits)
        emit_finished(table, on_finished)
        collect(table, jax.device_get(written))
    emit_finished(table, on_finished)
    return table


def start(
    program: SamplerConfig,
    params: DecodeParams,
    table: SlotTable,
    cache: Cache,
    slots: DecodeState,
    read: tuple[list[int], Cache],
) -> tuple[Cache, DecodeState, tuple[list[int], Cache]]:
    """Fills the free slots with waiting rollouts; reads prompts when their turn comes, each once."""
    while table.waiting and (table.problem_B < 0).any():
        if table.waiting[-1][0] not in read[0]:
            problems, *prompts = next_prefill(program, table)
            read = problems, decode.prefill(program, params, Padded(*program.layout.put(prompts)))
        entry = program.layout.put(assign(table, read[0]))
        cache, slots = kv_cache.insert_prompts(program, cache, slots, read[1], entry)
    return cache, slots, read


def idle_limit(program: SamplerConfig, table: SlotTable) -> int:
    """How many slots may be idle before the host should act: refill them, or move to fewer slots."""
    rows = len(table.problem_B)
    if table.waiting:
        return rows // REFILL
    fewer = max((slots for slots, _ in program.shapes if slots < rows), default=0)
    idle = int((table.problem_B < 0).sum())
    return max(idle, rows - fewer - 1)


def check(program: SamplerConfig, asked: Requests, chosen: SamplingParams) -> Batch:
    """The batch, refused where it cannot be sampled."""
    tokens, length, id_P = (np.asarray(x) for x in (asked.prompts.tokens, asked.prompts.length, asked.id_P))
    limit_P, group_size = np.broadcast_to(np.asarray(asked.limit_P), length.shape), asked.group_size
    window, longest = program.prompt_window, program.response_window
    if len(length) == 0 or group_size < 1:
        raise InputError(f"sampling needs at least one problem and one rollout; got {len(length)} and {group_size}")
    if id_P.shape != length.shape:
        raise InputError(f"id_P must have one id for each of the {len(length)} prompts; got shape {id_P.shape}")
    refuse("prompt length", length, 1, window, "raise the prompt window or filter long questions")
    refuse("limit", limit_P, 1, longest, "raise the response window or lower the limit")
    if chosen.stop_ids_E.max() >= program.vocabulary:
        raise InputError(
            f"stop id {chosen.stop_ids_E.max()} is no token: the vocabulary ends at {program.vocabulary - 1}"
        )
    fitted = np.full((len(length), window), program.pad_id, np.int32)
    fitted[:, : min(window, tokens.shape[1])] = tokens[:, :window]
    seen, draw_PG = Counter[int](), np.zeros((len(length), group_size), np.int32)
    for p, (name, repeat) in enumerate(zip(id_P.tolist(), np.broadcast_to(asked.repeat_P, id_P.shape), strict=True)):
        # a question that is asked again continues the numbering of its rollouts
        draw_PG[p] = np.arange(group_size) + group_size * max(seen[name], repeat)
        seen[name] += 1
    stop_ids = frozenset(int(i) for i in chosen.stop_ids_E if i >= 0)
    return Batch(fitted, length, id_P.astype(np.uint32), draw_PG, limit_P, stop_ids)


def refuse(name: str, given_P: np.ndarray, low: int, high: int, fix: str) -> None:
    """Raises InputError naming the first problem whose number is outside low..high."""
    for problem in np.flatnonzero((given_P < low) | (given_P > high))[:1]:
        raise InputError(f"problem {problem}: {name} {given_P[problem]} tokens, allowed {low}..{high}; {fix}")


def resize_cache(
    program: SamplerConfig,
    cache: Cache,
    slots: DecodeState,
    shape: tuple[int, int],
    rows_B: np.ndarray,
    kept_B: np.ndarray,
) -> tuple[Cache, DecodeState]:
    """The cache in another shape, with the old slots `rows_B`; ring by ring, so that one of them exists twice."""
    rows_B, kept_B = program.layout.put((rows_B, kept_B))
    rings, treedef = jax.tree.flatten(cache)
    del cache
    for i in range(len(rings)):
        rings[i] = kv_cache.move_ring(program, rings[i], rows_B, slots.time, length=shape[1])
    return jax.tree.unflatten(treedef, rings), kv_cache.move_slots(program, slots, rows_B, kept_B)


@cache
def signatures(program: SamplerConfig) -> set[Any]:
    """The kinds of weights for which the programs are compiled already; a memo, so that looking costs nothing."""
    return set()


def warm_up(program: SamplerConfig, params: DecodeParams, settings: SamplingParams, key: jax.Array) -> None:
    """Compiles everything `sample` can need for this program, by running it without work; once per kind of weights.

    Otherwise a first long response would stop a run for a compilation in the middle.
    """
    signature = (tuple((x.aval, x.sharding) for x in jax.tree.leaves(params)), key.dtype)
    if signature in signatures(program):
        return
    put, nothing = program.layout.put, cast(jax.Array, np.int32(0))
    tokens, length = put(
        (np.zeros((program.prefill_batch, program.prompt_window), np.int32), np.ones(program.prefill_batch, np.int32))
    )
    read = decode.prefill(program, params, Padded(tokens, length))
    for rows, length in program.shapes:
        cache_, slots = kv_cache.empty_cache(program=program, rows=rows, length=length)
        cache_, slots = kv_cache.insert_prompts(program, cache_, slots, read, put(empty_entry(rows)))
        cache_, slots, _ = decode.decode(
            program, params, cache_, slots, settings, key, put(ChunkLimits(nothing, nothing))
        )
        for to_rows, to_length in program.shapes:
            if to_rows <= rows and (to_rows, to_length) != (rows, length):
                chosen_B = put(np.arange(to_rows, dtype=np.int32))
                kv_cache.move_ring(program, cache_.keys[0], chosen_B, slots.time, length=to_length)
                kv_cache.move_slots(program, slots, *put((np.arange(to_rows, dtype=np.int32), np.zeros(to_rows, bool))))
    signatures(program).add(signature)
