"""Held-out scores while training, sampled and greedy, by the code of `python -m hsd_jax.evaluate`."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hsd_jax.evaluation.generate import EvalModel, Samples, answer_all, generate_and_grade
from hsd_jax.evaluation.metrics import pass_at, right_paths
from hsd_jax.run.programs import Programs
from hsd_jax.runtime import random_keys
from hsd_jax.sampler.decode_sharding import decode_params
from hsd_jax.sampler.token_sampling import SamplingParams
from hsd_jax.setup.components import RunComponents
from models.qwen3 import Params

PASS_KS = (1, 4, 16)


def scores(parts: RunComponents, programs: Programs, params: Params, step: int) -> dict[str, float]:
    """eval/pass@k for those of `PASS_KS` that the samples allow, eval/right_paths, eval/greedy; {} for no questions.

    Of several sources also each one's: eval/pass@1/gsm8k.
    """
    problems, settings = parts.questions.held_out, parts.config.evaluation
    if not problems:
        return {}
    weights = decode_params(params, config=parts.model, dtype=programs.sampler.dtype, mesh=parts.decode_mesh)
    examinee = EvalModel(programs.sampler, weights, parts.texts)
    key = random_keys.key_of(parts.config.seed, step, "evaluate")
    sampled = replace(
        parts.choice,
        temperature=np.float32(settings.temperature),
        top_p=np.float32(settings.top_p),
        top_k=np.int32(0),
    )
    greedy = replace(sampled, temperature=np.float32(0))

    def ask(choice: SamplingParams, samples: int) -> list[Samples]:
        submit = programs.submit_hidden_tests
        drawn = lambda asked: generate_and_grade(  # noqa: E731
            examinee, asked, samples=samples, choice=choice, key=key, submit=submit
        )
        return [one for part in answer_all(drawn, problems, batch=len(problems)) for one in part]

    both = ask(sampled, settings.samples), ask(greedy, 1)
    return measured(*both) | by_source([problem.source for problem in problems], *both)


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
    right = [sum(reward >= 1 for reward in one.rewards) for one in sampled]
    passed = {k: float(np.mean([pass_at(count, samples, k) for count in right])) for k in PASS_KS if k <= samples}
    paths = right_paths([one.rewards for one in sampled], [one.texts for one in sampled])
    return {
        **{f"eval/pass@{k}": share for k, share in passed.items()},
        "eval/right_paths": float(np.mean(paths)),
        "eval/greedy": float(np.mean([one.rewards for one in greedy])),
    }
