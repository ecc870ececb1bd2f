"""The cache shapes of the sampler: which there are, which one fits, and the programs compiled for them beforehand."""

from functools import cache
from typing import Any, cast

import jax
import numpy as np
from jax.sharding import Mesh

from hsd_jax.errors import InputError
from hsd_jax.sampler import decode, kv_cache
from hsd_jax.sampler.decode_sharding import DecodeParams
from hsd_jax.sampler.state import Cache, Capacity, ChunkLimits, DecodeState, SamplerConfig, SlotInsert
from hsd_jax.sampler.token_sampling import SamplingParams
from hsd_jax.types import Padded
from models.qwen3 import Qwen3Config

MIN_SAVING = 128


def make_sampler_config(
    config: Qwen3Config,
    room: Capacity,
    *,
    vocabulary: int,
    pad_id: int,
    dtype: str = "float32",
    mesh: Mesh | None = None,
) -> SamplerConfig:
    """The shapes of a sampler: cache lengths for 1/4, 1/2 and all of the response window, and a quarter of the slots
    for the last, longest rollouts.

    `vocabulary` is the tokenizer's size; ids from there to the model's are never sampled. `mesh` comes from
    `decode_mesh`.

    Raises:
        InputError: a size is impossible.
    """
    data, slots = 1 if mesh is None else mesh.shape["data"], room.slots
    _check(config, room, vocabulary, mesh)
    # a shape is worth its compilation only where it saves many tokens of cache
    parts = [part for part in (1, 2, 4) if part == 4 or room.response_window // 4 >= MIN_SAVING]
    lengths = [round_up(room.prompt_window + room.response_window * part // 4) for part in parts]
    tail = max(1, slots // 4 // data) * data
    shapes = {(slots, length) for length in lengths} | {(tail, length) for length in lengths[-2:]}
    return SamplerConfig(
        config=config,
        vocabulary=vocabulary,
        pad_id=pad_id,
        prompt_window=room.prompt_window,
        response_window=room.response_window,
        shapes=tuple(sorted(shapes)),
        chunk=room.chunk,
        prefill_batch=max(1, slots // 16 // data) * data,
        dtype=dtype,
        mesh=mesh,
    )


def _check(config: Qwen3Config, room: Capacity, vocabulary: int, mesh: Mesh | None) -> None:
    for name, value in vars(room).items():
        if value < 1:
            raise InputError(f"{name} must be at least 1; got {value}")
    data = 1 if mesh is None else mesh.shape["data"]
    if not 0 < vocabulary <= config.vocab_size:
        raise InputError(f"vocabulary must be in 1..{config.vocab_size}, the rows of the embedding; got {vocabulary}")
    if room.slots % data:
        raise InputError(f"slots must be a multiple of {data}, the data axis of the decode mesh; got {room.slots}")
    if mesh is not None and config.kv_heads % mesh.shape["tensor"]:
        raise InputError(
            f"the tensor axis of the decode mesh must divide the {config.kv_heads} key/value heads; "
            f"got {mesh.shape['tensor']}"
        )
    if room.chunk % decode.CHECK:
        raise InputError(f"chunk must be a positive multiple of {decode.CHECK} steps; got {room.chunk}")


def round_up(length: int) -> int:
    """The next multiple of 128 tokens, of 16 below 512: what TPUs pad to, and little waste."""
    step = 16 if length <= 512 else 128
    return -(-length // step) * step


def pick_shape(program: SamplerConfig, slots: int, length: int) -> tuple[int, int]:
    """The smallest cache shape with that many slots of that length."""
    fitting = [shape for shape in program.shapes if shape[0] >= slots and shape[1] >= length]
    return min(fitting, key=lambda shape: shape[0] * shape[1])


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


def empty_entry(rows: int) -> SlotInsert:
    """An entry that starts nothing."""

    def full(value: int, dtype: Any = np.int32) -> Any:
        return np.full(rows, value, dtype)

    return SlotInsert(
        source_B=full(-1),
        token_B=full(0),
        length_B=full(1),
        limit_B=full(0),
        id_B=full(0, np.uint32),
        rollout_B=full(0),
    )


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
