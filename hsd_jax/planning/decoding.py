"""What decoding costs a host, replayed: the sampler's own slots and cache shapes on assumed lengths of responses.

The sampler reads the whole ring of every slot, whether a key lives there or not, so what counts is the ring that is
allocated at each step and not the tokens that are written.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from jax.sharding import AbstractMesh

from hsd_jax.config import Config
from hsd_jax.planning.chips import Topology
from hsd_jax.planning.workload import Workload, draw_lengths
from hsd_jax.sampler.buckets import make_sampler_config
from hsd_jax.sampler.decode import CHECK
from hsd_jax.sampler.sampler import idle_limit
from hsd_jax.sampler.scheduler import (
    Batch,
    SlotTable,
    assign,
    collect,
    compact,
    new_slot_table,
    next_prefill,
    next_shape,
)
from hsd_jax.sampler.state import DecodeOutput, SamplerConfig
from hsd_jax.setup.sampling import capacity_of
from models.qwen3 import Qwen3Config


@dataclass(frozen=True)
class Replay:
    """One host's decoding: steps, prompts read together, and per step summed up: places of the ring, live keys, slots.

    `used` is the share of slots x steps in which a rollout ran.
    """

    steps: int
    prefills: int
    places: float
    live: float
    used: float


def sampler_of(config: Config, model: Qwen3Config, topology: Topology, work: Workload) -> SamplerConfig:
    """The sampler of one host of the slice, as `setup.sampling` makes it; nothing is compiled."""
    s, rows = config.sampling, work.rollouts // topology.hosts
    data = max(1, topology.chips_per_host // s.tensor)
    room = capacity_of(s, prompt=config.data.prompt_tokens, longest=max(work.caps), rows=rows, data=data)
    return make_sampler_config(
        model,
        room,
        vocabulary=model.vocab_size,
        pad_id=0,
        dtype=s.dtype,
        mesh=AbstractMesh((data, s.tensor), ("data", "tensor")),  # type: ignore[arg-type]
    )


@lru_cache(maxsize=32)
def hosts(program: SamplerConfig, work: Workload, count: int, *, seed: int = 0) -> tuple[Replay, ...]:
    """The decoding of every host of a slice, with lengths drawn for all of the step's rollouts: about a second."""
    shares = np.array_split(draw_lengths(work, np.random.default_rng(seed)), count)
    return tuple(replay(program, work.prompt, share_PG) for share_PG in shares if len(share_PG))


def replay(program: SamplerConfig, prompt: int, length_PG: np.ndarray) -> Replay:
    """Decodes responses of these lengths after prompts of one length, by the sampler's scheduler, on no device."""
    table = new_slot_table(program, _batch(program, prompt, length_PG))
    table.problem_B, table.rollout_B, table.age_B = (
        np.full(next_shape(program, table)[0], -1, np.int32) for _ in range(3)
    )
    steps, prefills, places, live, read = 0, 0, 0.0, 0.0, list[int]()
    while table.waiting or (table.problem_B >= 0).any():
        shape = next_shape(program, table)
        if shape[0] != len(table.problem_B):
            compact(table, shape[0])
        while table.waiting and (table.problem_B < 0).any():
            if table.waiting[-1][0] not in read:
                read, prefills = next_prefill(program, table)[0], prefills + 1
            assign(table, read)
        written = _chunk(program, table, length_PG)
        active = table.problem_B >= 0
        keys = table.age_B[active][:, None] + np.arange(int(written.steps))
        left = (length_PG[table.problem_B, table.rollout_B] - _written_before(table))[active]
        live += float((keys * (np.arange(int(written.steps)) < left[:, None])).sum())
        steps, places = steps + int(written.steps), places + int(written.steps) * shape[0] * shape[1]
        collect(table, written)
        table.finished.clear()
    return Replay(steps, prefills, places, live, table.used_steps / table.slot_steps)


def _written_before(table: SlotTable) -> np.ndarray:
    """Tokens that each slot's rollout has so far; what idle slots say counts nowhere."""
    return np.asarray(table.rollouts.length_PG)[table.problem_B, table.rollout_B]


def _chunk(program: SamplerConfig, table: SlotTable, length_PG: np.ndarray) -> DecodeOutput:
    """What a chunk of decode steps would leave: rounds of `CHECK` until the chunk is full or enough slots are idle."""
    active, before = table.problem_B >= 0, _written_before(table)
    left = np.where(active, length_PG[table.problem_B, table.rollout_B] - before, 0)
    steps, limit = 0, idle_limit(program, table)
    while steps < program.chunk and (steps == 0 or (left <= steps).sum() <= min(limit, len(left) - 1)):
        steps += CHECK
    nothing: Any = np.zeros((program.chunk, len(left)))
    whole: Any = np.zeros(len(left), bool), before + np.minimum(left, steps), left > steps
    done: Any = steps
    return DecodeOutput(done, nothing, nothing, *whole)


def _batch(program: SamplerConfig, prompt: int, length_PG: np.ndarray) -> Batch:
    problems = len(length_PG)
    return Batch(
        tokens_PC=np.zeros((problems, program.prompt_window), np.int32),
        length_P=np.full(problems, prompt),
        id_P=np.zeros(problems, np.uint32),
        draw_PG=np.zeros(length_PG.shape, np.int32),
        limit_P=np.full(problems, program.response_window),
        stop_ids=frozenset[int](),
    )


def slowest(replays: Sequence[Replay]) -> Replay:
    """The host that reads most."""
    return max(replays, key=lambda host: host.places)
