"""One training step on the device: peers, contexts, scoring, loss, update. One jitted program without Python branching.

Everything that needs a whole group or the whole batch (peers, advantages, 1/|o_i|, 1/N) is computed once, before the
batch is split; a micro-batch only adds its part of a sum. So the result does not depend on how the batch is split.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.tree_util import register_dataclass

from hsd_jax import losses, methods, teacher
from hsd_jax.contexts import Frame, student_contexts, teacher_contexts
from hsd_jax.credit import divergence_positions
from hsd_jax.fused_loss import ONE_CHIP, Spread, Stream, fused_token_loss
from hsd_jax.losses import Token
from hsd_jax.methods import Method
from hsd_jax.peers import select_peers, successful
from hsd_jax.types import Array, Contexts, Problems, Rollouts
from models.qwen3 import Params, Qwen3Config, head


@register_dataclass
@dataclass(frozen=True)
class TrainState:
    """What training changes: the policy, its optimiser state, copies of weights, and the number of updates."""

    params: Params
    opt_state: Any
    copies: dict[str, Params]
    step: Array


# (weights, contexts, response_PGT, length_PG) -> hidden_PGTD, the states that predict each response token
Score = Callable[[Params, Contexts, Array, Array], Array]


@dataclass(frozen=True)
class Settings:
    """What is fixed while a program runs."""

    model: Qwen3Config
    method: Method
    optimizer: optax.GradientTransformation
    prompt_tokens: int
    context_tokens: int
    min_peer_tokens: int
    micro_batches: int
    chunk: int
    reference_every: int
    score: Score
    spread: Spread = ONE_CHIP


@register_dataclass
@dataclass(frozen=True)
class Work:
    """What a micro-batch needs, after everything that looks at whole groups has been decided."""

    student: Contexts
    teacher: Contexts
    response_PGT: Array
    length_PG: Array
    token: Token
    weights_PGT: Array


@register_dataclass
@dataclass(frozen=True)
class Trace:
    """What the step decided and measured, for logs: peers, contexts, weights, and per-token statistics [P, G, T]."""

    peers_PG: Array
    contexts: Contexts
    kept_PG: Array
    cut_PG: Array
    divergence_PG: Array
    weights_PGT: Array
    stats: dict[str, Array]


def update(
    settings: Settings,
    state: TrainState,
    problems: Problems,
    frame: Frame,
    rollouts: Rollouts,
    rewards_PG: Array,
    key: Array,
) -> tuple[TrainState, dict[str, Array], Trace]:
    """One step of the method on one batch of graded groups; an update that is not finite is skipped.

    L = 1/N sum_i 1/|o_i| sum_t [ KL(sg pi(.|q,c_i,o_i,<t) || pi(.|q,o_i,<t)) + beta KL(pi || pi_0) ]
    Source: arXiv:2606.15576, Eq. 9, 10 and 13.
    """
    peers_PG = choose_peers(settings.method, problems, rollouts, rewards_PG, key)
    work, kept_PG, cut_PG = prepare(settings, problems, frame, rollouts, rewards_PG, peers_PG)
    (loss, stats), grads = gradients(settings, state, work)
    divergence_PG = divergence_positions(rollouts.response_PGT, rollouts.length_PG, jnp.where(kept_PG, peers_PG, -1))
    distilled_PGT = work.token.distill * work.weights_PGT
    trace = Trace(peers_PG, work.teacher, kept_PG, cut_PG, divergence_PG, distilled_PGT, stats)
    state, applied = apply(settings, state, loss, grads)
    return state, {"loss": loss} | applied, trace


def choose_peers(method: Method, problems: Problems, rollouts: Rollouts, rewards_PG: Array, key: Array) -> Array:
    """The peer of every rollout, from randomness that belongs to its question alone."""
    keys_P = jax.vmap(jax.random.fold_in, (None, 0))(key, problems.id_P)
    scores_PG = peer_scores(method.peer_rule, rollouts)
    rule = methods.PEER_RULES.get(method.peer_rule, method.peer_rule)
    return select_peers(keys_P, rewards_PG, rule=rule, draws=method.peer_draws, scores_PG=scores_PG)


def peer_scores(rule: str, rollouts: Rollouts) -> Array:
    """What ranking rules rank by: response length, or negative mean log-probability (log perplexity)."""
    if rule == "shortest":
        return rollouts.length_PG
    return -jnp.sum(rollouts.logprob_PGT, axis=2) / jnp.maximum(rollouts.length_PG, 1)


def prepare(
    settings: Settings, problems: Problems, frame: Frame, rollouts: Rollouts, rewards_PG: Array, peers_PG: Array
) -> tuple[Work, Array, Array]:
    """Contexts, credit and weights of a batch: all that looks at whole groups."""
    method, group = settings.method, rewards_PG.shape[1]
    contexts, kept_PG, cut_PG = teacher_contexts(
        problems,
        frame,
        rollouts,
        peers_PG,
        reads=method.reads,
        width=settings.context_tokens,
        count=2 if method.peer_draws == "coupled" else group,
        min_peer_tokens=settings.min_peer_tokens,
    )
    steps_T = jnp.arange(rollouts.response_PGT.shape[2])
    valid_PGT = steps_T[None, None, :] < rollouts.length_PG[..., None]
    weights_PGT = method.normalise(valid_PGT, rollouts.response_PGT.shape[2])
    known_PG = kept_PG | (jnp.maximum(problems.answer.length, problems.solution.length) > 0)[:, None]
    distilled_PG = method.distilled(successful(rewards_PG), kept_PG) & known_PG
    shape = valid_PGT.shape
    token = Token(
        id=rollouts.response_PGT,
        distill=jnp.broadcast_to(distilled_PG[..., None], shape).astype(jnp.float32),
        advantage=jnp.broadcast_to(method.advantage(rewards_PG)[..., None], shape),
        old_logprob=rollouts.logprob_PGT,
    )
    in_loss_PGT = (steps_T >= method.skip_tokens) & (steps_T < (method.horizon or shape[2]))
    kept_rows_PG = rollouts.finished_PG if method.mask_truncated else jnp.ones_like(rollouts.finished_PG)
    weights_PGT = weights_PGT * in_loss_PGT[None, None] * kept_rows_PG[..., None]
    student = student_contexts(problems, settings.prompt_tokens, group)
    return Work(student, contexts, rollouts.response_PGT, rollouts.length_PG, token, weights_PGT), kept_PG, cut_PG


def gradients(settings: Settings, state: TrainState, work: Work) -> tuple[tuple[Array, dict[str, Array]], Params]:
    """((loss, per-token statistics), gradient): the sum over micro-batches of whole problems, in float32."""
    parts = interleave(work, settings.micro_batches)
    value_and_grad = jax.value_and_grad(micro_loss, argnums=1, has_aux=True)

    def add(total: Any, part: Work) -> tuple[Any, dict[str, Array]]:
        (loss, stats), grads = value_and_grad(settings, state.params, state, part)
        return jax.tree.map(jnp.add, total, (loss, grads)), stats

    zeros = jax.tree.map(lambda p: jnp.zeros(p.shape, jnp.float32), state.params)
    (loss, grads), stats = jax.lax.scan(add, (jnp.zeros(()), zeros), parts)
    return (loss, restore_order(stats)), grads


def micro_loss(settings: Settings, params: Params, state: TrainState, work: Work) -> tuple[Array, dict[str, Array]]:
    """The micro-batch's part of the loss, and its per-token statistics [p, G, T]."""
    method, shape = settings.method, work.weights_PGT.shape

    def stream(weights: Params, contexts: Contexts) -> Stream:
        hidden_PGTD = settings.score(weights, contexts, work.response_PGT, work.length_PG)
        return Stream(hidden_PGTD.reshape(-1, hidden_PGTD.shape[-1]), head(weights))

    weights_of = {**state.copies, "policy": jax.lax.stop_gradient(state.params)}
    frozen = {}
    if methods.reads_teacher(method):
        frozen["teacher"] = stream(weights_of[teacher.teacher_of(method.teacher)], work.teacher)
    if method.beta:
        frozen["reference"] = stream(weights_of[teacher.reference_of(settings.reference_every)], work.student)
    loss, stats = fused_token_loss(
        losses.with_diagnostics(methods.token_loss(method), tuple(frozen)),
        stream(params, work.student),
        tuple(frozen.values()),
        jax.tree.map(lambda x: x.reshape(-1), work.token),
        work.weights_PGT.reshape(-1),
        chunk=settings.chunk,
        spread=settings.spread,
    )
    return loss, {name: value.reshape(*shape, *value.shape[1:]) for name, value in stats.items()}


def interleave(tree: Any, parts: int) -> Any:
    """Splits the problem axis: problem p goes to part p mod n, so every device's share is split evenly."""
    return jax.tree.map(lambda x: jnp.moveaxis(x.reshape(-1, parts, *x.shape[1:]), 1, 0), tree)


def restore_order(tree: Any) -> Any:
    """The inverse of `interleave`."""
    return jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1).reshape(-1, *x.shape[2:]), tree)


def apply(settings: Settings, state: TrainState, loss: Array, grads: Params) -> tuple[TrainState, dict[str, Array]]:
    """The optimiser's step; where loss or gradient is not finite, everything stays as it was."""
    norm = optax.global_norm(grads)
    good = jnp.isfinite(loss) & jnp.isfinite(norm)
    changes, opt_state = settings.optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, changes)
    step = state.step + 1
    moves = teacher.rates(
        teacher=settings.method.teacher,
        teacher_rate=settings.method.teacher_rate,
        teacher_every=settings.method.teacher_every,
        reference_every=settings.reference_every,
    )
    moved = TrainState(params, opt_state, teacher.advance(state.copies, params, step, moves), step)
    kept = TrainState(state.params, state.opt_state, state.copies, step)
    chosen = jax.tree.map(lambda new, old: jnp.where(good, new, old), moved, kept)
    return chosen, {"grad_norm": norm, "skipped": 1.0 - good}
