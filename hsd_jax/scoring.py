"""The hidden states that predict each response token, for student, teacher and reference alike.

A teacher is a context, not a model: the three differ in the context that is read and in whose weights read it. Contexts
and responses run through every layer in one row; a context is read once however many responses follow it, and none
of its hidden states but the last is handed out, so nothing else of it can meet the vocabulary head.
"""

from typing import Any

import jax
import jax.numpy as jnp

from hsd_jax.packed_attention import PackedAttention, block_attention
from hsd_jax.packing import Packed, full_sizes, pack, to_groups
from hsd_jax.types import Array, Contexts
from models.qwen3 import Params, Qwen3Config, embed, final_norm, layer
from models.scan import LOCAL, Placement, scan_layers


def score_rows(
    config: Qwen3Config,
    params: Params,
    packed: Packed,
    *,
    attention: PackedAttention,
    dtype: Any = jnp.float32,
    remat: str = "none",
    placement: Placement = LOCAL,
) -> Array:
    """hidden_BND: for each packed response token the state, after the last norm, that predicts it.

    For the first token of a response that is the last token of its context, else the token before it.
    """

    def attend(q: Array, k: Array, v: Array) -> tuple[Array, Any]:
        return attention(q, k, v, packed.visible), ()

    def body(x: Array, weights: Params) -> tuple[Array, Any]:
        return layer(config, weights, x, packed.positions_BS, attend)

    x_BSD = placement.batch(embed(params, packed.tokens_BS, dtype, placement=placement))
    x_BSD, _ = scan_layers(body, x_BSD, params["layers"], remat=remat, placement=placement)
    x_BND = placement.batch(jax.vmap(lambda x, i: x[i])(x_BSD, packed.before_BN))
    return final_norm(config, params, x_BND)


def score(
    config: Qwen3Config,
    params: Params,
    contexts: Contexts,
    response_PGT: Array,
    length_PG: Array,
    *,
    block: int = 128,
    dtype: Any = jnp.float32,
    remat: str = "none",
) -> Array:
    """hidden_PGTD, 0 past each length: the same for group tensors, one problem a row, whatever the lengths."""
    rows: tuple[Contexts, Array, Array] = jax.tree.map(lambda x: x[:, None], (contexts, response_PGT, length_PG))
    packed = pack(*rows, full_sizes(contexts, response_PGT, 1, block=block))
    hidden_BND = score_rows(config, params, packed, attention=block_attention(block), dtype=dtype, remat=remat)
    return to_groups(packed, hidden_BND)[:, 0]
