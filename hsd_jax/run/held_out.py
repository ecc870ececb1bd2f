"""Held-out scores while training, sampled and greedy, by the code of `python -m hsd_jax.evaluate`."""

from dataclasses import replace

import numpy as np

from hsd_jax.evaluation.generate import EvalModel
from hsd_jax.evaluation.metrics import right_paths
from hsd_jax.evaluation.results import EvalResult, evaluate
from hsd_jax.run.programs import Programs
from hsd_jax.runtime import random_keys
from hsd_jax.sampler.decode_sharding import decode_params
from hsd_jax.sampler.token_sampling import SamplingParams
from hsd_jax.setup.components import RunComponents
from models.qwen3 import Params

PASS_KS = (1, 4, 16)


def scores(parts: RunComponents, programs: Programs, params: Params, step: int) -> dict[str, float]:
    """eval/pass@k for those of `PASS_KS` that the samples allow, eval/right_paths, eval/greedy; {} for no questions."""
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

    def ask(choice: SamplingParams, samples: int) -> EvalResult:
        return evaluate(
            EvalModel(programs.sampler, weights, parts.texts),
            problems,
            samples=samples,
            choice=choice,
            key=random_keys.key_of(parts.config.seed, step, "evaluate"),
            submit=programs.submit_hidden_tests,
            batch=len(problems),
        )

    return measured(ask(sampled, settings.samples), ask(greedy, 1))


def measured(sampled: EvalResult, greedy: EvalResult) -> dict[str, float]:
    """What a run records of an evaluation; pass@k is unbiased, right_paths a mean over questions."""
    passed = {f"eval/pass@{k}": sampled.metrics.get(f"pass@{k}") for k in PASS_KS}
    paths = right_paths([one.rewards for one in sampled.answered], [one.texts for one in sampled.answered])
    return {
        **{name: interval["value"] for name, interval in passed.items() if interval},
        "eval/right_paths": float(np.mean(paths)),
        "eval/greedy": float(np.mean([one.rewards for one in greedy.answered])),
    }
