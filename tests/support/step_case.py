"""A small batch for the step on a small Qwen3: records of the device, and the same as Python lists."""

from dataclasses import dataclass, replace
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from hsd_jax import methods
from hsd_jax.methods import METHODS
from hsd_jax.reading.contexts import FixedTexts
from hsd_jax.scoring.fused_loss import LossSharding
from hsd_jax.scoring.scorer import padded_scorer
from hsd_jax.types import Padded, Problems, Rollouts
from hsd_jax.update.state import StepConfig, TrainState
from models.qwen3 import Params, init_params
from tests.support.padding import fixed_texts, right_padded, right_padded_groups
from tests.support.tiny_config import tiny_config

CONFIG = tiny_config(vocab_size=61, width=24, mlp_width=40, head_dim=6, tied=False)
P, G, T = 4, 4, 7
FURTHER = ("rubric", "canonical", "golden", *(f"skill{number}" for number in range(4)))
SCORER = padded_scorer(CONFIG, steps=T)
REWARDS = np.array([[1, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0], [1, 1, 1, 0]], np.float32)


@dataclass(frozen=True)
class Case:
    """One batch as device records and as Python lists."""

    problems: Problems
    frame: FixedTexts
    rollouts: Rollouts
    pieces: dict[str, list[list[int]]]
    responses: list[list[list[int]]]


@lru_cache
def make_case() -> Case:
    """Groups with some, all but one and no successes; one response begins like its neighbor."""
    rng = np.random.default_rng(0)
    some = lambda low, high: rng.integers(1, 60, rng.integers(low, high)).tolist()  # noqa: E731
    pieces = {"head": [some(3, 7) for _ in range(P)], "answer": [some(2, 4) for _ in range(P)], "tail": [[7, 8]] * P}
    responses = [[some(2, T + 1) for _ in range(G)] for _ in range(P)]
    responses[0][1][:1] = responses[0][0][:1]  # a shared beginning
    padded = right_padded_groups(responses, T)
    return Case(
        Problems(
            id_P=jnp.arange(P, dtype=jnp.uint32) + 11,
            prefix=right_padded(pieces["head"]),
            answer=right_padded(pieces["answer"]),
            solution=right_padded([[]] * P),
            feedback=Padded(jnp.asarray(rng.integers(1, 60, (P, G, 3)), jnp.int32), jnp.asarray(3 * (REWARDS < 1))),
            wrong_answer=Padded(jnp.zeros((P, G, 0), jnp.int32), jnp.zeros((P, G), jnp.int32)),
            suffix=right_padded(pieces["tail"]),
            limit_P=jnp.full(P, T),
            further={name: right_padded([[9, 10 + n]] * P, T) for n, name in enumerate(FURTHER)},
        ),
        fixed_texts(),
        Rollouts(
            jnp.asarray(padded.tokens),
            jnp.asarray(padded.length),
            jnp.asarray(rng.integers(0, 2, (P, G)), bool),
            jnp.asarray(-rng.random((P, G, T)), jnp.float32),
        ),
        pieces,
        responses,
    )


@lru_cache
def make_weights() -> tuple[Params, Params]:
    """The policy and, elsewhere, the reference; large enough that distributions are far from uniform."""
    made = [init_params(CONFIG, jax.random.key(seed)) for seed in (1, 2)]
    return tuple(jax.tree.map(lambda x: x * 4 if x.ndim > 1 else x, params) for params in made)


def settings(method: str, **changes: object) -> StepConfig:
    """A row of the table with `row` changed, and the settings of the step for this batch."""
    return StepConfig(
        method=replace(METHODS[method], **changes.pop("row", {})),
        optimizer=optax.adam(1e-3),
        prompt_tokens=12,
        context_tokens=32,
        min_peer_tokens=2,
        micro_batches=1,
        reference_every=0,
        **{"spread": LossSharding(16)} | changes,
    )


def state_of(setting: StepConfig, params: Params, reference: Params) -> TrainState:
    """The state before the first update."""
    copy = partial(jax.tree.map, jnp.array)
    copies = {"initial": copy(reference)}
    return TrainState(
        copy(params),
        setting.optimizer.init(params),
        copies,
        methods.start_memory(setting.method),
        jnp.zeros((), jnp.int32),
    )
