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
from hsd_jax.sampler.state import Capacity, DecodeOutput, SamplerConfig
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
    return make_sampler_config(
        model,
        Capacity(config.data.prompt_tokens, max(work.caps), -(-min(s.slots or rows, rows) // data) * data, s.chunk),
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
    board = new_slot_table(program, _batch(program, prompt, length_PG))
    board.problem_B, board.rollout_B, board.age_B = (
        np.full(next_shape(program, board)[0], -1, np.int32) for _ in range(3)
    )
    steps, prefills, places, live, read = 0, 0, 0.0, 0.0, list[int]()
    while board.waiting or (board.problem_B >= 0).any():
        shape = next_shape(program, board)
        if shape[0] != len(board.problem_B):
            compact(board, shape[0])
        while board.waiting and (board.problem_B < 0).any():
            if board.waiting[-1][0] not in read:
                read, prefills = next_prefill(program, board)[0], prefills + 1
            assign(board, read)
        written = _chunk(program, board, length_PG)
        active = board.problem_B >= 0
        keys = board.age_B[active][:, None] + np.arange(int(written.steps))
        left = (length_PG[board.problem_B, board.rollout_B] - _written_before(board))[active]
        live += float((keys * (np.arange(int(written.steps)) < left[:, None])).sum())
        steps, places = steps + int(written.steps), places + int(written.steps) * shape[0] * shape[1]
        collect(board, written)
        board.finished.clear()
    return Replay(steps, prefills, places, live, board.used_steps / board.slot_steps)


def _written_before(board: SlotTable) -> np.ndarray:
    """Tokens that each slot's rollout has so far; idle slots as they may."""
    return np.asarray(board.rollouts.length_PG)[board.problem_B, board.rollout_B]


def _chunk(program: SamplerConfig, board: SlotTable, length_PG: np.ndarray) -> DecodeOutput:
    """What a chunk of decode steps would leave: rounds of `CHECK` until the chunk is full or enough slots are idle."""
    active, before = board.problem_B >= 0, _written_before(board)
    left = np.where(active, length_PG[board.problem_B, board.rollout_B] - before, 0)
    steps, limit = 0, idle_limit(program, board)
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
