"""Losses whose target, or whose advantage, is made of more than one view."""

import jax
import jax.numpy as jnp
from jax import lax

from hsd_jax.divergence import IMPOSSIBLE, entropy_logp, jsd_logp, pick, reverse_kl_logp
from hsd_jax.losses import AdvantageAt, Others, TokenInputs, TokenLoss
from hsd_jax.types import Array


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
    """Distillation, times `share`, where a token is distilled; the policy gradient elsewhere.

    Source: arXiv:2604.02288.
    """

    def loss(student: Array, others: Others, token: TokenInputs) -> Array:
        share = 1.0 if token.share is None else token.share
        return (1 - token.distill) * policy(student, others, token) + share * divergence(student, others, token)

    return loss


def shared(loss: TokenLoss) -> TokenLoss:
    """A token loss times `share`."""
    return lambda student, others, token: (1.0 if token.share is None else token.share) * loss(student, others, token)


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

    D = log p_T(o) - log p_S(o); H_T is the teacher's entropy, or `share` where the method looks ahead. Our reading: the
    form of the gate is not published. Source: arXiv:2605.13255.
    """

    def advantage(logprob: Array, others: Others, token: TokenInputs) -> Array:
        teacher = others["teacher"]
        entropy = entropy_logp(teacher) if token.share is None else token.share
        most = jnp.log(jnp.sum(teacher > IMPOSSIBLE / 2, axis=-1))
        gate = floor + (1 - floor) * (1 - jnp.clip(entropy / most, 0.0, 1.0))
        weight = jnp.exp(jnp.sign(token.advantage) * (pick(teacher, token.id) - logprob))
        weighed = token.advantage * jnp.clip(weight, 1 - width, 1 + width) * gate
        return jnp.where(token.distill > 0, weighed, token.advantage)

    return advantage
