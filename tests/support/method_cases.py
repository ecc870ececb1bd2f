"""A batch of groups for the table of methods, and the step on a model that compiles in no time.

The model replaces Qwen3 (whose scoring has tests of its own): the state before a token is tanh(what was read + the
token before), so that contexts, their order and lengths all matter.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from hsd_jax import methods
from hsd_jax.methods import METHODS
from hsd_jax.reading.contexts import Chosen, FixedTexts
from hsd_jax.scoring.fused_loss import LossSharding, over_mesh
from hsd_jax.scoring.scorer import Scorer
from hsd_jax.types import Contexts, Padded, Problems, Rollouts
from hsd_jax.update.inputs import build_inputs, choose_peers
from hsd_jax.update.state import StepConfig, TrainState
from hsd_jax.update.step import update
from models import sharding
from tests.support.numpy_oracles import log_softmax
from tests.support.padding import fixed_texts, right_padded, right_padded_groups

P, G, T, V, D = 8, 4, 8, 120, 6
REWARDS = np.array(
    [[1, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0], [0, 0, 1, 1], [1, 0, 0, 0]],
    np.float32,
)
FEEDBACK_PGX = np.random.default_rng(1).integers(60, V, (P, G, 3)).astype(np.int32)  # of failed rollouts
WRONG_PGX = np.random.default_rng(4).integers(60, V, (P, G, 2)).astype(np.int32)  # wrong answers
UNKNOWN = 5  # the problem of which neither answer nor solution is known, and nobody succeeds
STEP = 10  # updates before this one: schedules are neither at their start nor at their end
Params = dict[str, Any]


# --- the model


def toy_scorer() -> Scorer:
    """hidden = tanh(read(context) + embedding of the token before); flat tokens are those of the window."""

    def score(params: Params, contexts: Contexts, response_PGT: jax.Array, length_PG: jax.Array) -> jax.Array:
        place_C = jnp.arange(contexts.tokens_PMC.shape[2])[None, None]
        share_PMC = jnp.where(place_C < contexts.length_PM[..., None], 1 + 0.1 * (place_C % 7), 0.0)
        share_PMC /= jnp.maximum(contexts.length_PM, 1)[..., None]
        read_PMD = jnp.einsum("pmc,pmcd->pmd", share_PMC, params["embed_VD"][contexts.tokens_PMC]) @ params["read_DD"]
        read_PGD = jnp.take_along_axis(read_PMD, contexts.context_index_PG[..., None], axis=1)
        ends_PM1 = jnp.maximum(contexts.length_PM - 1, 0)[..., None]
        last_PM = jnp.take_along_axis(contexts.tokens_PMC, ends_PM1, axis=2)[..., 0]
        last_PG1 = jnp.take_along_axis(last_PM, contexts.context_index_PG, axis=1)[..., None]
        before_PGT = jnp.concatenate([last_PG1, response_PGT[..., :-1]], axis=2)
        hidden_PGTD = jnp.tanh(read_PGD[:, :, None] + params["embed_VD"][before_PGT])
        return hidden_PGTD.reshape(-1, hidden_PGTD.shape[-1])

    return Scorer(
        student=score,
        view=lambda place: score,
        flatten=lambda values_PGT, length_PG: values_PGT.reshape(-1),
        unflatten=lambda values_N, length_PG: values_N.reshape(*length_PG.shape, T, *values_N.shape[1:]),
    )


def np_logp(params: Params, context: list[int], response: list[int]) -> np.ndarray:
    """Log-probabilities [len(response), V] at the positions that predict a response."""
    share = (1 + 0.1 * (np.arange(len(context)) % 7)) / len(context)
    read = share @ params["embed_VD"][context] @ params["read_DD"]
    hidden = np.tanh(read + params["embed_VD"][[context[-1], *response[:-1]]])
    return log_softmax(hidden @ params["head_DV"])


# --- the batch


@dataclass(frozen=True)
class Batch:
    """The same groups as device records and as Python lists; `weights` by the name of who uses them."""

    problems: Problems
    frame: FixedTexts
    rollouts: Rollouts
    pieces: Mapping[str, list[list[int]]]
    responses: list[list[list[int]]]
    weights: Mapping[str, Params]


@lru_cache
def batch() -> Batch:
    """Groups with all, some and no successes, a truncated failure in each, rollouts near and far off policy."""
    rng = np.random.default_rng(0)
    some = lambda low, high: rng.integers(1, V, rng.integers(low, high)).tolist()  # noqa: E731
    pieces = {"head": [some(3, 6) for _ in range(P)], "answer": [some(2, 4) for _ in range(P)], "tail": [[7, 8]] * P}
    pieces["solution"] = [some(3, 6) for _ in range(P)]
    pieces["answer"][UNKNOWN] = pieces["solution"][UNKNOWN] = []
    responses = [[some(2, T + 1) for _ in range(G)] for _ in range(P)]
    padded = right_padded_groups(responses, T)
    further = further_texts(pieces)
    weights = {name: draw_params(seed) for seed, name in enumerate(("policy", "initial", "teacher"))}
    policy = doubles(weights["policy"])
    old_PGT = np.zeros((P, G, T), np.float32)
    for p in range(P):
        for i, ids in enumerate(responses[p]):
            logp = np_logp(policy, pieces["head"][p] + [7, 8], ids)[np.arange(len(ids)), ids]
            old_PGT[p, i, : len(ids)] = logp + (2e-4, 2e-3, 0.3, 0.9)[i] * rng.normal(size=len(ids))
    return Batch(
        Problems(
            id_P=jnp.arange(P, dtype=jnp.uint32) + 11,
            prefix=right_padded(pieces["head"], 6),
            answer=right_padded(pieces["answer"], 4),
            solution=right_padded(pieces["solution"], 6),
            feedback=Padded(jnp.asarray(FEEDBACK_PGX), jnp.asarray(FEEDBACK_PGX.shape[2] * (REWARDS < 1))),
            wrong_answer=Padded(jnp.asarray(WRONG_PGX), jnp.asarray(np.full((P, G), WRONG_PGX.shape[2]))),
            suffix=right_padded(pieces["tail"], 2),
            limit_P=jnp.full(P, T, jnp.int32),
            further={name: right_padded(rows, T) for name, rows in further.items()},
        ),
        fixed_texts(),
        Rollouts(
            jnp.asarray(padded.tokens),
            jnp.asarray(padded.length),
            jnp.asarray((REWARDS > 0) | (np.arange(G) != 2)[None]),
            jnp.asarray(old_PGT),
        ),
        pieces | further,
        responses,
        weights,
    )


def further_texts(pieces: Mapping[str, list[list[int]]]) -> dict[str, list[list[int]]]:
    """Texts that only some methods read: rubrics, skills, wordings, reference responses; one problem has none."""
    rng = np.random.default_rng(8)
    names = ("rubric", "canonical", "golden", *(f"skill{number}" for number in range(4)))
    known = [bool(answer) for answer in pieces["answer"]]
    return {name: [rng.integers(1, V, rng.integers(3, T)).tolist() if k else [] for k in known] for name in names}


def draw_params(seed: int) -> Params:
    """Large enough that distributions are far from uniform and from each other."""
    rng = np.random.default_rng(100 + seed)
    shapes = {"embed_VD": (V, D), "read_DD": (D, D), "head_DV": (D, V)}
    return {name: jnp.asarray(rng.normal(size=shape), jnp.float32) for name, shape in shapes.items()}


def doubles(params: Params) -> Params:
    return {name: np.asarray(value, np.float64) for name, value in params.items()}


# --- the step under test


@dataclass(frozen=True)
class Program:
    """A compiled step, and how often it was traced, which is how often it was compiled."""

    settings: StepConfig
    step: Callable[..., Any]
    traces: list[str]


@lru_cache
def program(method: str, row: tuple[tuple[str, Any], ...] = (), devices: int = 1, micro_batches: int = 1) -> Program:
    """The step of a row. One plain gradient step of size 1, so that the change of weights is the gradient.

    Ratios are to the sampler's log-probabilities, or with one update they would be 1 and no clip would be seen.
    """
    fields = {"mask_truncated": True, "minibatches": 1, "old_policy": "sampler"} | dict(row)
    settings = StepConfig(
        method=replace(METHODS[method], **fields),
        optimizer=optax.sgd(1.0),
        prompt_tokens=8,
        context_tokens=60,
        min_peer_tokens=1,
        micro_batches=micro_batches,
        reference_every=0,
        spread=over_mesh(mesh_of(devices), chunk=64) if devices > 1 else LossSharding(64),
    )
    traces: list[str] = []

    def step(state: TrainState, *graded: Any) -> Any:
        traces.append(method)
        return update(settings, toy_scorer(), state, build_inputs(settings, *graded))

    return Program(settings, jax.jit(step, compiler_options=cheap_compilation()), traces)


@lru_cache
def cheap_compilation() -> dict[str, Any]:
    """Compiler options that make programs cheap to compile and slow to run; none where this JAX does not know them."""
    options = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
    try:
        jax.jit(lambda: jnp.zeros(()), compiler_options=options)()
    except Exception:  # whatever another version raises for an option that it does not have
        return {}
    return options


@lru_cache
def mesh_of(devices: int) -> Mesh:
    return sharding.make_mesh(1, devices, 1)


@dataclass(frozen=True)
class Result:
    """What a step returned, and the gradient that it followed."""

    state: TrainState
    metrics: Mapping[str, Any]
    trace: Any
    gradient: Params


def peers_of(method: str, of: Batch, rewards: np.ndarray = REWARDS) -> Chosen:
    return choose_peers(METHODS[method], of.problems, of.rollouts, jnp.asarray(rewards), jax.random.key(5))


def run(
    method: str,
    row: tuple[tuple[str, Any], ...] = (),
    *,
    of: Batch | None = None,
    rewards: np.ndarray = REWARDS,
    peers: Any = None,
    step: int = STEP,
    devices: int = 1,
    micro_batches: int = 1,
) -> Result:
    """One step of a row, compiled at most once for every (row, devices, micro-batches)."""
    of = batch() if of is None else of
    peers = peers_of(method, of, rewards) if peers is None else peers
    compiled = program(method, row, devices, micro_batches)
    policy = dict(of.weights["policy"])
    copies = {name: dict(of.weights[name]) for name in ("initial", "teacher")}
    memory = methods.start_memory(compiled.settings.method)
    state = TrainState(policy, compiled.settings.optimizer.init(policy), copies, memory, jnp.asarray(step, jnp.int32))
    parts, everywhere = (of.problems, of.rollouts, jnp.asarray(rewards), peers), (state, of.frame)
    if devices > 1:
        parts = jax.device_put(parts, sharding.batch_sharding(mesh_of(devices)))
        everywhere = jax.device_put(everywhere, sharding.replicated(mesh_of(devices)))
    (problems, rollouts, rewards_PG, peers_PG), (state, frame) = parts, everywhere
    after, metrics, trace = compiled.step(state, frame, problems, rollouts, rewards_PG, peers_PG)
    gradient = {name: np.asarray(policy[name]) - np.asarray(after.params[name]) for name in policy}
    return Result(after, metrics, trace, gradient)
