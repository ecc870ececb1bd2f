"""The first two stages of a step: sample groups of responses, and grade each while the others are still written."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import jax

from hsd_jax import randomness
from hsd_jax.clock import Clock
from hsd_jax.contexts import splice
from hsd_jax.data.problems import Problem
from hsd_jax.data.tokens import tokenise
from hsd_jax.decode_layout import DecodeParams, decode_params
from hsd_jax.decoding import Program
from hsd_jax.grading import Desk, Graded, Submit, desk
from hsd_jax.sampling import sample
from hsd_jax.setup import Parts
from hsd_jax.types import Problems, Ragged, Rollouts
from models.qwen3 import Params


@dataclass(frozen=True)
class Batch:
    """One step's questions on this process: as read, and as token pieces (host arrays)."""

    step: int
    problems: Sequence[Problem]
    pieces: Problems


def batch_of(parts: Parts, step: int, problems: Sequence[Problem]) -> Batch:
    """Tokenises the questions of a step."""
    texts = parts.texts
    return Batch(step, problems, tokenise(problems, texts.tokenizer, texts.chat, texts.windows))


@partial(jax.jit, static_argnames="width")
def prompts_of(pieces: Problems, *, width: int) -> Ragged:
    """The student's prompts: head and tail in one window."""
    return splice([pieces.head, pieces.tail], width)


def sample_and_grade(
    parts: Parts, program: Program, submit: Submit, params: Params, batch: Batch, clock: Clock
) -> tuple[Rollouts, Graded]:
    """G rollouts of every question from the current policy, with their verdicts (host arrays of this process)."""
    marking: Desk = desk(batch.problems, submit, parts.texts.tokenizer, parts.texts.stop_ids)
    with clock.phase("sample"):
        weights: DecodeParams = decode_params(params, config=parts.model, dtype=program.dtype, mesh=parts.decode_mesh)
        rollouts = sample(
            program,
            weights,
            prompts_of(batch.pieces, width=parts.config.data.prompt_tokens),
            batch.pieces.id_P,
            key=randomness.key_of(parts.config.seed, batch.step, "sample"),
            settings=parts.choice,
            limit_P=batch.pieces.limit_P,
            group_size=parts.config.sampling.group_size,
            on_finished=marking.take,
        )
    with clock.phase("grade"):
        return rollouts, marking.collect(rollouts)
