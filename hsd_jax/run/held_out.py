"""Held-out pass@1 while training, sampled and greedy, by the code of `python -m hsd_jax.evaluate`."""

from dataclasses import replace

import numpy as np

from hsd_jax.evaluation.generate import EvalModel
from hsd_jax.evaluation.results import evaluate
from hsd_jax.run.programs import Programs
from hsd_jax.runtime import random_keys
from hsd_jax.sampler.decode_sharding import decode_params
from hsd_jax.setup.components import RunComponents
from models.qwen3 import Params


def scores(parts: RunComponents, programs: Programs, params: Params, step: int) -> dict[str, float]:
    """eval/pass@1 (mean over samples, then over questions) and eval/greedy; empty without held-out questions."""
    problems, settings = parts.questions.held_out, parts.config.evaluation
    if not problems:
        return {}
    weights = decode_params(params, config=parts.model, dtype=programs.sampler.dtype, mesh=parts.decode_mesh)
    sampled = replace(
        parts.choice,
        temperature=np.float32(settings.temperature),
        top_p=np.float32(settings.top_p),
        top_k=np.int32(0),
    )
    greedy = replace(sampled, temperature=np.float32(0))
    drawn = {"pass@1": (sampled, settings.samples), "greedy": (greedy, 1)}
    found = {}
    for name, (choice, samples) in drawn.items():
        result = evaluate(
            EvalModel(programs.sampler, weights, parts.texts),
            problems,
            samples=samples,
            choice=choice,
            key=random_keys.key_of(parts.config.seed, step, "evaluate"),
            submit=programs.submit_hidden_tests,
            batch=len(problems),
        )
        found[f"eval/{name}"] = float(np.mean([one.rewards for one in result.answered]))
    return found
