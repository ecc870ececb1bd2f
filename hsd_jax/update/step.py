"""One training step on the device: scoring, loss, update. One jitted program without Python branching.

Everything that needs a whole group or the whole batch (peers, advantages, 1/|o_i|, 1/N) is computed once, before the
batch is split; a micro-batch only adds its part of a sum. So the result does not depend on how the batch is split.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from hsd_jax import advantages
from hsd_jax.losses import Shares, TokenInputs
from hsd_jax.methods import row
from hsd_jax.methods.row import Method
from hsd_jax.reading.further_rows import joined
from hsd_jax.reading.peers import successful
from hsd_jax.reading.pieces import STUDENT
from hsd_jax.scoring import fused_loss
from hsd_jax.scoring.fused_loss import fused_token_loss
from hsd_jax.scoring.scorer import Scorer
from hsd_jax.types import Array, Contexts
from hsd_jax.update import teacher
from hsd_jax.update.credit import divergence_positions
from hsd_jax.update.further import behind, with_further_tokens
from hsd_jax.update.state import MicroBatch, StepConfig, StepInputs, Trace, TrainState
from hsd_jax.update.token_stats import sampled_logprob, with_stats
from models.qwen3 import Params, head

Gradient = tuple[tuple[Array, dict[str, Array]], Params]


def update(
    settings: StepConfig, scorer: Scorer, state: TrainState, inputs: StepInputs
) -> tuple[TrainState, dict[str, Array], Trace]:
    """One batch of graded groups: as many updates as the method has minibatches of whole problems.

    L = 1/N sum_i 1/|o_i| sum_t [ KL(sg pi(.|q,c_i,o_i,<t) || pi(.|q,o_i,<t)) + beta KL(pi || pi_0) ]
    An update whose loss or gradient is not finite is skipped. Where ratios are to the trainer's policy and there are
    several updates, it is scored once before them.
    Source: arXiv:2606.15576, Eq. 9, 10 and 13.
    """

    def one(state: TrainState, part: StepInputs) -> tuple[TrainState, Any]:
        work = with_further(settings.method, part, build_targets(settings, state, part))
        (loss, stats), grads = gradients(settings, scorer, state, work)
        state, applied = apply(settings, state, loss, grads)
        measured = work.token.distill * work.weights_PGT, stats
        return state, ({"loss": loss} | applied, jax.tree.map(lambda x: x[:, : part.rewards_PG.shape[1]], measured))

    graded = inputs
    if row.is_scored_beforehand(settings.method):
        old_PGT = policy_logprob(settings, scorer, state.policy, inputs)
        graded = replace(inputs, rollouts=replace(inputs.rollouts, logprob_PGT=old_PGT))
    state, (metrics, measured) = jax.lax.scan(one, state, interleave(graded, settings.method.minibatches))
    responses = inputs.rollouts.response_PGT, inputs.rollouts.length_PG
    trace = Trace(inputs, divergence_positions(*responses, inputs.read.peer_PG), *restore_order(measured))
    return update_state(settings, state, trace), jax.tree.map(jnp.mean, metrics), trace


def policy_logprob(settings: StepConfig, scorer: Scorer, params: Params, inputs: StepInputs) -> Array:
    """log p(o_t) [P, G, T] under these weights, by the forward pass of the update, over the same micro-batches."""

    def score(part: tuple[Contexts, Array, Array]) -> Array:
        hidden_ND = scorer.student(params, *part)
        return logprob_of(settings, scorer, fused_loss.Stream(hidden_ND, head(params)), *part[1:])

    texts = inputs.student, inputs.rollouts.response_PGT, inputs.rollouts.length_PG
    # problem p of minibatch p mod m goes to its micro-batch (p // m) mod n, which is p mod m n
    parts = interleave(texts, settings.method.minibatches * settings.micro_batches)
    return restore_order(jax.lax.map(score, parts))


def logprob_of(
    settings: StepConfig, scorer: Scorer, student: fused_loss.Stream, response_PGT: Array, length_PG: Array
) -> Array:
    """log p(o_t) [p, G, T] of a micro-batch, without gradient."""
    ids, fixed = scorer.flatten(response_PGT, length_PG), jax.lax.stop_gradient(student)
    _, stats = fused_token_loss(sampled_logprob, fixed, (), ids, jnp.zeros(ids.shape), settings.spread)
    return scorer.unflatten(stats["logprob"], length_PG)


def build_targets(settings: StepConfig, state: TrainState, inputs: StepInputs) -> MicroBatch:
    """Credit and weights of a batch: all that looks at whole groups. Ratios are to `rollouts.logprob_PGT`."""
    method, rollouts, rewards_PG, read = settings.method, inputs.rollouts, inputs.rewards_PG, inputs.read
    steps_T = jnp.arange(rollouts.response_PGT.shape[2])
    valid_PGT = steps_T[None, None, :] < rollouts.length_PG[..., None]
    success_PG = successful(rewards_PG)
    distilled_PG = method.distilled(success_PG, read.has_peer_PG, rollouts.length_PG) & method.gate(success_PG)
    distilled_PG &= read.has_context_PG
    shaped_PG = method.shaping(rewards_PG, rollouts.length_PG, inputs.limit_P[:, None])

    def over_tokens(values_PG: Array) -> Array:
        return jnp.broadcast_to(values_PG[..., None], valid_PGT.shape).astype(jnp.float32)

    token = TokenInputs(
        id=rollouts.response_PGT,
        distill=over_tokens(distilled_PG),
        advantage=over_tokens(method.advantage(shaped_PG)),
        old_logprob=None if row.is_on_policy(method) else rollouts.logprob_PGT,
        log_ratio=jnp.zeros(valid_PGT.shape),
        strength=jnp.full(valid_PGT.shape, method.strength(state.step, state.memory)),
        reward=over_tokens(rewards_PG),
    )
    reach = {"skip": method.skip_tokens, "horizon": method.horizon, "grows_every": method.horizon_every}
    in_loss_T = advantages.counted_tokens(steps_T, state.step, **reach)
    counted_PG = rollouts.finished_PG | (not method.mask_truncated)
    weights_PGT = method.normalize(valid_PGT & in_loss_T[None, None] & counted_PG[..., None])
    responses = rollouts.response_PGT, rollouts.length_PG
    return MicroBatch(inputs.student, inputs.views, *responses, token, weights_PGT)


def with_further(method: Method, inputs: StepInputs, work: MicroBatch) -> MicroBatch:
    """The batch with the rows that nobody sampled behind the rollouts; as it is where there are none."""
    if not inputs.further:
        return work
    rows, known_P1 = joined(inputs.further), inputs.read.has_context_PG[:, :1] | (not inputs.views)
    valid_PET = jnp.arange(rows.tokens.shape[2])[None, None] < rows.length[..., None]
    return replace(
        work,
        response_PGT=behind(work.response_PGT, rows.tokens),
        length_PG=behind(work.length_PG, rows.length),
        token=with_further_tokens(work.token, rows.tokens, known_P1),
        weights_PGT=behind(work.weights_PGT, method.row_weight * method.normalize(valid_PET)),
    )


def gradients(settings: StepConfig, scorer: Scorer, state: TrainState, work: MicroBatch) -> Gradient:
    """((loss, per-token statistics), gradient): the sum over micro-batches of whole problems, in float32."""
    value_and_grad = jax.value_and_grad(partial(micro_loss, settings, scorer), has_aux=True)

    def add(total: Any, part: MicroBatch) -> tuple[Any, dict[str, Array]]:
        (loss, stats), grads = value_and_grad(state.params, state, part)
        return jax.tree.map(jnp.add, total, (loss, grads)), stats

    zeros = jax.tree.map(lambda p: jnp.zeros(p.shape, jnp.float32), state.params)
    parts = interleave(work, settings.micro_batches)
    (loss, grads), stats = jax.lax.scan(add, (jnp.zeros(()), zeros), parts)
    return (loss, restore_order(stats)), grads


def micro_loss(
    settings: StepConfig, scorer: Scorer, params: Params, state: TrainState, work: MicroBatch
) -> tuple[Array, dict[str, Array]]:
    """The micro-batch's part of the loss, and its per-token statistics [p, G, T]."""
    method = settings.method

    def stream(held: Params, score: Callable[..., Array], contexts: Contexts) -> fused_loss.Stream:
        weights = teacher.full_weights(state.copies, held)
        return fused_loss.Stream(score(weights, contexts, work.response_PGT, work.length_PG), head(weights))

    def flat(values_PGT: Array) -> Array:
        return scorer.flatten(values_PGT, work.length_PG)

    roles = {
        "teacher": teacher.teacher_of(method.teacher),
        "reference": teacher.reference_of(settings.reference_every),
    }
    weights_of = {**state.copies, "policy": jax.lax.stop_gradient(state.params)}
    contexts = {reads: (scorer.view(n), work.views[n]) for n, reads in enumerate(row.readings(method))}
    contexts[STUDENT] = scorer.student, work.student
    frozen = {
        name: stream(weights_of[roles[view.weights]], *contexts[view.reads]) for name, view in row.views(method).items()
    }
    student = stream(params, scorer.student, work.student)
    token, score = work.token, partial(logprob_of, settings, scorer, student, work.response_PGT, work.length_PG)
    if token.old_logprob is not None:
        token = replace(token, log_ratio=method.rollout_ratio(score, token.old_logprob, work.length_PG))
    streams = student, tuple(frozen), tuple(frozen.values())
    if method.shares is not None:
        token = replace(token, share=shares_of(settings, scorer, method.shares, streams, work))
    loss, stats = fused_token_loss(
        with_stats(row.token_loss(method), tuple(frozen), method.overlap),
        student,
        tuple(frozen.values()),
        jax.tree.map(flat, token),
        flat(work.weights_PGT),
        settings.spread,
    )
    return loss, {name: scorer.unflatten(value, work.length_PG) for name, value in stats.items()}


def shares_of(
    settings: StepConfig,
    scorer: Scorer,
    shares: Shares,
    streams: tuple[fused_loss.Stream, tuple[str, ...], tuple[fused_loss.Stream, ...]],
    work: MicroBatch,
) -> dict[str, Array]:
    """What the tokens of a micro-batch count for [p, G, T], without gradient; `streams`: student, names, frozen."""
    student, names, frozen = streams

    def note(logps: tuple[Array, ...], ids: Array) -> tuple[Array, dict[str, Array]]:
        return jnp.zeros(ids.shape), shares.note(logps[0], dict(zip(names, logps[1:], strict=True)), ids)

    ids, fixed = scorer.flatten(work.response_PGT, work.length_PG), jax.lax.stop_gradient(student)
    _, noted = fused_token_loss(note, fixed, frozen, ids, jnp.zeros(ids.shape), settings.spread)
    noted_PGT = {name: scorer.unflatten(value, work.length_PG) for name, value in noted.items()}
    steps_T = jnp.arange(work.response_PGT.shape[2])
    return shares.make(noted_PGT, steps_T[None, None] < work.length_PG[..., None])


def apply(settings: StepConfig, state: TrainState, loss: Array, grads: Params) -> tuple[TrainState, dict[str, Array]]:
    """The optimizer's step; where loss or gradient is not finite, everything stays as it was."""
    norm = optax.tree.norm(grads)
    good = jnp.isfinite(loss) & jnp.isfinite(norm)
    changes, opt_state = settings.optimizer.update(grads, state.opt_state, state.params)
    moved = optax.apply_updates(state.params, changes), opt_state
    kept = state.params, state.opt_state
    params, opt_state = jax.tree.map(lambda new, old: jnp.where(good, new, old), moved, kept)
    return replace(state, params=params, opt_state=opt_state), {"grad_norm": norm, "skipped": 1.0 - good}


def update_state(settings: StepConfig, state: TrainState, trace: Trace) -> TrainState:
    """Counts the step, moves the copies of weights that move, and lets the method remember what it needs."""
    method, step, rollouts = settings.method, state.step + 1, trace.inputs.rollouts
    valid_PGT = jnp.arange(rollouts.response_PGT.shape[2])[None, None, :] < rollouts.length_PG[..., None]
    entropy_PGT = trace.stats.get("teacher_entropy", jnp.zeros(valid_PGT.shape))
    seen = {
        "teacher_entropy": jnp.nanmedian(jnp.where(valid_PGT, entropy_PGT, jnp.nan)),
        "reward": jnp.mean(trace.inputs.rewards_PG),
        "length": jnp.percentile(rollouts.length_PG.astype(jnp.float32), 95),
    }
    memory = method.remember(state.memory, seen)
    moves = teacher.rates(
        teacher=method.teacher,
        teacher_rate=method.teacher_rate,
        teacher_every=method.teacher_every,
        reference_every=settings.reference_every,
    )
    if method.teacher == "gated":
        moves["teacher"] = lambda step: memory["renew"]
    copies = teacher.advance(state.copies, state.params, step, moves)
    return TrainState(state.params, state.opt_state, copies, dict(memory), step)


def interleave(tree: Any, parts: int) -> Any:
    """Splits the problem axis: problem p goes to part p mod n, so every device's share is split evenly."""
    return jax.tree.map(lambda x: jnp.moveaxis(x.reshape(len(x) // parts, parts, *x.shape[1:]), 1, 0), tree)


def restore_order(tree: Any) -> Any:
    """The inverse of `interleave`."""
    return jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1).reshape(x.shape[0] * x.shape[1], *x.shape[2:]), tree)
