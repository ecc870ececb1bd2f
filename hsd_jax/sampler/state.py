"""The records of the sampler: what is compiled for, the cache, what every slot is doing, and what it has written."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jax.tree_util import register_dataclass

from hsd_jax.sampler.decode_sharding import DecodeSharding
from models.qwen3 import Attend, Params, Qwen3Config

Array = jax.Array
CHECK = 8  # decode steps between checks whether any slot is still active: a check is a reduction over all rows


@dataclass(frozen=True)
class Capacity:
    """What a sampler has room for, in tokens: prompts, responses, `slots` of them at a time.

    Up to `chunk` tokens per slot are decoded between two host syncs.
    """

    prompt_window: int
    response_window: int
    slots: int
    chunk: int = 64


def as_is(weights: Params, attend: Attend) -> Attend:
    """A layer's attention, unchanged."""
    return attend


@dataclass(frozen=True)
class SamplerConfig:
    """Everything that shapes the compiled programs of the sampler. See `buckets.make_sampler_config`.

    `vocabulary` is the tokenizer's size: ids from there on are never sampled. `shapes` are the cache shapes (slots,
    length) that may be used, `chunk` the most steps between two host syncs, `prefill_batch` the number of
    prompts read at once. `mesh` (None: one device) holds only devices of this process, with axes "data" and "tensor".
    `wrap_attend(weights, attend)` is the attention of a layer with these `DecodeParams`, which may hold arrays of the
    caller's: it sees, and may change, queries, rotated keys and values before they are cached.
    """

    config: Qwen3Config
    vocabulary: int
    pad_id: int
    prompt_window: int
    response_window: int
    shapes: tuple[tuple[int, int], ...]
    chunk: int
    prefill_batch: int
    dtype: str
    mesh: Mesh | None
    wrap_attend: Callable[[Params, Attend], Attend] = as_is

    @property
    def layout(self) -> DecodeSharding:
        """How the arrays of the sampler are sharded."""
        return DecodeSharding(self.mesh)


def pick_shape(program: SamplerConfig, slots: int, length: int) -> tuple[int, int]:
    """The smallest cache shape with that many slots of that length."""
    fitting = [shape for shape in program.shapes if shape[0] >= slots and shape[1] >= length]
    return min(fitting, key=lambda shape: shape[0] * shape[1])


@register_dataclass
@dataclass(frozen=True)
class Cache:
    """Rotated keys and values, one array per layer: [B, K, S, H] with S a ring of token slots."""

    keys: tuple[Array, ...]
    values: tuple[Array, ...]


@register_dataclass
@dataclass(frozen=True)
class DecodeState:
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
class ChunkLimits:
    """When a chunk ends: after `steps` decode steps, or once more than `idle` slots are idle."""

    steps: Array
    idle: Array


@register_dataclass
@dataclass(frozen=True)
class SlotInsert:
    """Rollouts to start: slot b takes prompt `source_B[b]` of those read last (-1: the slot keeps what it has)."""

    source_B: Array
    token_B: Array
    length_B: Array
    limit_B: Array
    id_B: Array
    rollout_B: Array


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


@register_dataclass
@dataclass(frozen=True)
class DecodeOutput:
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
