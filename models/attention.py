"""Attention behind one signature, on every backend, and the two pieces that compute it over split keys.

An `Attention` is `(q_BSNH, k_BXKH, v_BXKH, q_segments_BS, k_segments_BX) -> out_BSNH` with X >= S: the queries stand
at the END of the keys, query i sees key j when `j <= i + X - S` and both belong to the same segment. That one rule is
a plain causal pass (X = S, pads in segment -1), packed rows (one segment per sequence), and responses that read
`context ++ response` (X = C + S, context keys first). A query without any visible key gets a finite, unused value.

No command uses the splash and cuDNN kernels yet (`attention_for` and what it chooses from): training scores by
`hsd_jax.scoring.packed_attention`, prefill by `reference_attention`. They are tested against the latter.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as splash
from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as splash_mask
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from models.errors import InputError

Array = jax.Array
Attention = Callable[[Array, Array, Array, Array, Array], Array]

# Log-sum-exp of a query that sees no key. Finite, so that merging two such halves gives 0 * 0.5 and never NaN.
NO_KEY_LSE = -1e30
# Kernel tiles are whole vector registers; what fills a window up to a tile belongs to segments nobody else uses.
LANES, PAD_QUERY, PAD_KEY = 128, -(2**30), -(2**30) - 1


def attend_with_lse(q_BSNH: Array, k_BXKH: Array, v_BXKH: Array, mask_BSX: Array) -> tuple[Array, Array]:
    """Softmax attention and its log-sum-exp: out = softmax(q k / sqrt(H)) v over the keys where the mask is true.

    Returns out_BSNH (dtype of q) and lse_BSN (float32, nats); a query without keys gets out 0, lse `NO_KEY_LSE`.
    Scores, softmax and their sums are float32; probabilities meet the values in the values' dtype.
    """
    batch, length, heads, size = q_BSNH.shape
    grouped = q_BSNH.reshape(batch, length, k_BXKH.shape[2], -1, size)
    scores = jnp.einsum("bskgh,bxkh->bkgsx", grouped, k_BXKH, preferred_element_type=jnp.float32) * size**-0.5
    allowed = mask_BSX[:, None, None]
    scores = jnp.where(allowed, scores, NO_KEY_LSE)
    peak = jax.lax.stop_gradient(jnp.max(scores, axis=-1, keepdims=True))
    weights = jnp.where(allowed, jnp.exp(scores - peak), 0.0)
    total = jnp.sum(weights, axis=-1, keepdims=True)
    some_key = total > 0
    total = jnp.where(some_key, total, 1.0)
    out = jnp.einsum("bkgsx,bxkh->bskgh", (weights / total).astype(v_BXKH.dtype), v_BXKH)
    lse = jnp.where(some_key, peak + jnp.log(total), NO_KEY_LSE)[..., 0]
    return out.reshape(q_BSNH.shape).astype(q_BSNH.dtype), jnp.moveaxis(lse, 3, 1).reshape(batch, length, heads)


def merge_attention(out_a: Array, lse_a: Array, out_b: Array, lse_b: Array) -> tuple[Array, Array]:
    """Attention over the union of two disjoint sets of keys, exact, from the results over each set.

    out = sigma(lse_a - lse_b) out_a + sigma(lse_b - lse_a) out_b;  lse = log(exp lse_a + exp lse_b).
    """
    weight_a = jax.nn.sigmoid(lse_a - lse_b)[..., None]
    out = weight_a * out_a.astype(jnp.float32) + (1.0 - weight_a) * out_b.astype(jnp.float32)
    return out.astype(out_a.dtype), jnp.logaddexp(lse_a, lse_b)


def visible(q_segments_BS: Array, k_segments_BX: Array) -> Array:
    """The rule of the module docstring as a mask [B, S, X]."""
    queries, keys = q_segments_BS.shape[1], k_segments_BX.shape[1]
    before_SX = jnp.arange(keys)[None, :] <= jnp.arange(queries)[:, None] + (keys - queries)
    return before_SX[None] & (q_segments_BS[:, :, None] == k_segments_BX[:, None, :])


def reference_attention(q: Array, k: Array, v: Array, q_segments_BS: Array, k_segments_BX: Array) -> Array:
    """The definition, on XLA; materializes [B, N, S, X] scores."""
    return attend_with_lse(q, k, v, visible(q_segments_BS, k_segments_BX))[0]


def bidirectional_attention(q: Array, k: Array, v: Array, q_segments_BS: Array, k_segments_BX: Array) -> Array:
    """Every query sees all keys of its segment, those after it too: the attention of masked-diffusion models."""
    return attend_with_lse(q, k, v, q_segments_BS[:, :, None] == k_segments_BX[:, None, :])[0]


def cudnn_attention(q: Array, k: Array, v: Array, q_segments_BS: Array, k_segments_BX: Array) -> Array:
    """cuDNN's fused kernel (GPU; bfloat16 or float16, head size a multiple of 8 up to 128)."""
    mask_B1SX = visible(q_segments_BS, k_segments_BX)[:, None]
    return jax.nn.dot_product_attention(q, k, v, mask=mask_B1SX, implementation="cudnn")


def splash_attention(*, block: int = 512, interpret: bool = False) -> Attention:
    """The Pallas flash kernel for TPU, forward and backward, on one device's rows and heads.

    `block` is the largest tile; windows are padded to tiles. `interpret` runs the kernel's program on any backend.
    """

    def attention(q: Array, k: Array, v: Array, q_segments_BS: Array, k_segments_BX: Array) -> Array:
        (_, queries, heads, size), (keys, kv_heads) = q.shape, k.shape[1:3]
        tile_q, tile_k = _tile(queries, block), _tile(keys, block)
        pad_q, pad_k = -queries % tile_q, -keys % tile_k
        causal = splash_mask.CausalMask((queries + pad_q, keys + pad_k), offset=keys - queries)
        kernel: Any = splash.make_splash_mqa_single_device(
            splash_mask.MultiHeadMask([causal] * (heads // kv_heads)),
            block_sizes=_tiles(tile_q, tile_k),
            interpret=interpret,
        )
        # (rows, key/value heads, their query heads, window, head size); the kernel leaves the scale to us
        q = jnp.moveaxis(_pad(q * size**-0.5, pad_q, 0), 2, 1).reshape(len(q), kv_heads, -1, queries + pad_q, size)
        k, v = (jnp.moveaxis(_pad(a, pad_k, 0), 2, 1) for a in (k, v))
        segments = splash.SegmentIds(
            q=_pad(q_segments_BS.astype(jnp.int32), pad_q, PAD_QUERY),
            kv=_pad(k_segments_BX.astype(jnp.int32), pad_k, PAD_KEY),
        )
        per_row = jax.vmap(kernel, in_axes=(0, 0, 0, None))
        out: Array = jax.vmap(per_row)(q, k, v, segments)
        return jnp.moveaxis(out.reshape(len(q), heads, -1, size), 1, 2)[:, :queries].astype(q.dtype)

    return attention


def on_mesh(attention: Attention, mesh: Mesh) -> Attention:
    """The same attention, run by every device on its own rows (data, fsdp) and heads (tensor)."""
    rows = ("data", "fsdp")
    heads, segments = P(rows, None, "tensor", None), P(rows, None)
    return jax.shard_map(
        attention, mesh=mesh, in_specs=(heads, heads, heads, segments, segments), out_specs=heads, check_vma=False
    )


def attention_for(platform: str, mesh: Mesh | None = None) -> Attention:
    """The fastest implementation for a platform ("cpu", "gpu", "tpu"), inside `shard_map` where a mesh is given."""
    kernels: dict[str, Attention] = {"cpu": reference_attention, "gpu": cudnn_attention, "tpu": splash_attention()}
    if platform not in kernels:
        raise InputError(f"platform = {platform!r}, allowed: {sorted(kernels)}")
    kernel = kernels[platform]
    # XLA partitions the reference by itself; a kernel is opaque to it
    return kernel if mesh is None or kernel is reference_attention else on_mesh(kernel, mesh)


def _tile(length: int, block: int) -> int:
    """One tile for a short window, else the block; the window is padded to whole tiles."""
    return min(block, -(-length // LANES) * LANES)


def _pad(x: Array, amount: int, value: int) -> Array:
    """Pads axis 1 on the right."""
    return jnp.pad(x, [(0, 0), (0, amount)] + [(0, 0)] * (x.ndim - 2), constant_values=value)


def _tiles(queries: int, keys: int) -> splash.BlockSizes:
    """The same tiles in the forward pass and in both products of the backward pass."""
    return splash.BlockSizes(
        block_q=queries, block_kv=keys, block_q_dkv=queries, block_kv_dkv=keys, block_q_dq=queries, block_kv_dq=keys
    )
