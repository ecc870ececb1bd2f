"""Asks a model a list of questions and grades what it answers: for benchmarks, for difficulty, while training."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from hsd_jax.data.input_pipeline import Tokenization
from hsd_jax.data.problems import Problem
from hsd_jax.data.tokenization import tokenize
from hsd_jax.rollout.collect import prompts_of
from hsd_jax.rollout.grading import Submit, start_grading
from hsd_jax.runtime.multihost import gather_json
from hsd_jax.sampler.decode import SamplerConfig
from hsd_jax.sampler.decode_sharding import DecodeParams
from hsd_jax.sampler.sampler import sample
from hsd_jax.sampler.token_sampling import SamplingParams as Choice


@dataclass(frozen=True)
class EvalModel:
    """Who is asked: weights ready for decoding, the sampler's shapes, and how text becomes ids."""

    program: SamplerConfig
    weights: DecodeParams
    texts: Tokenization


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


def generate_and_grade(
    examinee: EvalModel, problems: Sequence[Problem], *, samples: int, choice: Choice, key: jax.Array, submit: Submit
) -> list[Samples]:
    """`samples` graded answers to each problem.

    The noise belongs to (key, question id, sample number). In float32 the tokens do too, whatever the other problems,
    their grouping and the number of processes; in bfloat16 the order of sums shows, which depends on these.
    """
    if not problems:
        return []
    texts = examinee.texts
    pieces = tokenize(problems, texts.tokenizer, texts.chat, texts.windows)
    marking = start_grading(problems, submit, texts.tokenizer, texts.stop_ids)
    rollouts = sample(
        examinee.program,
        examinee.weights,
        prompts_of(jax.device_put(pieces), width=texts.windows.prompt),
        pieces.id_P,
        key=key,
        settings=choice,
        limit_P=pieces.limit_P,
        group_size=samples,
        on_finished=marking.submit_rollout,
    )
    graded = marking.collect(rollouts)
    lengths_PG, finished_PG = np.asarray(rollouts.length_PG), np.asarray(rollouts.finished_PG)
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
