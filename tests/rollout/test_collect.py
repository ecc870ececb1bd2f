"""Dynamic sampling: from several draws of groups, those that can teach, each whole and in the order they were drawn."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import jax
import numpy as np
import pytest

from hsd_jax.data.problems import Problem
from hsd_jax.data.tokenization import Windows
from hsd_jax.methods import METHODS
from hsd_jax.rollout import generate
from hsd_jax.rollout.collect import Batch, Gather, fill, limit_at, until_enough
from hsd_jax.rollout.grading import GradedBatch
from hsd_jax.runtime.multihost import gather_json
from hsd_jax.types import Padded, Problems, Rollouts, Verdict

G, T = 3, 4
MIXED, FAILED, SOLVED = (1, 0, 1), (0, 0, 0), (1, 1, 1)


def draw(rewards: list[tuple[int, ...]], first: int) -> Batch:
    """Groups of the questions first, first + 1, ...; all that belongs to a question holds its number."""
    count = len(rewards)
    of_P = np.arange(first, first + count)
    of_PG = np.broadcast_to(of_P[:, None], (count, G))
    of_PGT = np.broadcast_to(of_P[:, None, None], (count, G, T))
    piece, none = Padded(of_PGT[:, 0], of_P), Padded(of_PGT[:, :0, :0], of_PG[:, :0])
    return Batch(
        step=7,
        problems=[Problem(f"{n}", "s", "math", f"question {n}", f"{n}") for n in of_P],
        pieces=Problems(of_P, piece, piece, piece, none, none, piece, of_P),
        rollouts=Rollouts(of_PGT, of_PG, of_PG, of_PGT),
        graded=GradedBatch(
            np.array(rewards, np.float32),
            [[Verdict(r, "wrong", f"{n}") for r in row] for n, row in zip(of_P, rewards, strict=True)],
            [[f"{n}"] * G for n in of_P],
        ),
        drawn=count,
    )


def questions(of: Batch) -> list[int]:
    """The questions of a batch, once all its parts are seen to hold them in the same order."""
    numbers = [int(problem.id) for problem in of.problems]
    for leaf in jax.tree.leaves((of.pieces, of.rollouts)):
        np.testing.assert_array_equal(
            leaf, np.broadcast_to(np.reshape(numbers, (-1,) + (1,) * (leaf.ndim - 1)), leaf.shape)
        )
    assert [[int(text) for text in row] for row in of.graded.texts] == [[n] * G for n in numbers]
    assert [[int(v.extracted or -1) for v in row] for row in of.graded.verdicts] == [[n] * G for n in numbers]
    assert [[v.reward for v in row] for row in of.graded.verdicts] == of.graded.rewards_PG.tolist()
    return numbers


@pytest.mark.parametrize(
    ("draws", "kept"),
    [
        ([[MIXED, MIXED]], [0, 1]),
        ([[FAILED, MIXED], [MIXED, SOLVED]], [1, 2]),
        ([[FAILED, FAILED], [SOLVED, MIXED]], [0, 3]),
        ([[FAILED, SOLVED], [SOLVED, FAILED]], [0, 1]),
        ([[MIXED, FAILED], [MIXED, MIXED]], [0, 2]),
    ],
)
def test_a_step_is_filled_in_the_order_of_the_draws(draws: list[list[tuple[int, ...]]], kept: list[int]) -> None:
    assert questions(fill([draw(rewards, 2 * i) for i, rewards in enumerate(draws)], gather_json, 0)) == kept


@pytest.mark.parametrize("seed", range(20))
def test_filling_equals_a_plain_loop(seed: int) -> None:
    """Groups of unequal rewards first come, first kept; earlier groups of equal rewards only where room is left."""
    rng = np.random.default_rng(seed)
    size, attempts = int(rng.integers(1, 6)), int(rng.integers(1, 5))
    rewards = [[tuple(rng.integers(0, 2, G)) for _ in range(size)] for _ in range(attempts)]
    flat = [row for rows in rewards for row in rows]
    teaching = [n for n, row in enumerate(flat) if len(set(row)) > 1]
    others = [n for n, row in enumerate(flat) if len(set(row)) == 1]
    made = fill([draw(rows, size * i) for i, rows in enumerate(rewards)], gather_json, 0)
    assert questions(made) == sorted((teaching + others)[:size])
    assert made.graded.rewards_PG.tolist() == [list(flat[n]) for n in questions(made)]
    assert made.drawn == size * attempts and made.step == 7


def together(processes: int, act: Callable[[int, Gather], Any]) -> list[Any]:
    """What every process's `act(process, gather)` returns, each in a thread; values travel as JSON."""
    barrier, said = threading.Barrier(processes, timeout=30), [""] * processes

    def run(process: int) -> Any:
        def gather(value: Any) -> list[Any]:
            said[process] = json.dumps(value)
            barrier.wait()
            heard = [json.loads(text) for text in said]
            barrier.wait()
            return heard

        return act(process, gather)

    with ThreadPoolExecutor(processes) as pool:
        return list(pool.map(run, range(processes)))


@pytest.mark.parametrize("seed", range(12))
def test_any_number_of_processes_trains_on_the_same_questions(seed: int) -> None:
    """The draws of a step, in contiguous shares: as many, the same groups in the same order, in every part the same."""
    rng = np.random.default_rng(seed)
    size, odds = 4 * int(rng.integers(1, 3)), rng.uniform(0, 0.5)
    rewards = [[MIXED if rng.random() < odds else FAILED for _ in range(size)] for _ in range(4)]

    def act(processes: int) -> Callable[[int, Gather], Batch]:
        share = size // processes

        def one(process: int, gather: Gather) -> Batch:
            first = process * share
            draws = (draw(rows[first : first + share], size * i + first) for i, rows in enumerate(rewards))
            return fill(until_enough(draws, gather), gather, process)

        return one

    def arrays(batch: Batch) -> list[np.ndarray]:
        return jax.tree.leaves((batch.pieces, batch.rollouts, batch.graded.rewards_PG))

    (alone,) = together(1, act(1))
    assert len(alone.problems) == size
    for processes in (2, 4):
        shares = together(processes, act(processes))
        assert [n for share in shares for n in questions(share)] == questions(alone)
        assert {share.drawn * processes for share in shares} == {alone.drawn}
        for wanted, *parts in zip(arrays(alone), *map(arrays, shares), strict=True):
            assert {part.dtype for part in parts} == {wanted.dtype}
            np.testing.assert_array_equal(np.concatenate(parts), wanted)


def test_sampling_ends_at_the_horizon(monkeypatch: pytest.MonkeyPatch) -> None:
    """`popd` asks for a quarter of the window, more every so many updates, and for no more than a problem may have."""
    windows = Windows(80, 32, 0, {"math": 64, "code": 20})
    popd = replace(METHODS["popd"], horizon_every=5)
    assert [limit_at(popd, step, windows) for step in (1, 5, 6, 16, 99)] == [16, 16, 32, 64, 64]
    assert limit_at(replace(METHODS["hsd"], horizon=0.25), 1, windows) == 64
    asked: list[Any] = []
    texts = SimpleNamespace(tokenizer=None, chat=None, windows=windows, stop_ids=())
    limits = SimpleNamespace(limit_P=np.array([64, 20]), id_P=np.arange(2))
    pending = SimpleNamespace(submit_rollout=None, collect=lambda rollouts: None)
    monkeypatch.setattr(generate, "tokenize", lambda *_: limits)
    monkeypatch.setattr(generate, "prompts_of", lambda *_: None)
    monkeypatch.setattr(generate, "start_grading", lambda *_: pending)
    monkeypatch.setattr(generate, "sample", lambda *given: asked.append(given[2]) or SimpleNamespace(rollouts=None))
    sampler: Any = SimpleNamespace(texts=texts, program=None, choice=None)
    for limit in (16, 32, 0):
        draws, none = generate.Draws(jax.random.key(0), 2, limit), cast(Any, None)
        generate.generate_and_grade(sampler, none, [], draws, none)
    assert [list(one.limit_P) for one in asked] == [[16, 16], [32, 20], [64, 20]]
