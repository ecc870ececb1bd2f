"""What a token counts for, from statistics of its whole rollout: measured once before the loss, without gradient.

`note(student_logp_CV, others, id_C) -> {name: value_C}` looks at a chunk of tokens; `make(noted_PGT, valid_PGT) ->
{name: share_PGT}` at whole rollouts. It costs the products with the head once more.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from hsd_jax.divergence import entropy_logp, pick
from hsd_jax.losses import Others, Shares
from hsd_jax.types import Array


def mean_one(weight_PGT: Array, valid_PGT: Array) -> Array:
    """The weights over their mean over the tokens of the rollout; 0 where they are all 0."""
    weight_PGT = jnp.where(valid_PGT, weight_PGT, 0.0)
    total_PG1 = jnp.sum(weight_PGT, axis=2, keepdims=True)
    tokens_PG1 = jnp.sum(valid_PGT, axis=2, keepdims=True)
    return weight_PGT * tokens_PG1 / jnp.where(total_PG1 > 0, total_PG1, 1.0)


def teacher_entropy(student: Array, others: Others, ids: Array) -> dict[str, Array]:
    """H_T."""
    return {"entropy": entropy_logp(others["teacher"])}


def confident(sharpness: float) -> Shares:
    """exp(-sharpness H_T), mean one over the rollout. Source: arXiv:2604.02288 (there over the batch)."""
    return Shares(
        teacher_entropy,
        lambda noted, valid_PGT: {"weight": mean_one(jnp.exp(-sharpness * noted["entropy"]), valid_PGT)},
    )


def look_ahead(tokens: int) -> Shares:
    """The least teacher entropy among the token and the next few: what soon resolves counts as certain.

    Source: arXiv:2605.13255 (the length of the window is not published).
    """

    def make(noted: Mapping[str, Array], valid_PGT: Array) -> dict[str, Array]:
        entropy_PGT = jnp.where(valid_PGT, noted["entropy"], jnp.inf)
        ends = [(0, 0)] * (entropy_PGT.ndim - 1) + [(0, tokens)]
        padded = jnp.pad(entropy_PGT, ends, constant_values=jnp.inf)
        window = [padded[..., ahead : ahead + entropy_PGT.shape[-1]] for ahead in range(tokens + 1)]
        return {"entropy": jnp.where(valid_PGT, jnp.min(jnp.stack(window), axis=0), 0.0)}

    return Shares(teacher_entropy, make)


def sure_where_the_student_is_not(k: int) -> Shares:
    """(1 - H(q) / log k) (1 - p_S(v)), q the teacher on its k likeliest tokens, v the first; mean one over the rollout.

    Source: arXiv:2605.02971, DPSW; taken without gradient, which the paper leaves open.
    """

    def note(student: Array, others: Others, ids: Array) -> dict[str, Array]:
        best, _ = jax.lax.top_k(others["teacher"], min(k, student.shape[-1]))
        sure = 1 - entropy_logp(jax.nn.log_softmax(best, axis=-1)) / jnp.log(float(min(k, student.shape[-1])))
        return {"weight": sure * (1 - jnp.exp(pick(student, jnp.argmax(others["teacher"], axis=-1))))}

    return Shares(note, lambda noted, valid_PGT: {"weight": mean_one(noted["weight"], valid_PGT)})


def polarity(views: tuple[str, ...], limit: float, least: float) -> Shares:
    """For each of the `views` the sign of mean_t clip(log p_T(o) - log p_S(o), limit); 0 where that is within `least`.

    Source: arXiv:2605.28791, released code.
    """

    def note(student: Array, others: Others, ids: Array) -> dict[str, Array]:
        return {name: jnp.clip(pick(others[name], ids) - pick(student, ids), -limit, limit) for name in views}

    def make(noted: Mapping[str, Array], valid_PGT: Array) -> dict[str, Array]:
        tokens_PG1 = jnp.maximum(jnp.sum(valid_PGT, axis=2, keepdims=True), 1)
        mean = {n: jnp.sum(jnp.where(valid_PGT, x, 0.0), axis=2, keepdims=True) / tokens_PG1 for n, x in noted.items()}
        signs = {name: jnp.where(jnp.abs(x) > least, jnp.sign(x), 0.0) for name, x in mean.items()}
        return {name: jnp.broadcast_to(sign, valid_PGT.shape) for name, sign in signs.items()}

    return Shares(note, make)
