"""What is minimised at a token: plain functions on log-probabilities, one chunk of tokens at a time.

A token loss is `(student_logp_CV, others, token) -> loss_C`: `others` holds the log-probabilities [C, V] of the frozen
streams ("teacher", "reference"), `token` the per-token arrays [C] of `Token`. Here C counts the tokens of a chunk.
Group and batch statistics never appear: they were computed before and live in `token` and in the weights.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax.numpy as jnp
from jax import lax
from jax.tree_util import register_dataclass

from hsd_jax.divergence import entropy_logp, expect, forward_kl_logp, pick, reverse_kl_logp
from hsd_jax.types import Array

Others = Mapping[str, Array]
Divergence = Callable[[Array, Array], Array]


@register_dataclass
@dataclass(frozen=True)
class Token:
    """What is known about each token before its loss: its id, whether and how strongly it gets credit.

    `distill` is the weight of distillation at the token (0: left out), `advantage` that of its rollout, `old_logprob`
    the log-probability of the id under the policy that sampled it.
    """

    id: Array
    distill: Array
    advantage: Array
    old_logprob: Array


TokenLoss = Callable[[Array, Others, Token], Array]


def distillation(divergence: Divergence) -> TokenLoss:
    """divergence(student, teacher) where the token is distilled. Source: arXiv:2606.15576, Eq. 10."""
    return lambda student, others, token: token.distill * divergence(student, others["teacher"])


forward = distillation(forward_kl_logp)


def sampled_reverse(student: Array, others: Others, token: Token) -> Array:
    """sg(log p_S(o) - log p_T(o)) * log p_S(o): the one-sample estimate of the gradient of KL(student || teacher).

    It cannot estimate the paper's Eq. 13, whose expectation is under the teacher while o comes from the student.
    """
    logprob = pick(student, token.id)
    return token.distill * lax.stop_gradient(logprob - pick(others["teacher"], token.id)) * logprob


def policy_gradient(clip_low: float, clip_high: float) -> TokenLoss:
    """-min(r A, clip(r, 1 - low, 1 + high) A) with r = exp(log p - log p_old). Source: arXiv:2402.03300, Eq. 3."""

    def loss(student: Array, others: Others, token: Token) -> Array:
        ratio = jnp.exp(pick(student, token.id) - token.old_logprob)
        clipped = jnp.clip(ratio, 1 - clip_low, 1 + clip_high)
        return -jnp.minimum(ratio * token.advantage, clipped * token.advantage)

    return loss


def full_kl(student: Array, others: Others, token: Token) -> Array:
    """KL(student || reference), exact over the vocabulary. Source: arXiv:2606.15576, Omega of Eq. 13."""
    return reverse_kl_logp(student, others["reference"])


def k1(student: Array, others: Others, token: Token) -> Array:
    """log p - log p_ref at the sampled id: unbiased as a value, but its gradient vanishes in expectation."""
    return -_log_ratio(student, others, token)


def k2(student: Array, others: Others, token: Token) -> Array:
    """(log p - log p_ref)^2 / 2: on policy, its gradient is that of KL(student || reference)."""
    return 0.5 * jnp.square(_log_ratio(student, others, token))


def k3(student: Array, others: Others, token: Token) -> Array:
    """exp(d) - d - 1 with d = log p_ref - log p: what common trainers run; its gradient is that of KL(ref || p)."""
    difference = _log_ratio(student, others, token)
    return jnp.exp(difference) - difference - 1


def _log_ratio(student: Array, others: Others, token: Token) -> Array:
    return pick(others["reference"], token.id) - pick(student, token.id)


def weighted(terms: tuple[tuple[float, TokenLoss], ...]) -> TokenLoss:
    """The sum of token losses with fixed weights."""
    return lambda student, others, token: sum(
        (weight * loss(student, others, token) for weight, loss in terms), start=jnp.zeros_like(token.advantage)
    )


def with_diagnostics(
    loss: TokenLoss, names: tuple[str, ...]
) -> Callable[[tuple[Array, ...], Token], tuple[Array, dict[str, Array]]]:
    """A token loss in the form of `fused_loss`: (log-probabilities of student and streams, token) -> (loss, stats)."""

    def chunk_loss(logps: tuple[Array, ...], token: Token) -> tuple[Array, dict[str, Array]]:
        student, others = logps[0], dict(zip(names, logps[1:], strict=True))
        return loss(student, others, token), diagnostics(student, others, token)

    return chunk_loss


def diagnostics(student: Array, others: Others, token: Token) -> dict[str, Array]:
    """What is logged about a token; no gradient flows from it. `credit` is A_t of arXiv:2606.15576, Eq. 2."""
    student = lax.stop_gradient(student)
    seen = {"student_logprob": pick(student, token.id), "student_entropy": entropy_logp(student)}
    seen |= likeliest(student, "student")
    if "teacher" in others:
        seen |= likeliest(others["teacher"], "teacher")
        teacher_logprob = pick(others["teacher"], token.id)
        seen |= {
            "teacher_logprob": teacher_logprob,
            "teacher_entropy": entropy_logp(others["teacher"]),
            "credit": teacher_logprob - seen["student_logprob"],
            "kl": forward_kl_logp(student, others["teacher"]),
        }
    if "reference" in others:
        seen["kl_reference"] = expect(student, student - others["reference"])
    return seen


def likeliest(logp: Array, who: str, count: int = 3) -> dict[str, Array]:
    """The ids and probabilities of the `count` likeliest tokens [C, count], by repeated argmax: no sort of V."""
    ids, probs = [], []
    for _ in range(count):
        best = jnp.argmax(logp, axis=-1)
        ids.append(best)
        probs.append(jnp.exp(jnp.max(logp, axis=-1)))
        logp = jnp.where(jnp.arange(logp.shape[-1])[None, :] == best[:, None], -jnp.inf, logp)
    return {f"top_ids_{who}": jnp.stack(ids, axis=-1), f"top_probs_{who}": jnp.stack(probs, axis=-1)}
