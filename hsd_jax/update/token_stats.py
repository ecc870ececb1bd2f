"""What is logged about a token, from the same log-probabilities as its loss; no gradient flows from it."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax

from hsd_jax.divergence import entropy_logp, expect, forward_kl_logp, pick
from hsd_jax.losses import Others, TokenInputs, TokenLoss, is_likeliest, share_on
from hsd_jax.types import Array

ALTERNATIVES = 3


def with_stats(
    loss: TokenLoss, names: tuple[str, ...], overlap: int = 0
) -> Callable[[tuple[Array, ...], TokenInputs], tuple[Array, dict[str, Array]]]:
    """A token loss in the form of `fused_loss`: (log-probabilities of student and streams, token) -> (loss, stats)."""

    def chunk_loss(logps: tuple[Array, ...], token: TokenInputs) -> tuple[Array, dict[str, Array]]:
        student, others = logps[0], dict(zip(names, logps[1:], strict=True))
        fixed = lax.stop_gradient(student)
        seen = overlap_of(fixed, others["teacher"], overlap) if overlap and "teacher" in others else {}
        return loss(student, others, token), stats_of(fixed, others, token) | seen

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


def overlap_of(student: Array, teacher: Array, k: int) -> dict[str, Array]:
    """How far the k likeliest tokens O of student and teacher are the same ones, and what is on them.

    |O| / k; p_S(O); |H_T - H_S|; mean over O of w_S (log w_T - log w_S), w renormalized on O. Source: arXiv:2604.13016.
    """
    both = is_likeliest(student, k) & is_likeliest(teacher, k)
    count = jnp.sum(both, axis=-1)
    own, taught = share_on(both, student), share_on(both, teacher)
    gain = jnp.where(both, own * (jnp.log(jnp.maximum(taught, 1e-30)) - jnp.log(jnp.maximum(own, 1e-30))), 0.0)
    return {
        "overlap": count / min(k, student.shape[-1]),
        "overlap_mass": jnp.sum(jnp.where(both, jnp.exp(student), 0.0), axis=-1),
        "entropy_gap": jnp.abs(entropy_logp(teacher) - entropy_logp(student)),
        "overlap_gain": jnp.sum(gain, axis=-1) / jnp.maximum(count, 1),
    }


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
