"""Held-out scores while training, sampled and greedy, by the code of `python -m hsd_jax.evaluate`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from hsd_jax import config
from hsd_jax.data.problems import Problem
from hsd_jax.evaluation.generate import EvalModel, Samples, answer, answer_all
from hsd_jax.evaluation.metrics import pass_at, right_paths
from hsd_jax.rollout.generate import Draws
from hsd_jax.rollout.grading import Submit
from hsd_jax.runtime import random_keys
from hsd_jax.setup.sampling import Sampler
from hsd_jax.types import SUCCESS
from models.qwen3 import Params

PASS_KS = (1, 4, 16)


@dataclass(frozen=True)
class HeldOut:
    """The held-out questions of a run, and how they are asked: sampled `settings.samples` times, and greedily."""

    sampler: Sampler
    problems: Sequence[Problem]
    settings: config.Evaluation
    seed: int
    submit: Submit


def scores(stage: HeldOut, params: Params, step: int) -> dict[str, float]:
    """eval/pass@k for those of `PASS_KS` that the samples allow, eval/right_paths, eval/greedy; {} for no questions.

    Of several sources also each one's: eval/pass@1/gsm8k.
    """
    if not stage.problems:
        return {}
    weights, settings = stage.sampler.weights_of(params), stage.settings
    key = random_keys.key_of(stage.seed, step, "evaluate")

    def ask(temperature: float, samples: int) -> list[Samples]:
        drawn = {"temperature": temperature, "top_p": settings.top_p}
        choice = replace(stage.sampler.choice, **{k: np.float32(v) for k, v in drawn.items()}, top_k=np.int32(0))
        model = EvalModel(replace(stage.sampler, choice=choice), weights)
        ask = partial(answer, model, draws=Draws(key, samples), submit=stage.submit)
        return [one for part in answer_all(ask, stage.problems, batch=len(stage.problems)) for one in part]

    both = ask(settings.temperature, settings.samples), ask(0, 1)
    return measured(*both) | by_source([problem.source for problem in stage.problems], *both)


def by_source(sources: Sequence[str], sampled: Sequence[Samples], greedy: Sequence[Samples]) -> dict[str, float]:
    """The scores of each source's questions under its name; nothing of a single source, which has them already."""
    names = dict.fromkeys(sources) if len(set(sources)) > 1 else {}
    found = {}
    for name in names:
        own = ([one for one, source in zip(ask, sources, strict=True) if source == name] for ask in (sampled, greedy))
        found |= {f"{metric}/{name}": value for metric, value in measured(*own).items()}
    return found


def measured(sampled: Sequence[Samples], greedy: Sequence[Samples]) -> dict[str, float]:
    """What a run records of an evaluation; pass@k is unbiased, right_paths a mean over questions."""
    samples = len(sampled[0].rewards)
    right = [sum(reward > SUCCESS for reward in one.rewards) for one in sampled]
    passed = {k: float(np.mean([pass_at(count, samples, k) for count in right])) for k in PASS_KS if k <= samples}
    paths = right_paths([one.rewards for one in sampled], [one.texts for one in sampled])
    return {
        **{f"eval/pass@{k}": share for k, share in passed.items()},
        "eval/right_paths": float(np.mean(paths)),
        "eval/greedy": float(np.mean(np.array([one.rewards for one in greedy]) > SUCCESS)),
    }
