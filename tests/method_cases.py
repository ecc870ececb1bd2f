"""A batch of groups for the table of methods, a model that compiles in no time, and every row written in NumPy.

The model replaces Qwen3 (whose scoring has tests of its own): the state before a token is tanh(what was read + the
token before), so that contexts, their order and lengths all matter. The NumPy side is float64, one rollout at a time,
from the formulas of the papers; what the step stops gradients at is computed from `anchor_params` instead of `params`.
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

from hsd_jax import methods, sharding
from hsd_jax.contexts import Frame
from hsd_jax.fused_loss import ONE_CHIP, over_mesh
from hsd_jax.methods import METHODS
from hsd_jax.scoring import Scorer
from hsd_jax.types import Contexts, Problems, Ragged, Rollouts
from hsd_jax.update import Settings, TrainState, choose_peers, update

P, G, T, V, D = 8, 4, 8, 120, 6
REWARDS = np.array(
    [[1, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0], [0, 0, 1, 1], [1, 0, 0, 0]],
    np.float32,
)
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
        read_PGD = jnp.take_along_axis(read_PMD, contexts.of_PG[..., None], axis=1)
        ends_PM1 = jnp.maximum(contexts.length_PM - 1, 0)[..., None]
        last_PM = jnp.take_along_axis(contexts.tokens_PMC, ends_PM1, axis=2)[..., 0]
        last_PG1 = jnp.take_along_axis(last_PM, contexts.of_PG, axis=1)[..., None]
        before_PGT = jnp.concatenate([last_PG1, response_PGT[..., :-1]], axis=2)
        hidden_PGTD = jnp.tanh(read_PGD[:, :, None] + params["embed_VD"][before_PGT])
        return hidden_PGTD.reshape(-1, hidden_PGTD.shape[-1])

    return Scorer(
        student=score,
        teacher=score,
        flatten=lambda values_PGT, length_PG: values_PGT.reshape(-1),
        unflatten=lambda values_N, length_PG: values_N.reshape(*length_PG.shape, T, *values_N.shape[1:]),
    )


def np_logp(params: Params, context: list[int], response: list[int]) -> np.ndarray:
    """Log-probabilities [len(response), V] at the positions that predict a response."""
    share = (1 + 0.1 * (np.arange(len(context)) % 7)) / len(context)
    read = share @ params["embed_VD"][context] @ params["read_DD"]
    hidden = np.tanh(read + params["embed_VD"][[context[-1], *response[:-1]]])
    return log_softmax(hidden @ params["head_DV"])


def log_softmax(x: np.ndarray) -> np.ndarray:
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


# --- the batch


@dataclass(frozen=True)
class Batch:
    """The same groups as device records and as Python lists; `weights` by the name of who uses them."""

    problems: Problems
    frame: Frame
    rollouts: Rollouts
    pieces: Mapping[str, list[list[int]]]
    responses: list[list[list[int]]]
    weights: Mapping[str, Params]


def window(rows: list[list[int]], width: int) -> Ragged:
    tokens = np.zeros((len(rows), width), np.int32)
    for row, ids in zip(tokens, rows, strict=True):
        row[: len(ids)] = ids
    return Ragged(jnp.asarray(tokens), jnp.asarray([len(ids) for ids in rows], jnp.int32))


@lru_cache
def batch() -> Batch:
    """Groups with all, some and no successes, a truncated failure in each, rollouts near and far off policy."""
    rng = np.random.default_rng(0)
    some = lambda low, high: rng.integers(1, V, rng.integers(low, high)).tolist()  # noqa: E731
    pieces = {"head": [some(3, 6) for _ in range(P)], "answer": [some(2, 4) for _ in range(P)], "tail": [[7, 8]] * P}
    pieces["solution"] = [some(3, 6) for _ in range(P)]
    pieces["answer"][UNKNOWN] = pieces["solution"][UNKNOWN] = []
    responses = [[some(2, T + 1) for _ in range(G)] for _ in range(P)]
    response_PGT = np.zeros((P, G, T), np.int32)
    for p in range(P):
        for i, ids in enumerate(responses[p]):
            response_PGT[p, i, : len(ids)] = ids
    weights = {name: draw_params(seed) for seed, name in enumerate(("policy", "initial", "teacher"))}
    policy = doubles(weights["policy"])
    old_PGT = np.zeros((P, G, T), np.float32)
    for p in range(P):
        for i, ids in enumerate(responses[p]):
            logp = np_logp(policy, pieces["head"][p] + [7, 8], ids)[np.arange(len(ids)), ids]
            old_PGT[p, i, : len(ids)] = logp + (2e-4, 2e-3, 0.3, 0.9)[i] * rng.normal(size=len(ids))
    fixed = lambda ids: Ragged(jnp.asarray(ids), jnp.asarray(len(ids)))  # noqa: E731
    return Batch(
        Problems(
            id_P=jnp.arange(P, dtype=jnp.uint32) + 11,
            head=window(pieces["head"], 6),
            answer=window(pieces["answer"], 4),
            solution=window(pieces["solution"], 6),
            tail=window(pieces["tail"], 2),
            limit_P=jnp.full(P, T),
        ),
        Frame(fixed([50]), fixed([51, 52]), fixed([53])),
        Rollouts(
            jnp.asarray(response_PGT),
            jnp.asarray([[len(ids) for ids in group] for group in responses]),
            jnp.asarray((REWARDS > 0) | (np.arange(G) != 2)[None]),
            jnp.asarray(old_PGT),
        ),
        pieces,
        responses,
        weights,
    )


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

    settings: Settings
    step: Callable[..., Any]
    traces: list[str]


@lru_cache
def program(method: str, row: tuple[tuple[str, Any], ...] = (), devices: int = 1, micro_batches: int = 1) -> Program:
    """The step of a row. One plain gradient step of size 1, so that the change of weights is the gradient."""
    fields = {"mask_truncated": True, "minibatches": 1} | dict(row)
    settings = Settings(
        method=replace(METHODS[method], **fields),
        optimizer=optax.sgd(1.0),
        prompt_tokens=8,
        context_tokens=36,
        min_peer_tokens=1,
        micro_batches=micro_batches,
        chunk=64,
        reference_every=0,
        spread=over_mesh(mesh_of(devices)) if devices > 1 else ONE_CHIP,
    )
    traces: list[str] = []

    def step(*inputs: Any) -> Any:
        traces.append(method)
        return update(settings, toy_scorer(), *inputs)

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


def peers_of(method: str, of: Batch, rewards: np.ndarray = REWARDS) -> jax.Array:
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
    after, metrics, trace = compiled.step(state, problems, frame, rollouts, rewards_PG, peers_PG)
    gradient = {name: np.asarray(policy[name]) - np.asarray(after.params[name]) for name in policy}
    return Result(after, metrics, trace, gradient)


# --- every row in NumPy


@dataclass(frozen=True)
class Seen:
    """What a formula may look at: log-probabilities [t, V] of one rollout, and what is known of its tokens."""

    student: np.ndarray
    fixed: np.ndarray  # the student's, without gradient
    teacher: np.ndarray
    anchor: np.ndarray
    ids: list[int]
    old: np.ndarray
    advantage: float
    distilled: bool

    def at(self, logp: np.ndarray) -> np.ndarray:
        """Log-probabilities of the sampled tokens."""
        return logp[np.arange(len(self.ids)), self.ids]

    def capped(self) -> np.ndarray:
        """min(p / p_old, 2), without gradient."""
        return np.minimum(np.exp(self.at(self.fixed) - self.old), 2)

    def gap(self) -> np.ndarray:
        """log p_T - log p_S at the sampled tokens, without gradient."""
        return self.at(self.teacher) - self.at(self.fixed)


def kl(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    return (np.exp(p) * (p - q)).sum(-1)


def jsd(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    middle = np.log((np.exp(p) + np.exp(q)) / 2)
    return (kl(p, middle) + kl(q, middle)) / 2


def clipped(seen: Seen, advantage: Any, low: float, high: float, *, rollout: bool = False) -> np.ndarray:
    log_ratio = seen.at(seen.student) - seen.old
    ratio = np.exp(np.full(len(seen.ids), log_ratio.mean()) if rollout else log_ratio)
    return -np.minimum(ratio * advantage, ratio.clip(1 - low, 1 + high) * advantage)


def np_hsd(x: Seen) -> np.ndarray:
    return x.distilled * kl(x.teacher, x.student)


def np_opsd_official(x: Seen) -> np.ndarray:
    student, teacher = log_softmax(x.student / 1.1), log_softmax(x.teacher / 1.1)
    return x.distilled * np.minimum(np.exp(teacher) * (teacher - student), 0.06).sum(-1)


def np_sdpo(x: Seen) -> np.ndarray:
    best = np.argsort(-x.fixed, axis=-1)[:, :100]

    def kept(logp: np.ndarray) -> np.ndarray:
        top = np.take_along_axis(logp, best, axis=-1)
        return np.concatenate([top, np.log(1 - np.exp(top).sum(-1, keepdims=True))], axis=-1)

    return x.distilled * x.capped() * jsd(kept(x.student), kept(x.teacher))


def np_sdft(x: Seen) -> np.ndarray:
    return x.distilled * x.capped().mean() * kl(x.teacher, x.student) * (np.arange(len(x.ids)) >= 3)


def np_rlsd(x: Seen) -> np.ndarray:
    strength = 0.5 * (1 - STEP / 50) * x.distilled
    weight = np.exp(np.sign(x.advantage) * x.gap()).clip(0.8, 1.2)
    return clipped(x, x.advantage * (1 - strength + strength * weight), 0.2, 0.28)


def np_rlrt(x: Seen) -> np.ndarray:
    strength = 0.5 * x.distilled
    weight = np.exp(-np.sign(x.advantage) * x.gap()).clip(0, 2)
    return clipped(x, x.advantage * (1 - strength + strength * weight), 0.2, 0.28)


def np_antisd(x: Seen) -> np.ndarray:
    bonus = 0.5 * (np.log1p(np.exp(x.gap())) - np.log(2))
    return clipped(x, x.advantage - 0.5 * x.distilled * bonus, 0.2, 0.2)


def np_demopsd(x: Seen) -> np.ndarray:
    share = 2 * 0.15 * (1 / (1 + np.exp(-50 * jsd(x.anchor, x.teacher))) - 0.5)
    target = log_softmax((1 - share[:, None]) * x.teacher + share[:, None] * x.anchor)
    constant = kl(x.student, target) - (1 - share) * kl(x.student, x.teacher) - share * kl(x.student, x.anchor)
    # the barycentre's own normaliser does not depend on the student: subtract it, to have the two-term form
    return x.distilled * x.capped() * (kl(x.student, target) - constant)


def np_grpo_opsd(x: Seen) -> np.ndarray:
    return 0.5 * np_hsd(x) + 0.5 * clipped(x, x.advantage, 0.2, 0.2)


ALL = lambda success, peer, known: peer or known  # noqa: E731
WITH_PEER = lambda success, peer, known: peer  # noqa: E731
SUCCESSFUL = lambda success, peer, known: success and peer  # noqa: E731
NOBODY = lambda success, peer, known: False  # noqa: E731


@dataclass(frozen=True)
class Formula:
    """A row, stated again: what its teacher reads, whose weights teach, who is distilled, and the rest."""

    reads: tuple[str, ...]
    teacher: str
    distilled: Callable[[bool, bool, bool], bool]
    token: Callable[[Seen], np.ndarray]
    divided_by: str
    beta: float
    centred: bool = False
    overlong: bool = False


FORMULAS: dict[str, Formula] = {
    "hsd": Formula(("answer", "peer"), "policy", ALL, np_hsd, "sequence", 1e-3),
    "opsd": Formula(("answer",), "policy", ALL, np_hsd, "sequence", 1e-3),
    "opsd_official": Formula(("solution",), "initial", ALL, np_opsd_official, "tokens", 0),
    "sdpo": Formula(("peer",), "teacher", WITH_PEER, np_sdpo, "tokens", 1e-3),
    "rlsd": Formula(("answer",), "teacher", ALL, np_rlsd, "tokens", 1e-3),
    "sdft": Formula(("solution",), "teacher", ALL, np_sdft, "sequence", 1e-3),
    "grpo": Formula((), "policy", NOBODY, lambda x: clipped(x, x.advantage, 0.2, 0.2), "sequence", 1e-3),
    "dr_grpo": Formula((), "policy", NOBODY, lambda x: clipped(x, x.advantage, 0.2, 0.2), "window", 1e-3, True),
    "gspo": Formula(
        (), "policy", NOBODY, lambda x: clipped(x, x.advantage, 3e-4, 4e-4, rollout=True), "sequence", 1e-3
    ),
    "dapo": Formula((), "policy", NOBODY, lambda x: clipped(x, x.advantage, 0.2, 0.28), "tokens", 1e-3, overlong=True),
    "grpo_opsd": Formula(("answer",), "policy", ALL, np_grpo_opsd, "sequence", 1e-3),
    "rlrt": Formula(("peer",), "policy", SUCCESSFUL, np_rlrt, "tokens", 0),
    "antisd": Formula(("peer",), "policy", WITH_PEER, np_antisd, "sequence", 0),
    "demopsd": Formula(("peer",), "teacher", WITH_PEER, np_demopsd, "tokens", 0),
}


def np_advantages(formula: Formula, lengths: np.ndarray) -> np.ndarray:
    buffer = T / 8
    shaped = REWARDS - formula.overlong * ((lengths - (T - buffer)) / buffer).clip(0, 1)
    centred = shaped - shaped.mean(1, keepdims=True)
    spread = shaped.std(1, ddof=1, keepdims=True)
    return centred if formula.centred else centred / (spread + 1e-6)


def np_context(of: Batch, formula: Formula, p: int, peer: int) -> list[int]:
    parts = [of.pieces["head"][p]] + [of.pieces[name][p] for name in ("answer", "solution") if name in formula.reads]
    if peer >= 0 and "peer" in formula.reads:
        text = of.responses[p][peer]
        parts += [[50], text[:-1] if bool(of.rollouts.finished_PG[p, peer]) else text, [51, 52]]
    return [token for part in (*parts, [53], of.pieces["tail"][p]) for token in part]


def np_loss(name: str, peers: np.ndarray, params: Params, anchor_params: Params) -> float:
    """The loss of a step; `anchor_params` are the policy's wherever no gradient flows."""
    of, formula = batch(), FORMULAS[name]
    who = {key: doubles(of.weights[key]) for key in ("initial", "teacher")} | {"policy": anchor_params}
    lengths = np.array([[len(ids) for ids in group] for group in of.responses])
    advantages, total = np_advantages(formula, lengths), 0.0
    for p, i in np.ndindex(P, G):
        if not bool(of.rollouts.finished_PG[p, i]):
            continue
        ids, question = of.responses[p][i], of.pieces["head"][p] + of.pieces["tail"][p]
        known = any(of.pieces[part][p] for part in ("answer", "solution") if part in formula.reads)
        peer = peers[p, i] >= 0 and "peer" in formula.reads
        seen = Seen(
            student=np_logp(params, question, ids),
            fixed=np_logp(anchor_params, question, ids),
            teacher=np_logp(who[formula.teacher], np_context(of, formula, p, int(peers[p, i])), ids),
            anchor=np_logp(who[formula.teacher], question, ids),
            ids=ids,
            old=np.asarray(of.rollouts.logprob_PGT[p, i, : len(ids)], np.float64),
            advantage=float(advantages[p, i]),
            distilled=formula.distilled(bool(REWARDS[p, i]), bool(peer), known),
        )
        token = formula.token(seen)
        in_loss = np.arange(len(ids)) >= (3 if name == "sdft" else 0)
        token = token + formula.beta * in_loss * kl(seen.student, np_logp(who["initial"], question, ids))
        divisor = {"sequence": len(ids) * P * G, "tokens": lengths.sum(), "window": P * G * T}[formula.divided_by]
        total += token.sum() / divisor
    return total


def np_slope(name: str, peers: np.ndarray, along: Params, size: float = 1e-6) -> float:
    """The derivative of the loss along a direction, by central differences."""
    policy = doubles(batch().weights["policy"])
    ends = [{key: policy[key] + sign * size * along[key] for key in policy} for sign in (1, -1)]
    return (np_loss(name, peers, ends[0], policy) - np_loss(name, peers, ends[1], policy)) / (2 * size)
