"""What is logged about a token, from the same log-probabilities as its loss; no gradient flows from it."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax

from hsd_jax.divergence import entropy_logp, expect, forward_kl_logp, pick
from hsd_jax.losses import Others, TokenInputs, TokenLoss
from hsd_jax.types import Array

ALTERNATIVES = 3


def with_stats(
    loss: TokenLoss, names: tuple[str, ...]
) -> Callable[[tuple[Array, ...], TokenInputs], tuple[Array, dict[str, Array]]]:
    """A token loss in the form of `fused_loss`: (log-probabilities of student and streams, token) -> (loss, stats)."""

    def chunk_loss(logps: tuple[Array, ...], token: TokenInputs) -> tuple[Array, dict[str, Array]]:
        student, others = logps[0], dict(zip(names, logps[1:], strict=True))
        return loss(student, others, token), stats_of(lax.stop_gradient(student), others, token)

    return chunk_loss


def stats_of(student: Array, others: Others, token: TokenInputs) -> dict[str, Array]:
    """Log-probabilities, entropies, divergences, likeliest tokens; `credit` is A_t of arXiv:2606.15576, Eq. 2."""
    seen = {"student_logprob": pick(student, token.id), "student_entropy": entropy_logp(student)}
    seen |= likeliest(student, "student")
    if "teacher" in others:
        teacher_logprob = pick(others["teacher"], token.id)
        seen |= {
            "teacher_logprob": teacher_logprob,
            "teacher_entropy": entropy_logp(others["teacher"]),
            "credit": teacher_logprob - seen["student_logprob"],
            "kl": forward_kl_logp(student, others["teacher"]),
        }
        seen |= likeliest(others["teacher"], "teacher")
    if "reference" in others:
        seen["kl_reference"] = expect(student, student - others["reference"])
    return seen


def sampled_logprob(logps: tuple[Array, ...], ids: Array) -> tuple[Array, dict[str, Array]]:
    """No loss, only log p(o_t): what ratios need beforehand."""
    return jnp.zeros(ids.shape), {"logprob": pick(logps[0], ids)}


def likeliest(logp: Array, who: str) -> dict[str, Array]:
    """The ids and probabilities of the likeliest tokens [C, 3]; of equally likely ones the first.

    By plain maxima and minima: where the vocabulary is spread over chips, each reduces its own part and only [C]
    numbers are exchanged. An argmax or a sort would move the vocabulary itself.
    """
    ids_CV = lax.broadcasted_iota(jnp.int32, logp.shape, 1)
    last, ids, probs = logp.shape[-1] - 1, [], []
    for _ in range(ALTERNATIVES):
        top = jnp.max(logp, axis=-1)
        best = jnp.min(jnp.where(logp < top[:, None], last, ids_CV), axis=-1)
        ids.append(best)
        probs.append(jnp.exp(top))
        logp = jnp.where(ids_CV == best[:, None], -jnp.inf, logp)
    return {f"top_ids_{who}": jnp.stack(ids, axis=-1), f"top_probs_{who}": jnp.stack(probs, axis=-1)}
