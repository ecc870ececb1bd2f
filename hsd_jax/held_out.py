"""Held-out pass@1 while training, sampled and greedy, by the same sampler and verifier as the rollouts."""

from dataclasses import replace

import jax
import numpy as np
from jax.experimental.multihost_utils import process_allgather

from hsd_jax import randomness
from hsd_jax.decode_layout import DecodeParams, decode_params
from hsd_jax.grading import desk
from hsd_jax.programs import Programs
from hsd_jax.rollout import Batch, batch_of, prompts_of
from hsd_jax.sampling import sample
from hsd_jax.setup import Parts
from hsd_jax.token_choice import Settings as Choice
from models.qwen3 import Params


def scores(parts: Parts, programs: Programs, params: Params, step: int) -> dict[str, float]:
    """eval/pass@1 (mean over samples, then over questions) and eval/greedy; empty without held-out questions."""
    mine = parts.questions.held_out[jax.process_index() :: jax.process_count()]
    if not parts.questions.held_out:
        return {}
    settings = parts.config.evaluation
    weights = decode_params(params, config=parts.model, dtype=programs.sampler.dtype, mesh=parts.decode_mesh)
    sampled = replace(
        parts.choice,
        temperature=np.float32(settings.temperature),
        top_p=np.float32(settings.top_p),
        top_k=np.int32(0),
    )
    greedy = replace(sampled, temperature=np.float32(0))
    batch = batch_of(parts, step, mine)
    drawn = {"pass@1": (sampled, settings.samples), "greedy": (greedy, 1)}
    sums = {name: _total(parts, programs, weights, batch, choice, n) for name, (choice, n) in drawn.items()}
    counts = {name: len(mine) * n for name, (_, n) in drawn.items()}
    table = np.array([[sums[name], counts[name]] for name in drawn])
    total = process_allgather(table).reshape(-1, *table.shape).sum(axis=0) if jax.process_count() > 1 else table
    return {f"eval/{name}": float(right / count) for name, (right, count) in zip(drawn, total, strict=True)}


def _total(
    parts: Parts, programs: Programs, weights: DecodeParams, batch: Batch, choice: Choice, samples: int
) -> float:
    """The sum of rewards over `samples` answers to each of this process's questions."""
    if not batch.problems:
        return 0.0
    marking = desk(batch.problems, programs.submit, parts.texts.tokenizer, parts.texts.stop_ids)
    rollouts = sample(
        programs.sampler,
        weights,
        prompts_of(batch.pieces, width=parts.config.data.prompt_tokens),
        batch.pieces.id_P,
        key=randomness.key_of(parts.config.seed, batch.step, "evaluate"),
        settings=choice,
        limit_P=batch.pieces.limit_P,
        group_size=samples,
        on_finished=marking.take,
    )
    return float(marking.collect(rollouts).rewards_PG.sum())
