"""What is known of the tokens of rows that nobody sampled: they are taught, and have no reward and no ratio."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from hsd_jax.losses import TokenInputs
from hsd_jax.types import Array


def with_further_tokens(token: TokenInputs, id_PET: Array, known_P1: Array) -> TokenInputs:
    """The tokens of the rollouts, then those of further rows; these are taught where their context is known."""
    token = replace(token, further=jnp.zeros(token.distill.shape))
    own: Any = jax.tree.map(lambda x: jnp.zeros(id_PET.shape, x.dtype), token)
    taught_PET = jnp.broadcast_to(known_P1[..., None], id_PET.shape).astype(jnp.float32)
    strength_PET = jnp.broadcast_to(token.strength[:, :1, :1], id_PET.shape)
    own = replace(own, id=id_PET, distill=taught_PET, strength=strength_PET, further=jnp.ones(id_PET.shape))
    return jax.tree.map(behind, token, own)


def behind(rollouts: Array, rows: Array) -> Array:
    """Further rows behind the rollouts of each group."""
    return jnp.concatenate([rollouts, rows.astype(rollouts.dtype)], axis=1)
