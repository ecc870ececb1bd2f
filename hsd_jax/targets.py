"""Losses whose target, or whose advantage, is made of more than one view."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from hsd_jax.divergence import IMPOSSIBLE, entropy_logp, jsd_logp, pick, reverse_kl_logp
from hsd_jax.losses import AdvantageAt, Others, TokenInputs, TokenLoss
from hsd_jax.types import SUCCESS, Array


def purified(alpha: float, limit: float, beta: float) -> TokenLoss:
    """JSD(student, target); target = softmax(log anchor + limit tanh(d / limit) / beta), d = log teacher - log blind.

    "blind" reads the reference without the question, "anchor" the question without the reference. d is centered over
    the vocabulary. Source: arXiv:2607.02234.
    """

    def loss(student: Array, others: Others, token: TokenInputs) -> Array:
        real = others["anchor"] > IMPOSSIBLE / 2  # what pads the vocabulary for more chips must not count
        gain = jnp.where(real, others["teacher"] - others["blind"], 0.0)
        gain = gain - jnp.sum(gain, axis=-1, keepdims=True) / jnp.sum(real, axis=-1, keepdims=True)
        target = jax.nn.log_softmax(others["anchor"] + limit * jnp.tanh(gain / limit) / beta, axis=-1)
        return token.distill * jsd_logp(student, jnp.maximum(target, IMPOSSIBLE), alpha)

    return loss


def sampled_reverse_with_baseline(student: Array, others: Others, token: TokenInputs) -> Array:
    """-sg(log p_T(o) - log p_S(o) + KL(S || T)) log p_S(o): `sampled_reverse` with less variance, and the same mean.

    Source: arXiv:2605.07865.
    """
    logprob = pick(student, token.id)
    gain = pick(others["teacher"], token.id) - logprob + reverse_kl_logp(student, others["teacher"])
    return -token.distill * lax.stop_gradient(gain) * logprob


def routed(policy: TokenLoss, divergence: TokenLoss) -> TokenLoss:
    """Distillation, times the share "weight", where a token is distilled; the policy gradient elsewhere.

    Source: arXiv:2604.02288.
    """

    def loss(student: Array, others: Others, token: TokenInputs) -> Array:
        taught = shared(divergence)(student, others, token)
        return (1 - token.distill) * policy(student, others, token) + taught

    return loss


def shared(loss: TokenLoss) -> TokenLoss:
    """A token loss times the share "weight"."""
    return lambda student, others, token: token.share.get("weight", 1.0) * loss(student, others, token)


def polarized_gaps(views: tuple[str, ...], temperature: float) -> TokenLoss:
    """mean_k s_k (2 R - 1) (log 2 - softplus(-d_k^2 / (2 temperature))), d_k = log p_Tk(o) - log p_S(o), R 0 or 1.

    s_k is the share of view k (`shares.polarity`): a teacher that favors a success or disfavors a failure pulls, one
    that does the opposite pushes. Source: arXiv:2605.28791, released code.
    """

    def loss(student: Array, others: Others, token: TokenInputs) -> Array:
        logprob, outcome = pick(student, token.id), jnp.where(token.reward > SUCCESS, 1.0, -1.0)
        gaps = [(token.share[name], pick(others[name], token.id) - logprob) for name in views]
        bounded = [sign * (jnp.log(2.0) - jax.nn.softplus(-(gap**2) / (2 * temperature))) for sign, gap in gaps]
        return token.distill * outcome * sum(bounded, start=jnp.zeros_like(logprob)) / len(views)

    return loss


def trust_region(alpha: float, loss: Callable[[Array, Array], Array]) -> TokenLoss:
    """A divergence to softmax((1 - alpha) log "still" + alpha log "teacher"): a moving teacher held near a still one.

    Source: arXiv:2601.20802 (the alternative to its moving average).
    """

    def held(student: Array, others: Others, token: TokenInputs) -> Array:
        mixed = jax.nn.log_softmax((1 - alpha) * others["still"] + alpha * others["teacher"], axis=-1)
        return token.distill * loss(student, jnp.maximum(mixed, IMPOSSIBLE))

    return held


def evidence(others: Others, token: TokenInputs) -> Array:
    """log p(o) after the right hint minus log p(o) after the wrong one, in the same words."""
    return pick(others["teacher"], token.id) - pick(others["wrong"], token.id)


def without_change_of_sign(advantage: Array, changed: Array) -> Array:
    """The changed advantage where it keeps the sign of the first one, else 0; 0 where the first one is 0."""
    return jnp.where(advantage > 0, jnp.maximum(changed, 0.0), jnp.where(advantage < 0, jnp.minimum(changed, 0.0), 0.0))


def added_evidence(scale: float, limit: float) -> AdvantageAt:
    """A + scale clip(e, limit), never of the other sign; in groups without a success scale clip(e, limit) alone.

    Source: arXiv:2609.36742, released code.
    """

    def advantage(logprob: Array, others: Others, token: TokenInputs) -> Array:
        bonus = scale * token.distill * jnp.clip(evidence(others, token), -limit, limit)
        alone = (token.advantage == 0) & (token.reward < 0.5)
        return jnp.where(alone, bonus, without_change_of_sign(token.advantage, token.advantage + bonus))

    return advantage


def selected_evidence(scale: float, temperature: float, least: float) -> AdvantageAt:
    """A + r, r = scale tanh(e / temperature), never of the other sign, at tokens where abs(r) > least; A elsewhere.

    Source: arXiv:2606.11709, released code.
    """

    def advantage(logprob: Array, others: Others, token: TokenInputs) -> Array:
        bonus = scale * token.distill * jnp.tanh(evidence(others, token) / temperature)
        changed = without_change_of_sign(token.advantage, token.advantage + bonus)
        return jnp.where(jnp.abs(bonus) > least, changed, token.advantage)

    return advantage


def gated_by_entropy(width: float, floor: float) -> AdvantageAt:
    """A w g, w = clip(exp(sgn(A) D), 1 - width, 1 + width), g = floor + (1 - floor)(1 - H_T / log V).

    D = log p_T(o) - log p_S(o); H_T is the teacher's entropy, or the share "entropy" where the method looks ahead. Our
    reading: the form of the gate is not published. Source: arXiv:2605.13255.
    """

    def advantage(logprob: Array, others: Others, token: TokenInputs) -> Array:
        teacher = others["teacher"]
        entropy = token.share.get("entropy", entropy_logp(teacher))
        most = jnp.log(jnp.sum(teacher > IMPOSSIBLE / 2, axis=-1))
        gate = floor + (1 - floor) * (1 - jnp.clip(entropy / most, 0.0, 1.0))
        weight = jnp.exp(jnp.sign(token.advantage) * (pick(teacher, token.id) - logprob))
        weighed = token.advantage * jnp.clip(weight, 1 - width, 1 + width) * gate
        return jnp.where(token.distill > 0, weighed, token.advantage)

    return advantage
