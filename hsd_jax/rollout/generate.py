"""Generates and grades responses: the one way of training, held-out scores, benchmarks, difficulty and pre-flight."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import jax
import numpy as np

from hsd_jax.data.problems import Problem
from hsd_jax.data.tokenization import prompts_of, tokenize
from hsd_jax.rollout.grading import GradedBatch, Submit, start_grading
from hsd_jax.sampler.decode_sharding import DecodeParams
from hsd_jax.sampler.sampler import Requests, sample
from hsd_jax.sampler.scheduler import SlotTable
from hsd_jax.setup.sampling import Sampler
from hsd_jax.types import Phase, Problems

Timed = Callable[[Phase], AbstractContextManager[None]]


@dataclass(frozen=True)
class Draws:
    """`group_size` responses to each problem, none over `limit` tokens (0: what the problem allows).

    All noise belongs to `key`, the problem's id and the number in it.
    """

    key: jax.Array
    group_size: int
    limit: int = 0


def generate_and_grade(
    sampler: Sampler,
    weights: DecodeParams,
    problems: Sequence[Problem],
    draws: Draws,
    submit: Submit,
    timed: Timed = lambda name: nullcontext(),
) -> tuple[Problems, SlotTable, GradedBatch]:
    """The problems as token ids, the sampler's table with their responses, and the verdicts.

    In float32 the tokens do not depend on the other problems, their grouping and the number of processes; in bfloat16
    the order of sums shows, which depends on these.
    """
    texts = sampler.texts
    pieces = tokenize(problems, texts.tokenizer, texts.chat, texts.windows)
    pending = start_grading(problems, submit, texts.tokenizer, texts.stop_ids)
    prompts, repeats = prompts_of(pieces, texts.windows.prompt), [problem.repeat for problem in problems]
    limit_P = np.minimum(pieces.limit_P, draws.limit) if draws.limit else pieces.limit_P
    asked = Requests(prompts, pieces.id_P, limit_P, draws.group_size, repeats)
    with timed("sample"):
        table = sample(sampler.program, weights, asked, sampler.choice, draws.key, pending.submit_rollout)
    with timed("grade"):
        return pieces, table, pending.collect(table.rollouts)
