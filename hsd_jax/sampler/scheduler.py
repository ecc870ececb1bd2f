"""The host's side of sampling: which rollout runs in which slot, what has been written, what waits."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hsd_jax.errors import RunStopped
from hsd_jax.sampler.state import DecodeOutput, SamplerConfig, SlotInsert, empty_entry, pick_shape
from hsd_jax.types import Rollouts

# (index of the problem in the batch, index of the rollout in its group, its token ids)
OnFinished = Callable[[int, int, np.ndarray], None]


@dataclass(frozen=True)
class Batch:
    """What is to be sampled, on the host. `draw_PG` addresses a rollout's noise together with `id_P`."""

    tokens_PC: np.ndarray
    length_P: np.ndarray
    id_P: np.ndarray
    draw_PG: np.ndarray
    limit_P: np.ndarray
    stop_ids: frozenset[int]


@dataclass
class SlotTable:
    """Which rollout is in which slot. `problem_B` is -1 for an idle slot; `age_B`: a slot's tokens in the cache."""

    batch: Batch
    waiting: list[tuple[int, int]]
    problem_B: np.ndarray
    rollout_B: np.ndarray
    age_B: np.ndarray
    rollouts: Rollouts
    finished: list[tuple[int, int]] = field(default_factory=list)
    used_steps: int = 0
    slot_steps: int = 0


def new_slot_table(program: SamplerConfig, batch: Batch) -> SlotTable:
    """All rollouts wait, group by group; no slots yet."""
    problems, group_size = shape = batch.draw_PG.shape
    window = (*shape, program.response_window)
    response: Any = np.full(window, program.pad_id, np.int32)
    length: Any = np.zeros(shape, np.int32)
    finished: Any = np.zeros(shape, bool)
    logprob: Any = np.zeros(window, np.float32)
    none_B = np.zeros(0, np.int32)
    return SlotTable(
        batch=batch,
        waiting=[(p, g) for p in reversed(range(problems)) for g in reversed(range(group_size))],
        problem_B=none_B,
        rollout_B=none_B,
        age_B=none_B,
        rollouts=Rollouts(response, length, finished, logprob),
    )


def next_shape(program: SamplerConfig, table: SlotTable) -> tuple[int, int]:
    """The cache shape for the next chunk, with the rollouts that are about to start."""
    active = np.flatnonzero(table.problem_B >= 0)
    slots, batch = program.shapes[-1][0], table.batch
    starting = table.waiting[::-1][: slots - len(active)]
    reach = [min(table.age_B[b] + program.chunk, max_cache_tokens(batch, table.problem_B[b])) for b in active]
    reach += [min(batch.length_P[p] - 1 + program.chunk, max_cache_tokens(batch, p)) for p, _ in starting]
    length = max(reach + [program.prompt_window if starting else 1])
    return pick_shape(program, len(active) + len(starting), int(length))


def max_cache_tokens(batch: Batch, problem: int) -> int:
    """The most tokens a rollout of the problem can have in the cache: its last token is never fed."""
    return batch.length_P[problem] - 1 + batch.limit_P[problem]


def compact(table: SlotTable, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Compacts to `rows` slots, keeping the active ones; returns each one's old slot and whether it is kept."""
    before = len(table.problem_B)
    active_first = np.argsort(table.problem_B < 0, kind="stable")
    chosen_B = np.resize(active_first if rows < before else np.arange(before), rows).astype(np.int32)
    kept_B = (np.arange(rows) < before) & (table.problem_B[chosen_B] >= 0)
    table.problem_B = np.where(kept_B, table.problem_B[chosen_B], -1).astype(np.int32)
    table.rollout_B, table.age_B = table.rollout_B[chosen_B], table.age_B[chosen_B]
    return chosen_B, kept_B


def assign(table: SlotTable, read: list[int]) -> SlotInsert:
    """Gives free slots to waiting rollouts of the problems just read."""
    entry, batch = empty_entry(len(table.problem_B)), table.batch
    for slot in np.flatnonzero(table.problem_B < 0):
        if not table.waiting or table.waiting[-1][0] not in read:
            break
        problem, rollout = table.waiting.pop()
        length = batch.length_P[problem]
        table.problem_B[slot], table.rollout_B[slot], table.age_B[slot] = problem, rollout, length - 1
        entry.source_B[slot] = read.index(problem)
        entry.token_B[slot] = batch.tokens_PC[problem, length - 1]
        entry.length_B[slot] = length
        entry.limit_B[slot] = batch.limit_P[problem]
        entry.id_B[slot] = batch.id_P[problem]
        entry.rollout_B[slot] = batch.draw_PG[problem, rollout]
    return entry


def next_prefill(program: SamplerConfig, table: SlotTable) -> tuple[list[int], np.ndarray, np.ndarray]:
    """The next problems to read, their prompts and the lengths; the last rows may be empty."""
    problems = list(dict.fromkeys(p for p, _ in reversed(table.waiting)))[: program.prefill_batch]
    tokens = np.zeros((program.prefill_batch, program.prompt_window), np.int32)
    length = np.ones(program.prefill_batch, np.int32)
    tokens[: len(problems)] = table.batch.tokens_PC[problems]
    length[: len(problems)] = table.batch.length_P[problems]
    return problems, tokens, length


def collect(table: SlotTable, written: DecodeOutput) -> None:
    """Takes a chunk's tokens; rollouts that ended free their slots.

    Raises:
        RunStopped: a slot's logits were not finite.
    """
    steps, out = int(written.steps), table.rollouts
    table.slot_steps += steps * len(table.problem_B)
    for slot in np.flatnonzero(table.problem_B >= 0):
        at = table.problem_B[slot], table.rollout_B[slot]
        before, after = int(out.length_PG[at]), int(written.count_B[slot])
        if written.broken_B[slot]:
            raise RunStopped(
                f"sampling: logits of problem {at[0]}, rollout {at[1]} were not finite at response token {after - 1}; "
                "the weights hold NaN or infinite values: resume from an older checkpoint or lower the learning rate"
            )
        out.response_PGT[at][before:after] = written.token_NB[: after - before, slot]
        out.logprob_PGT[at][before:after] = written.logprob_NB[: after - before, slot]
        out.length_PG[at] = after
        table.used_steps += after - before
        table.age_B[slot] += steps
        if not written.active_B[slot]:
            out.finished_PG[at] = int(out.response_PGT[at][after - 1]) in table.batch.stop_ids
            table.problem_B[slot] = -1
            table.finished.append((int(at[0]), int(at[1])))


def emit_finished(table: SlotTable, on_finished: OnFinished) -> None:
    """Hands finished rollouts to the caller, each once."""
    for problem, rollout in table.finished:
        length = table.rollouts.length_PG[problem, rollout]
        on_finished(problem, rollout, np.array(table.rollouts.response_PGT[problem, rollout, :length]))
    table.finished.clear()
