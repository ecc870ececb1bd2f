"""The first two stages of a step: sample groups of responses, and grade each while the others are still written."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import numpy as np

from hsd_jax.contexts import splice
from hsd_jax.data.problems import Problem
from hsd_jax.data.tokenization import feedback_ids, tokenize
from hsd_jax.rollout import feedback
from hsd_jax.rollout.grading import GradedBatch, Submit, start_grading
from hsd_jax.runtime import random_keys
from hsd_jax.runtime.timing import Clock
from hsd_jax.sampler.decode import SamplerConfig
from hsd_jax.sampler.decode_sharding import DecodeParams, decode_params
from hsd_jax.sampler.sampler import sample
from hsd_jax.setup.components import RunComponents
from hsd_jax.types import Padded, Problems, Rollouts
from models.qwen3 import Params


@dataclass(frozen=True)
class Batch:
    """One step's graded groups on this process, as host arrays; `drawn` counts the questions that were sampled."""

    step: int
    problems: Sequence[Problem]
    pieces: Problems
    rollouts: Rollouts
    graded: GradedBatch
    drawn: int


@partial(jax.jit, static_argnames="width")
def prompts_of(pieces: Problems, *, width: int) -> Padded:
    """The student's prompts: head and tail in one window."""
    return splice([pieces.prefix, pieces.suffix], width)


def sample_and_grade(
    parts: RunComponents, program: SamplerConfig, submit: Submit, params: Params, step: int, clock: Clock
) -> Batch:
    """G graded rollouts of every question of a step, from the current policy.

    A method that resamples draws further batches of questions, up to its number of attempts, and keeps groups of
    unequal rewards; if too few are found, groups of equal rewards fill the step (their advantage is zero).
    Source: arXiv:2503.14476 (dynamic sampling).
    """
    with clock.phase("sample"):
        weights = decode_params(params, config=parts.model, dtype=program.dtype, mesh=parts.decode_mesh)
    attempts, drawn = parts.method.attempts, []
    for attempt in range(attempts):
        problems: Sequence[Problem] = parts.questions.steps[(step - 1) * attempts + attempt] or ()
        drawn.append(_draw(parts, program, submit, weights, (step, attempt), problems, clock))
        if sum(int(_unequal(batch).sum()) for batch in drawn) >= len(problems):
            break
    return drawn[0] if attempts == 1 else fill(drawn)


def _draw(
    parts: RunComponents,
    program: SamplerConfig,
    submit: Submit,
    weights: DecodeParams,
    address: tuple[int, int],
    problems: Sequence[Problem],
    clock: Clock,
) -> Batch:
    """Graded groups of these questions; `address` is (step, attempt), so a question drawn again is answered anew."""
    texts, (step, attempt) = parts.texts, address
    pieces = tokenize(problems, texts.tokenizer, texts.chat, texts.windows)
    marking = start_grading(problems, submit, texts.tokenizer, texts.stop_ids)
    with clock.phase("sample"):
        rollouts = sample(
            program,
            weights,
            prompts_of(jax.device_put(pieces), width=texts.windows.prompt),
            pieces.id_P,
            key=random_keys.key_of(parts.config.seed, step, "sample", attempt),
            settings=parts.choice,
            limit_P=pieces.limit_P,
            group_size=parts.config.sampling.group_size,
            on_finished=marking.submit_rollout,
        )
    with clock.phase("grade"):
        graded = marking.collect(rollouts)
        if parts.method.reads.feedback:
            said = feedback.of_groups([p.kind for p in problems], graded.verdicts, rollouts.finished_PG.tolist())
            pieces = replace(pieces, feedback=feedback_ids(said, texts.tokenizer, texts.windows))
    return Batch(step, problems, pieces, rollouts, graded, len(problems))


def fill(drawn: Sequence[Batch]) -> Batch:
    """One batch from several: groups of unequal rewards in the order they were drawn, then others if there is room."""
    size = len(drawn[0].problems)
    unequal = np.concatenate([_unequal(batch) for batch in drawn])
    rows = np.sort(np.argsort(~unequal, kind="stable")[:size])

    def chosen(*leaves: Any) -> np.ndarray:
        return np.concatenate([np.asarray(leaf) for leaf in leaves])[rows]

    def listed(lists: Sequence[Sequence[Any]]) -> list[Any]:
        return [[item for part in lists for item in part][row] for row in rows]

    return Batch(
        drawn[0].step,
        listed([batch.problems for batch in drawn]),
        jax.tree.map(chosen, *(batch.pieces for batch in drawn)),
        jax.tree.map(chosen, *(batch.rollouts for batch in drawn)),
        GradedBatch(
            chosen(*(batch.graded.rewards_PG for batch in drawn)),
            listed([batch.graded.verdicts for batch in drawn]),
            listed([batch.graded.texts for batch in drawn]),
        ),
        sum(batch.drawn for batch in drawn),
    )


def _unequal(batch: Batch) -> np.ndarray:
    rewards_PG = batch.graded.rewards_PG
    return (rewards_PG != rewards_PG[:, :1]).any(axis=1)
