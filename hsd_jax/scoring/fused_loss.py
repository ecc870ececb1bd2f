"""Full-vocabulary token losses without a vocabulary tensor: hidden -> logits -> loss, a chunk of tokens at a time.

A token loss is a plain function of one chunk:

    def token_loss(logps, token) -> (loss_C, {"name": stat_C, ...})

`logps` are float32 log-probabilities [C, V], the student's first, then one per frozen stream (a teacher, a reference:
whatever the caller passed, nothing else is computed); `token` is the caller's pytree of [C] arrays (sampled ids,
advantages, ...). It reduces over V with plain `jnp` or the functions of `divergence`.

The weights are known beforehand, so the gradient is formed in the forward loop and no logit is computed twice: student
and teacher cost 4 products of a [C, D] with a [D, V] matrix, where checkpointing each chunk would cost 6.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jax.tree_util import register_dataclass

from hsd_jax.divergence import IMPOSSIBLE, log_probs

Array = jax.Array
PyTree = Any
Stats = dict[str, Array]
TokenLoss = Callable[[tuple[Array, ...], PyTree], tuple[Array, Stats]]


@register_dataclass
@dataclass(frozen=True)
class Stream:
    """What one set of weights makes of every token: hidden states after the last norm, and the head they meet."""

    hidden_ND: Array
    head_DV: Array


@dataclass(frozen=True)
class LossSharding:
    """How tokens and vocabulary are split over chips and chunks; the default is one chip. `over_mesh` makes the others.

    `chunk` of each chip's tokens meet the vocabulary at once: a chip holds [chunk, V] logits, however many chips.

    `constrain(x, spec)` pins an array to a layout; `tokens` and `vocab` are entries of such a layout, `*_shards` the
    number of parts. A head comes from the parameters' places, and its gradient returns, by way of the layout `halfway`.
    The compiler adds the exchanges: of hidden states chunk by chunk, and of max and sum of a softmax.
    """

    chunk: int = 1024
    tokens: tuple[str, ...] = ()
    vocab: tuple[str, ...] = ()
    via: P = P()
    token_shards: int = 1
    vocab_shards: int = 1
    constrain: Callable[[Array, P], Array] = lambda x, spec: x


ONE_CHIP = LossSharding()


def over_mesh(mesh: Mesh, *, chunk: int = 1024, tokens: tuple[str, ...] = ("data", "fsdp")) -> LossSharding:
    """The vocabulary over ALL chips of a mesh, tokens over the axes that hold rows.

    First over `tensor`, as the parameters have it, then over `data`, which holds copies: all that is left is to change
    places within groups of `fsdp`. In another order, or at one go, every chip would hold the whole head on the way.
    """
    vocab = ("tensor", "data", "fsdp")
    token_shards = 1
    for axis in tokens:
        token_shards *= mesh.shape[axis]

    def constrain(x: Array, spec: P) -> Array:
        return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, spec))

    return LossSharding(chunk, tokens, vocab, P("fsdp", vocab[:2]), token_shards, mesh.size, constrain)


def fused_token_loss(
    token_loss: TokenLoss,
    student: Stream,
    frozen: tuple[Stream, ...],
    token: PyTree,
    weights_N: Array,
    spread: LossSharding = ONE_CHIP,
) -> tuple[Array, Stats]:
    """Σ_n weights_n · loss_n and the per-token stats [N] (no gradient flows through these), `loss` among them.

    Differentiable in the student's hidden states and head, and in nothing else: frozen streams, `token` and weights
    are constants. Logits, log-softmax, loss and the head's gradient are float32; the products take the hidden
    states' dtype and accumulate in float32. Results do not depend on `spread`. `token_loss`
    must not close over traced arrays: pass those in `token`.
    Raises: ValueError where N differs between arguments, or tokens do not divide over the chips.
    """
    count = len(weights_N)
    for name, leaf in jax.tree.leaves_with_path(([s.hidden_ND for s in (student, *frozen)], token)):
        if leaf.shape[:1] != (count,):
            raise ValueError(f"fused_token_loss: weights_N has {count} tokens but {name} has shape {leaf.shape}")
    if count % spread.token_shards:
        raise ValueError(f"fused_token_loss: {count} tokens do not divide over {spread.token_shards} parts of the mesh")
    constants: Any = jax.lax.stop_gradient((frozen, token, weights_N))
    result: Any = _loss(token_loss, spread, student, *constants)
    return result[0], jax.lax.stop_gradient(result[1])


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _loss(
    token_loss: TokenLoss, spread: LossSharding, student: Stream, frozen: tuple[Stream, ...], token: PyTree,
    weights_N: Array,
) -> tuple[Array, Stats]:  # fmt: skip
    def body(heads: tuple[Array, ...], total: Array, part: tuple[Any, ...]) -> tuple[Array, Any]:
        hidden, token_C, weights_C = part
        logps = tuple(log_probs(_logits(spread, h, w, vocab)) for h, w in zip(hidden, heads, strict=True))
        loss_C, stats = token_loss(logps, token_C)
        return total + jnp.sum(weights_C * loss_C), {**stats, "loss": loss_C}

    vocab = student.head_DV.shape[1]
    heads = tuple(_head(spread, s) for s in (student, *frozen))
    parts = _chunks(spread, (_hiddens(student, frozen), token, weights_N))
    total, stats = jax.lax.scan(partial(body, heads), jnp.zeros((), jnp.float32), parts)
    return total, _whole(spread, len(weights_N), stats)


def _loss_and_gradient(
    token_loss: TokenLoss, spread: LossSharding, student: Stream, frozen: tuple[Stream, ...], token: PyTree,
    weights_N: Array,
) -> tuple[tuple[Array, Stats], tuple[Array, Array]]:  # fmt: skip
    vocab = student.head_DV.shape[1]
    head_DV, frozen_heads = _head(spread, student), [_head(spread, s) for s in frozen]

    def body(carry: tuple[Array, Array], part: tuple[Any, ...]) -> tuple[tuple[Array, Array], Any]:
        (hidden_CD, *frozen_hidden), token_C, weights_C = part
        teachers = tuple(
            log_probs(_logits(spread, h, w, vocab)) for h, w in zip(frozen_hidden, frozen_heads, strict=True)
        )

        def objective(logits_CV: Array) -> tuple[Array, Stats]:
            loss_C, stats = token_loss((log_probs(logits_CV), *teachers), token_C)
            return jnp.sum(weights_C * loss_C), {**stats, "loss": loss_C}

        logits_CV = _logits(spread, hidden_CD, head_DV, vocab)
        (loss, stats), slope_CV = jax.value_and_grad(objective, has_aux=True)(logits_CV)
        # the products take the compute dtype: float32 operands would leave the matrix unit's fast path
        slope_CV = spread.constrain(slope_CV.astype(hidden_CD.dtype), P(None, spread.vocab))
        grad_CD = jnp.einsum("cv,dv->cd", slope_CV, head_DV, preferred_element_type=jnp.float32)
        grad_CD = spread.constrain(grad_CD, P(spread.tokens, None)).astype(hidden_CD.dtype)
        grad_DV = carry[1] + jnp.einsum("cd,cv->dv", hidden_CD, slope_CV, preferred_element_type=jnp.float32)
        return (carry[0] + loss, spread.constrain(grad_DV, P(None, spread.vocab))), (grad_CD, stats)

    parts = _chunks(spread, (_hiddens(student, frozen), token, weights_N))
    start = jnp.zeros((), jnp.float32), jnp.zeros(head_DV.shape, jnp.float32)
    (total, grad_DV), (grad_CD, stats) = jax.lax.scan(body, start, parts)
    grad_ND, stats = _whole(spread, len(weights_N), (grad_CD, stats))
    grad_DV = spread.constrain(grad_DV, spread.via)[:, :vocab]
    return (total, stats), (grad_ND, grad_DV.astype(student.head_DV.dtype))


def _scaled_gradient(
    token_loss: TokenLoss,
    spread: LossSharding,
    gradient: tuple[Array, Array],
    cotangent: tuple[Array, Stats],
) -> tuple[Stream, None, None, None]:
    grads = [(cotangent[0] * g).astype(g.dtype) for g in gradient]
    return Stream(*grads), None, None, None


_loss.defvjp(_loss_and_gradient, _scaled_gradient)


def _hiddens(student: Stream, frozen: tuple[Stream, ...]) -> tuple[Array, ...]:
    return tuple(s.hidden_ND for s in (student, *frozen))


def _head(spread: LossSharding, stream: Stream) -> Array:
    """The head in the compute dtype, its vocabulary padded to the chips and spread over them.

    Padded in its stored sharding: that moves the shard boundaries, by few columns between neighbors, and must not be
    mixed with the exchange that follows.
    """
    head_DV = stream.head_DV.astype(stream.hidden_ND.dtype)
    padding = -head_DV.shape[1] % spread.vocab_shards
    head_DV = spread.constrain(jnp.pad(head_DV, ((0, 0), (0, padding))), spread.via)
    return spread.constrain(head_DV, P(None, spread.vocab))


def _logits(spread: LossSharding, hidden_CD: Array, head_DV: Array, vocab: int) -> Array:
    """Float32 logits of one chunk; what pads the vocabulary is impossible in every stream, so it counts nowhere."""
    hidden_CD = spread.constrain(hidden_CD, P(None, None))
    logits_CV = jnp.einsum("cd,dv->cv", hidden_CD, head_DV, preferred_element_type=jnp.float32)
    padded = jnp.arange(head_DV.shape[1]) >= vocab
    return spread.constrain(jnp.where(padded[None, :], IMPOSSIBLE, logits_CV), P(None, spread.vocab))


def _chunks(spread: LossSharding, arrays: PyTree) -> PyTree:
    """[N, ..] -> [chunks, tokens of a chunk, ..]: each holds `chunk` tokens of every chip, zeros fill the last one."""
    shards, chunk = spread.token_shards, spread.chunk

    def split(x: Array) -> Array:
        x = x.reshape(shards, -1, *x.shape[1:])
        x = jnp.pad(x, [(0, 0), (0, -x.shape[1] % chunk)] + [(0, 0)] * (x.ndim - 2))
        x = jnp.swapaxes(x.reshape(shards, -1, chunk, *x.shape[2:]), 0, 1)
        return spread.constrain(x.reshape(-1, shards * chunk, *x.shape[3:]), P(None, spread.tokens))

    return jax.tree.map(split, arrays)


def _whole(spread: LossSharding, count: int, arrays: PyTree) -> PyTree:
    """The inverse of `_chunks`: [chunks, chunk, ..] -> [N, ..]."""
    shards = spread.token_shards

    def join(x: Array) -> Array:
        x = jnp.swapaxes(x.reshape(x.shape[0], shards, -1, *x.shape[2:]), 0, 1)
        x = x.reshape(shards, -1, *x.shape[3:])[:, : count // shards]
        return spread.constrain(x.reshape(count, *x.shape[2:]), P(spread.tokens))

    return jax.tree.map(join, arrays)
