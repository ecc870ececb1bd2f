"""Asks a model a list of questions and grades what it answers: for benchmarks, for difficulty, while training."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from hsd_jax.data.problems import Problem
from hsd_jax.rollout.generate import Draws, generate_and_grade
from hsd_jax.rollout.grading import Submit
from hsd_jax.runtime.multihost import gather_json
from hsd_jax.sampler.decode_sharding import DecodeParams
from hsd_jax.setup.sampling import Sampler


@dataclass(frozen=True)
class EvalModel:
    """A model to be evaluated: how it is sampled, and its weights ready for decoding."""

    sampler: Sampler
    weights: DecodeParams


@dataclass(frozen=True)
class Samples:
    """One problem's samples, in the order of their numbers."""

    id: str
    rewards: tuple[float, ...]
    reasons: tuple[str, ...]
    extracted: tuple[str | None, ...]
    lengths: tuple[int, ...]
    finished: tuple[bool, ...]
    texts: tuple[str, ...]


def answer(model: EvalModel, problems: Sequence[Problem], draws: Draws, submit: Submit) -> list[Samples]:
    """The graded answers to each problem."""
    if not problems:
        return []
    _, table, graded = generate_and_grade(model.sampler, model.weights, problems, draws, submit)
    lengths_PG, finished_PG = np.asarray(table.rollouts.length_PG), np.asarray(table.rollouts.finished_PG)
    return [
        Samples(
            id=problem.id,
            rewards=tuple(graded.rewards_PG[p].tolist()),
            reasons=tuple(verdict.reason for verdict in graded.verdicts[p]),
            extracted=tuple(verdict.extracted for verdict in graded.verdicts[p]),
            lengths=tuple(lengths_PG[p].tolist()),
            finished=tuple(finished_PG[p].tolist()),
            texts=tuple(graded.texts[p]),
        )
        for p, problem in enumerate(problems)
    ]


Ask = Callable[[Sequence[Problem]], list[Samples]]


def answer_all(ask: Ask, problems: Sequence[Problem], *, batch: int) -> Iterator[list[Samples]]:
    """The answers to all problems, `batch` of them per process at a time; every process gets all answers.

    `ask` is `answer` with everything but the problems given.
    """
    count, index = jax.process_count(), jax.process_index()
    for start in range(0, len(problems), batch * count):
        together = problems[start : start + batch * count]
        parts = gather_json([vars(one) for one in ask(together[index::count])])
        found = {one["id"]: from_json(one) for part in parts for one in part}
        yield [found[problem.id] for problem in together]


def from_json(fields: dict[str, Any]) -> Samples:
    """The record of `vars(answered)` after a round trip through JSON."""
    columns = {name: tuple(value) for name, value in fields.items() if name != "id"}
    return Samples(id=fields["id"], **columns)
