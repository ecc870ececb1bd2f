"""Rows that nobody sampled, beside the rollouts of a group: targets of their own, in no statistic."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from hsd_jax.losses import TokenInputs
from hsd_jax.methods.row import Method
from hsd_jax.reading.further_rows import joined
from hsd_jax.types import Array
from hsd_jax.update.state import MicroBatch, StepInputs


def with_further(method: Method, inputs: StepInputs, work: MicroBatch) -> MicroBatch:
    """The batch with its further rows behind the rollouts; as it is where there are none."""
    if not inputs.further:
        return work
    rows = joined(inputs.further)
    valid_PET = jnp.arange(rows.tokens.shape[2])[None, None] < rows.length[..., None]
    token = replace(work.token, further=jnp.zeros(work.token.distill.shape))
    own = _token_of(token, rows.tokens, inputs.read.has_context_PG[:, :1] | (not inputs.views))
    return replace(
        work,
        response_PGT=_behind(work.response_PGT, rows.tokens),
        length_PG=_behind(work.length_PG, rows.length),
        token=jax.tree.map(_behind, token, own),
        weights_PGT=_behind(work.weights_PGT, method.row_weight * method.normalize(valid_PET)),
    )


def _token_of(like: TokenInputs, id_PET: Array, known_P1: Array) -> TokenInputs:
    """What is known of a further token: its id, and that it is taught where its context is known; no reward."""
    blank: Any = jax.tree.map(lambda x: jnp.zeros(id_PET.shape, x.dtype), like)
    taught_PET = jnp.broadcast_to(known_P1[..., None], id_PET.shape).astype(jnp.float32)
    strength_PET = jnp.broadcast_to(like.strength[:, :1, :1], id_PET.shape)
    return replace(blank, id=id_PET, distill=taught_PET, strength=strength_PET, further=jnp.ones(id_PET.shape))


def _behind(rollouts: Array, rows: Array) -> Array:
    return jnp.concatenate([rollouts, rows.astype(rollouts.dtype)], axis=1)
