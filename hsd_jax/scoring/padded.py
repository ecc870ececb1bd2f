"""Scoring of padded group tensors in two streams: contexts [P, M, C] and responses [P, G, T] side by side.

A layer reads every context once; the responses of the group attend to the keys and values of their own context and
causally to themselves. It suits short windows, where padding is cheap; `packing` suits long ones.
"""

from typing import Any

import jax
import jax.numpy as jnp

from hsd_jax.types import Array, Contexts
from models.qwen3 import Params, Qwen3Config, embed, final_norm, layer
from models.scan import PLAIN, Compute, scan_layers


def score_groups(
    config: Qwen3Config,
    params: Params,
    contexts: Contexts,
    response_PGT: Array,
    length_PG: Array,
    how: Compute = PLAIN,
) -> Array:
    """hidden_PGTD: the state after the last norm that predicts each response token, independent of padding.

    For the first token that is the state of the last context token, else that of the response token before it.
    Positions of a response continue from the true length of its context, so no pad is ever between two tokens.
    """
    (problems, distinct, window), (_, group, steps) = contexts.tokens_PMC.shape, response_PGT.shape
    rows = problems * group
    read_PG = jnp.take_along_axis(contexts.length_PM, contexts.context_index_PG, axis=1)
    place_C = jnp.broadcast_to(jnp.arange(window), (problems * distinct, window))
    place_T = (read_PG[..., None] + jnp.arange(steps)[None, None, :]).reshape(rows, steps)
    before_CC = (jnp.arange(window)[:, None] >= jnp.arange(window)[None, :])[None, None]
    seen_RTX = _seen(read_PG.reshape(rows, 1), window, steps)

    def read(q: Array, k: Array, v: Array) -> tuple[Array, Any]:
        return jax.nn.dot_product_attention(q, k, v, mask=before_CC), (k, v)

    def body(streams: tuple[Array, Array], weights: Params) -> tuple[tuple[Array, Array], Any]:
        context, (k_context, v_context) = layer(config, weights, streams[0], place_C, read)

        def attend(q: Array, k: Array, v: Array) -> tuple[Array, Any]:
            keys = jnp.concatenate([_own(k_context, contexts.context_index_PG), k], axis=1)
            values = jnp.concatenate([_own(v_context, contexts.context_index_PG), v], axis=1)
            return jax.nn.dot_product_attention(q, keys, values, mask=seen_RTX[:, None]), ()

        response, _ = layer(config, weights, streams[1], place_T, attend)
        return (context, response), ()

    tokens = contexts.tokens_PMC.reshape(-1, window), response_PGT.reshape(rows, steps)
    start = tuple(embed(params, t, how) for t in tokens)
    (context, response), _ = scan_layers(body, start, params["layers"], how)
    last = jnp.maximum(contexts.length_PM.reshape(-1) - 1, 0)
    first = _own(jnp.take_along_axis(context, last[:, None, None], axis=1), contexts.context_index_PG)
    hidden = final_norm(config, params, jnp.concatenate([first, response[:, :-1]], axis=1))
    return hidden.reshape(problems, group, steps, -1)


def _own(x: Array, of_PG: Array) -> Array:
    """[P * M, ..] -> [P * G, ..]: what belongs to every rollout's own context."""
    problems, group = of_PG.shape
    x = x.reshape(problems, -1, *x.shape[1:])
    index = of_PG.reshape(problems, group, *(1,) * (x.ndim - 2))
    return jnp.take_along_axis(x, index, axis=1).reshape(problems * group, *x.shape[2:])


def _seen(read_R1: Array, window: int, steps: int) -> Array:
    """Which places of [context; response] a response token sees: the whole context, and the response up to itself."""
    rows = len(read_R1)
    context_RC = jnp.arange(window)[None, :] < read_R1
    own_TT = jnp.arange(steps)[:, None] >= jnp.arange(steps)[None, :]
    context_RTC = jnp.broadcast_to(context_RC[:, None, :], (rows, steps, window))
    return jnp.concatenate([context_RTC, jnp.broadcast_to(own_TT[None], (rows, steps, steps))], axis=2)
