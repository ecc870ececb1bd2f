"""Attention over packed rows, block by block, only where a block of queries can see a block of keys.

A row holds whole problems: their contexts, then their responses, back to back. A token sees the tokens of its own
sequence up to itself and, if it belongs to a response, its whole context, which is stored and read once however many
responses see it. Blocks that see nothing of each other are never multiplied, so the cost is that of the real
lengths, not of windows, and no score outlives its pair of blocks.

Axes beyond `types`: S tokens of a row, Z sequences of a row (contexts, then responses), E pairs of blocks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jax.tree_util import register_dataclass

Array = jax.Array
NO_KEY = -1e30


@register_dataclass
@dataclass(frozen=True)
class Visible:
    """Who sees whom: the sequence of each token (pads −1), the context it reads besides (−2: none), block pairs.

    `pairs_BE2` lists (query block, key block) in the order of query blocks; `count_B` of them are real.
    """

    sequence_BS: Array
    reads_BS: Array
    pairs_BE2: Array
    count_B: Array


# (q_BSNH, k_BSKH, v_BSKH, visible) -> out_BSNH, queries and keys rotated
PackedAttention = Callable[[Array, Array, Array, Visible], Array]


def visible_blocks(start_Z: Array, length_Z: Array, reads_Z: Array, blocks: int, block: int) -> Array:
    """Which query block sees anything of which key block, bool [blocks, blocks].

    `reads_Z` is the index of the context that a sequence reads, −1 for contexts themselves.
    """
    index = jnp.arange(blocks)[:, None]
    first_Z, last_Z = start_Z // block, (start_Z + length_Z - 1) // block
    touches = (index >= first_Z[None]) & (index <= last_Z[None]) & (length_Z > 0)[None]
    touches_context = touches[:, jnp.maximum(reads_Z, 0)] & (reads_Z >= 0)[None]

    def any_of_both(a: Array, b: Array) -> Array:
        return a.astype(jnp.float32) @ b.T.astype(jnp.float32) > 0

    return any_of_both(touches, touches) & (index >= index.T) | any_of_both(touches, touches_context)


def block_attention(block: int) -> PackedAttention:
    """Exact softmax attention with running maxima, forward and backward, in plain XLA; any backend.

    Scores, softmax and sums are float32; probabilities meet the values in the values' dtype. A token that sees
    nothing (a pad) gets 0.
    """

    def attention(q_BSNH: Array, k_BSKH: Array, v_BSKH: Array, visible: Visible) -> Array:
        return jax.vmap(partial(_row, block))(q_BSNH, k_BSKH, v_BSKH, visible)

    return attention


def on_mesh(attention: PackedAttention, mesh: Mesh) -> PackedAttention:
    """The same attention, run by every device on its own rows (data, fsdp) and heads (tensor)."""
    rows = P(("data", "fsdp"))
    heads = P(("data", "fsdp"), None, "tensor", None)
    return jax.shard_map(attention, mesh=mesh, in_specs=(heads, heads, heads, rows), out_specs=heads, check_vma=False)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _row(block: int, q_SNH: Array, k_SKH: Array, v_SKH: Array, visible: Visible) -> Array:
    return _row_forward(block, q_SNH, k_SKH, v_SKH, visible)[0]


def _row_forward(
    block: int, q_SNH: Array, k_SKH: Array, v_SKH: Array, visible: Visible
) -> tuple[Array, tuple[Array, Array, Array, Visible, Array, Array]]:
    q, k, v = _blocks(block, q_SNH, k_SKH, v_SKH)
    blocks, _, kv_heads, group, size = q.shape

    def add(carry: tuple[Array, Array, Array], pair: tuple[Array, Array]) -> tuple[tuple[Array, Array, Array], None]:
        peak, total, out = carry
        (i, j), _ = pair
        scores, allowed = _scores(block, q, k, visible, pair)
        new_peak = jnp.maximum(peak[i], jnp.max(scores, axis=-1))
        p = jnp.where(allowed, jnp.exp(scores - new_peak[..., None]), 0.0)
        shrink = jnp.exp(peak[i] - new_peak)
        values = jnp.einsum("kgqx,xkh->kgqh", p.astype(v.dtype), v[j], preferred_element_type=jnp.float32)
        total = total.at[i].set(total[i] * shrink + jnp.sum(p, axis=-1))
        out = out.at[i].set(out[i] * shrink[..., None] + values)
        return (peak.at[i].set(new_peak), total, out), None

    shape = (blocks, kv_heads, group, block)
    start = jnp.full(shape, NO_KEY), jnp.zeros(shape), jnp.zeros((*shape, size))
    (peak, total, out), _ = jax.lax.scan(add, start, _pairs(visible))
    some_key = total > 0
    total = jnp.where(some_key, total, 1.0)
    out_SNH = _unblock(out / total[..., None]).astype(q_SNH.dtype)
    lse = jnp.where(some_key, peak + jnp.log(total), 0.0)
    return out_SNH, (q_SNH, k_SKH, v_SKH, visible, out_SNH, lse)


def _row_backward(
    block: int, saved: tuple[Array, Array, Array, Visible, Array, Array], grad_SNH: Array
) -> tuple[Array, Array, Array, None]:
    q_SNH, k_SKH, v_SKH, visible, out_SNH, lse = saved
    q, k, v = _blocks(block, q_SNH, k_SKH, v_SKH)
    grad = grad_SNH.reshape(q.shape)
    # Σ_h grad·out is what the softmax subtracts from every slope
    mean = jnp.sum(grad.astype(jnp.float32) * out_SNH.reshape(q.shape).astype(jnp.float32), axis=-1)
    mean = jnp.moveaxis(mean, 1, -1)

    def add(carry: tuple[Array, Array, Array], pair: tuple[Array, Array]) -> tuple[tuple[Array, Array, Array], None]:
        grad_q, grad_k, grad_v = carry
        (i, j), _ = pair
        scores, allowed = _scores(block, q, k, visible, pair)
        p = jnp.where(allowed, jnp.exp(scores - lse[i][..., None]), 0.0)
        slope = jnp.einsum("qkgh,xkh->kgqx", grad[i], v[j], preferred_element_type=jnp.float32)
        slope = (p * (slope - mean[i][..., None]) * q.shape[-1] ** -0.5).astype(q.dtype)
        to_q = jnp.einsum("kgqx,xkh->kgqh", slope, k[j], preferred_element_type=jnp.float32)
        to_k = jnp.einsum("kgqx,qkgh->xkh", slope, q[i], preferred_element_type=jnp.float32)
        to_v = jnp.einsum("kgqx,qkgh->xkh", p.astype(q.dtype), grad[i], preferred_element_type=jnp.float32)
        return (grad_q.at[i].add(to_q), grad_k.at[j].add(to_k), grad_v.at[j].add(to_v)), None

    shape = (q.shape[0], *q.shape[2:4], block, q.shape[-1])
    zeros = jnp.zeros(shape), jnp.zeros(k.shape), jnp.zeros(v.shape)
    (grad_q, grad_k, grad_v), _ = jax.lax.scan(add, zeros, _pairs(visible))
    grads = _unblock(grad_q), grad_k.reshape(k_SKH.shape), grad_v.reshape(v_SKH.shape)
    return *(g.astype(x.dtype) for g, x in zip(grads, (q_SNH, k_SKH, v_SKH), strict=True)), None  # type: ignore


_row.defvjp(_row_forward, _row_backward)


def _scores(block: int, q: Array, k: Array, visible: Visible, pair: tuple[Array, Array]) -> tuple[Array, Array]:
    """Scaled scores [kv heads, group, queries, keys] of one pair of blocks, `NO_KEY` where not allowed, and allowed."""
    (i, j), real = pair
    sequence, reads = visible.sequence_BS.reshape(-1, block), visible.reads_BS.reshape(-1, block)
    order = jnp.arange(block)
    before = (j * block + order)[None, :] <= (i * block + order)[:, None]
    own = before & (sequence[i][:, None] == sequence[j][None, :]) & (sequence[i] >= 0)[:, None]
    allowed = (own | (reads[i][:, None] == sequence[j][None, :])) & real
    scores = jnp.einsum("qkgh,xkh->kgqx", q[i], k[j], preferred_element_type=jnp.float32) * q.shape[-1] ** -0.5
    allowed = allowed[None, None]
    return jnp.where(allowed, scores, NO_KEY), allowed


def _pairs(visible: Visible) -> tuple[Array, Array]:
    return visible.pairs_BE2, jnp.arange(visible.pairs_BE2.shape[0]) < visible.count_B


def _blocks(block: int, q_SNH: Array, k_SKH: Array, v_SKH: Array) -> tuple[Array, Array, Array]:
    """[S, ..] -> [blocks, block, ..]; the heads of q grouped under their key/value head."""
    kv_heads, size = k_SKH.shape[1:]
    q = q_SNH.reshape(-1, block, kv_heads, q_SNH.shape[1] // kv_heads, size)
    return q, k_SKH.reshape(-1, block, kv_heads, size), v_SKH.reshape(-1, block, kv_heads, size)


def _unblock(x: Array) -> Array:
    """[blocks, kv heads, group, block, H] -> [S, heads, H]."""
    blocks, kv_heads, group, block, size = x.shape
    return jnp.moveaxis(x, 3, 1).reshape(blocks * block, kv_heads * group, size)
