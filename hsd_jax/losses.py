"""What is minimized at a token: plain functions on log-probabilities, one chunk of tokens at a time.

A token loss is `(student_logp_CV, others, token) -> loss_C`: `others` holds the log-probabilities [C, V] of the frozen
streams ("teacher", "anchor", "reference"), `token` the per-token arrays [C] of `Token`; C counts the tokens of a chunk.
Group and batch statistics never appear: they were computed before and live in `token` and in the weights.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jax import lax
from jax.tree_util import register_dataclass

from hsd_jax.divergence import forward_kl_logp, jsd_logp, pick, reverse_kl_logp
from hsd_jax.types import Array

Others = Mapping[str, Array]
Divergence = Callable[[Array, Array], Array]


@register_dataclass
@dataclass(frozen=True)
class TokenInputs:
    """What is known about each token before its loss: its id, whether and how strongly it gets credit.

    `distill` is 1 where the rollout is distilled, else 0; `advantage` is that of its rollout; `old_logprob` is the
    log-probability of the id under the policy that ratios are taken to, None where that is the student as it is here;
    `log_ratio` is the log of its rollout's ratio (0 unless the method weighs whole rollouts, see `advantages`);
    `strength` is the method's schedule; `reward` is its rollout's; `share` is what the method makes beforehand of
    statistics of the whole rollout (`shares`), by name; empty where it makes nothing; `further`
    is 1 at the tokens of rows that nobody sampled, None where there are no such rows.
    """

    id: Array
    distill: Array
    advantage: Array
    old_logprob: Array | None
    log_ratio: Array
    strength: Array
    reward: Array
    further: Array | None = None
    share: Mapping[str, Array] = field(default_factory=dict)


TokenLoss = Callable[[Array, Others, TokenInputs], Array]
AdvantageAt = Callable[[Array, Others, TokenInputs], Array]


@dataclass(frozen=True)
class Shares:
    """What is noted at every token, and what tokens count for by it in their whole rollout (`shares`)."""

    note: Callable[[Array, Others, Array], dict[str, Array]]
    make: Callable[[Mapping[str, Array], Array], dict[str, Array]]


def ratio_to_old(logprob: Array, token: TokenInputs) -> Array:
    """p / p_old at the sampled id: exactly 1, with the gradient of log p, where the student itself is p_old."""
    old = lax.stop_gradient(logprob) if token.old_logprob is None else token.old_logprob
    return jnp.exp(logprob - old)


# --- distillation


def distillation(divergence: Divergence) -> TokenLoss:
    """divergence(student, teacher) where the token is distilled. Source: arXiv:2606.15576, Eq. 10."""
    return lambda student, others, token: token.distill * divergence(student, others["teacher"])


forward = distillation(forward_kl_logp)


def sampled_reverse(student: Array, others: Others, token: TokenInputs) -> Array:
    """sg(log p_S(o) - log p_T(o)) * log p_S(o): the one-sample estimate of the gradient of KL(student || teacher).

    It cannot estimate the paper's Eq. 13, whose expectation is under the teacher while o comes from the student.
    """
    logprob = pick(student, token.id)
    return token.distill * lax.stop_gradient(logprob - pick(others["teacher"], token.id)) * logprob


def top_k_with_tail(divergence: Divergence, k: int) -> Divergence:
    """A divergence on the student's k likeliest tokens and one bucket for all others. Source: arXiv:2601.20802."""

    def truncated(student: Array, teacher: Array) -> Array:
        _, ids = lax.top_k(lax.stop_gradient(student), min(k, student.shape[-1] - 1))
        return divergence(*(_with_tail(jnp.take_along_axis(logp, ids, axis=-1)) for logp in (student, teacher)))

    return truncated


def on_likeliest(divergence: Divergence, k: int, whose: str) -> Divergence:
    """A divergence on the k likeliest tokens of "student" or "teacher" alone, both sides renormalized.

    Source: arXiv:2606.19327 (teacher), arXiv:2605.09725 (both).
    """

    def truncated(student: Array, teacher: Array) -> Array:
        _, ids = lax.top_k(lax.stop_gradient(student) if whose == "student" else teacher, min(k, student.shape[-1]))
        return divergence(
            *(jax.nn.log_softmax(jnp.take_along_axis(logp, ids, axis=-1), axis=-1) for logp in (student, teacher))
        )

    return truncated


SUPPORTS: dict[str, Callable[[Array, Array], Array]] = {
    "student": lambda of_student, of_teacher: of_student,
    "teacher": lambda of_student, of_teacher: of_teacher,
    "intersection": jnp.logical_and,
    "union": jnp.logical_or,
    "difference": jnp.logical_xor,
}


def on_support(support: str, k: int) -> TokenLoss:
    """sum_S sg(w(v) (log p_S(v) - log p_T(v))) log p_S(v), w = p_S over its sum on S; S of the k likeliest of either.

    Source: arXiv:2604.13016, released code, at ratios of 1, where its clips have no effect.
    """

    def loss(student: Array, others: Others, token: TokenInputs) -> Array:
        teacher, fixed = others["teacher"], lax.stop_gradient(student)
        kept = SUPPORTS[support](is_likeliest(fixed, k), is_likeliest(teacher, k))
        weight = share_on(kept, fixed)
        return token.distill * jnp.sum(jnp.where(kept, weight * (fixed - teacher) * student, 0.0), axis=-1)

    return loss


def is_likeliest(logp: Array, k: int) -> Array:
    """Which entries are among the k highest along the last axis; all that equal the last of them are."""
    best, _ = lax.top_k(logp, min(k, logp.shape[-1]))
    return logp >= best[..., -1:]


def share_on(kept: Array, logp: Array) -> Array:
    """exp(logp) over its sum on the kept entries; 0 elsewhere."""
    probs = jnp.where(kept, jnp.exp(logp), 0.0)
    return probs / jnp.maximum(jnp.sum(probs, axis=-1, keepdims=True), 1e-30)


def _with_tail(logp: Array) -> Array:
    kept = jnp.minimum(jax.nn.logsumexp(logp, axis=-1, keepdims=True), -1e-7)
    return jnp.concatenate([logp, jnp.log(-jnp.expm1(kept))], axis=-1)


def tempered(divergence: Divergence, temperature: float) -> Divergence:
    """A divergence between both distributions at another temperature, without a factor T^2."""
    return lambda student, teacher: divergence(
        *(jax.nn.log_softmax(logp / temperature, axis=-1) for logp in (student, teacher))
    )


def pointwise_clipped_kl(limit: float) -> Divergence:
    """sum_v min(p_T (log p_T - log p_S), limit): every entry is cut, so the sum may be negative.

    Source: arXiv:2601.18734, released code (v3).
    """

    def clipped(student: Array, teacher: Array) -> Array:
        return jnp.sum(jnp.minimum(jnp.exp(teacher) * (teacher - student), limit), axis=-1)

    return clipped


def token_clipped(divergence: Divergence, limit: float) -> Divergence:
    """min(divergence, limit): a clipped token has no gradient at all."""
    return lambda student, teacher: jnp.minimum(divergence(student, teacher), limit)


def mixture_kl(limit: float, slope: float) -> TokenLoss:
    """(1 - a) KL(S || T) + a KL(S || R), a = 2 limit (sigmoid(slope JSD(R, T)) - 1/2); R: no context.

    It equals the KL to the mixture T^(1-a) R^a up to a constant. Times min(exp(log p - log p_old), 2).
    Source: arXiv:2607.02502.
    """

    def loss(student: Array, others: Others, token: TokenInputs) -> Array:
        teacher, anchor = others["teacher"], others["anchor"]
        share = 2 * limit * (jax.nn.sigmoid(slope * jsd_logp(anchor, teacher, 0.5)) - 0.5)
        pulled = (1 - share) * reverse_kl_logp(student, teacher) + share * reverse_kl_logp(student, anchor)
        return token.distill * importance(student, token) * pulled

    return loss


def with_importance(loss: TokenLoss) -> TokenLoss:
    """A token loss times the clipped importance ratio of its token. Source: arXiv:2601.20802, released code."""
    return lambda student, others, token: importance(student, token) * loss(student, others, token)


def with_rollout_importance(loss: TokenLoss) -> TokenLoss:
    """A token loss times the ratio of its rollout. Source: arXiv:2601.19897, released code."""
    return lambda student, others, token: jnp.exp(token.log_ratio) * loss(student, others, token)


def importance(student: Array, token: TokenInputs, limit: float = 2.0) -> Array:
    """sg(min(p / p_old, 2)) at the sampled id."""
    return lax.stop_gradient(jnp.minimum(ratio_to_old(pick(student, token.id), token), limit))


# --- policy gradients


def rollout_advantage(logprob: Array, others: Others, token: TokenInputs) -> Array:
    """A of the rollout, the same at all its tokens."""
    return token.advantage


def policy_gradient(clip_low: float, clip_high: float, advantage: AdvantageAt = rollout_advantage) -> TokenLoss:
    """-min(r A, clip(r, 1 - low, 1 + high) A) with r = p / p_old at the token. Source: arXiv:2402.03300, Eq. 3.

    `advantage(sg(log p), others, token)` is A at every token.
    """

    def loss(student: Array, others: Others, token: TokenInputs) -> Array:
        logprob = pick(student, token.id)
        advantage_C = advantage(lax.stop_gradient(logprob), others, token)
        return _clipped(ratio_to_old(logprob, token), advantage_C, clip_low, clip_high)

    return loss


def sequence_policy_gradient(clip_low: float, clip_high: float) -> TokenLoss:
    """The same with the rollout's ratio s_i = exp(mean log r), its gradient spread over the tokens.

    Source: arXiv:2507.18071, GSPO-token.
    """

    def loss(student: Array, others: Others, token: TokenInputs) -> Array:
        logprob = pick(student, token.id)
        ratio = jnp.exp(token.log_ratio + logprob - lax.stop_gradient(logprob))
        return _clipped(ratio, token.advantage, clip_low, clip_high)

    return loss


def teacher_reweighted_advantage(sign: float, width: float) -> AdvantageAt:
    """A [(1 - l) + l clip(exp(sign * sgn(A) * D), 1 - width, 1 + width)], D = log p_T(o) - log p_S(o).

    l is the schedule's strength where the rollout is distilled, else 0. Sign +1 favors what the teacher favors.
    Source: arXiv:2604.03128 (+1), arXiv:2605.10781 (-1).
    """

    def advantage(logprob: Array, others: Others, token: TokenInputs) -> Array:
        difference = pick(others["teacher"], token.id) - logprob
        weight = jnp.clip(jnp.exp(sign * jnp.sign(token.advantage) * difference), 1 - width, 1 + width)
        share = token.strength * token.distill
        return token.advantage * (1 - share + share * weight)

    return advantage


def antisd_advantage(logprob: Array, others: Others, token: TokenInputs) -> Array:
    """A - l (softplus(u) - log 2) / 2, u = log p_T(o) - log p_S(o): ascends the JSD. Source: arXiv:2605.11609."""
    bonus = 0.5 * (jax.nn.softplus(pick(others["teacher"], token.id) - logprob) - jnp.log(2.0))
    return token.advantage - token.strength * token.distill * bonus


def _clipped(ratio: Array, advantage: Array, low: float, high: float) -> Array:
    return -jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - low, 1 + high) * advantage)


# --- KL to the reference


def full_kl(student: Array, others: Others, token: TokenInputs) -> Array:
    """KL(student || reference), exact over the vocabulary. Source: arXiv:2606.15576, Omega of Eq. 13."""
    return reverse_kl_logp(student, others["reference"])


def k1(student: Array, others: Others, token: TokenInputs) -> Array:
    """log p - log p_ref at the sampled id: unbiased as a value, but its gradient vanishes in expectation."""
    return -_log_ratio(student, others, token)


def k2(student: Array, others: Others, token: TokenInputs) -> Array:
    """(log p - log p_ref)^2 / 2: on policy, its gradient is that of KL(student || reference)."""
    return 0.5 * jnp.square(_log_ratio(student, others, token))


def k3(student: Array, others: Others, token: TokenInputs) -> Array:
    """exp(d) - d - 1 with d = log p_ref - log p: what common trainers run; its gradient is that of KL(ref || p)."""
    difference = _log_ratio(student, others, token)
    return jnp.exp(difference) - difference - 1


def _log_ratio(student: Array, others: Others, token: TokenInputs) -> Array:
    return pick(others["reference"], token.id) - pick(student, token.id)


# --- rows that nobody sampled


def cross_entropy(student: Array, others: Others, token: TokenInputs) -> Array:
    """-log p_S at the token of the row: supervised learning."""
    return -pick(student, token.id)


# --- putting them together


def apart(loss: TokenLoss, further: TokenLoss) -> TokenLoss:
    """A token loss, and another one on rows that nobody sampled."""

    def either(student: Array, others: Others, token: TokenInputs) -> Array:
        assert token.further is not None
        return jnp.where(token.further > 0, further(student, others, token), loss(student, others, token))

    return either


def weighted(terms: tuple[tuple[float, TokenLoss], ...]) -> TokenLoss:
    """The sum of token losses with fixed weights."""
    return lambda student, others, token: sum(
        (weight * loss(student, others, token) for weight, loss in terms), start=jnp.zeros_like(token.advantage)
    )
