"""Qwen3, dense, from 0.6B to 32B: a pure decoder layer over a parameter dict, and a flax.nnx module in front of it.

A decoder layer does not know what it attends to: the caller passes `attend`. Plain sequences, groups of responses
that share a context, and decoding with a cache are three `attend` functions around the same `layer`.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

Array = jax.Array
Params = dict[str, Any]
# (q_BSNH, k_BSKH, v_BSKH), queries and keys rotated -> (out_BSNH, whatever the caller wants handed out)
Attend = Callable[[Array, Array, Array], tuple[Array, Any]]


@dataclass(frozen=True)
class Qwen3Config:
    """The shape of a dense Qwen3. `head_dim` and `rope_theta` differ between releases and are never derived."""

    vocab_size: int
    width: int
    mlp_width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    rope_theta: float
    norm_eps: float
    tied: bool
    max_positions: int

    @classmethod
    def from_hf(cls, source: str | Path | dict[str, Any]) -> "Qwen3Config":
        """Reads a Hugging Face `config.json` (a directory that holds it, or its content)."""
        raw = source if isinstance(source, dict) else json.loads((Path(source) / "config.json").read_text())
        rope = raw.get("rope_parameters") or raw
        return cls(
            vocab_size=raw["vocab_size"],
            width=raw["hidden_size"],
            mlp_width=raw["intermediate_size"],
            layers=raw["num_hidden_layers"],
            heads=raw["num_attention_heads"],
            kv_heads=raw["num_key_value_heads"],
            head_dim=raw["head_dim"],
            rope_theta=float(rope["rope_theta"]),
            norm_eps=raw["rms_norm_eps"],
            tied=raw["tie_word_embeddings"],
            max_positions=raw["max_position_embeddings"],
        )


def param_shapes(config: Qwen3Config) -> Params:
    """The shape of every parameter; layers are stacked on a leading axis."""
    c = config
    shapes: Params = {
        "embed_VD": (c.vocab_size, c.width),
        "layers": {
            "attn_norm_LD": (c.layers, c.width),
            "q_LDNH": (c.layers, c.width, c.heads, c.head_dim),
            "k_LDKH": (c.layers, c.width, c.kv_heads, c.head_dim),
            "v_LDKH": (c.layers, c.width, c.kv_heads, c.head_dim),
            "o_LNHD": (c.layers, c.heads, c.head_dim, c.width),
            "q_norm_LH": (c.layers, c.head_dim),
            "k_norm_LH": (c.layers, c.head_dim),
            "mlp_norm_LD": (c.layers, c.width),
            "gate_LDF": (c.layers, c.width, c.mlp_width),
            "up_LDF": (c.layers, c.width, c.mlp_width),
            "down_LFD": (c.layers, c.mlp_width, c.width),
        },
        "final_norm_D": (c.width,),
    }
    if not c.tied:
        shapes["head_DV"] = (c.width, c.vocab_size)
    return shapes


def init_params(config: Qwen3Config, key: Array, dtype: Any = jnp.float32) -> Params:
    """Random weights: normal(0, 0.02) matrices, norms at one; no block is zero."""
    shapes, treedef = jax.tree.flatten_with_path(param_shapes(config), is_leaf=lambda x: isinstance(x, tuple))
    keys = jax.random.split(key, len(shapes))

    def leaf(path: Any, shape: tuple[int, ...], key: Array) -> Array:
        if "norm" in path[-1].key:
            return jnp.ones(shape, dtype)
        return (0.02 * jax.random.normal(key, shape, jnp.float32)).astype(dtype)

    return jax.tree.unflatten(treedef, [leaf(p, s, k) for (p, s), k in zip(shapes, keys, strict=True)])


def rms_norm(x: Array, scale: Array, eps: float) -> Array:
    """x / sqrt(mean(x^2) + eps) * scale over the last axis, computed in float32."""
    x32 = x.astype(jnp.float32)
    normed = x32 * jax.lax.rsqrt(jnp.mean(jnp.square(x32), axis=-1, keepdims=True) + eps)
    return (normed * scale.astype(jnp.float32)[(None,) * (x.ndim - 1)]).astype(x.dtype)


def rotate(x_BSNH: Array, positions_BS: Array, theta: float) -> Array:
    """Rotary position embedding, halves convention, angles in float32 (bf16 angles are wrong past position 256)."""
    half = x_BSNH.shape[-1] // 2
    frequencies = theta ** (-jnp.arange(half, dtype=jnp.float32) / half)
    angles_BSH = positions_BS[..., None].astype(jnp.float32) * frequencies[None, None, :]
    cos, sin = jnp.cos(angles_BSH)[:, :, None, :], jnp.sin(angles_BSH)[:, :, None, :]
    a, b = jnp.split(x_BSNH.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1).astype(x_BSNH.dtype)


def layer(
    config: Qwen3Config, weights: Params, x_BSD: Array, positions_BS: Array, attend: Attend
) -> tuple[Array, Any]:
    """One decoder layer; `weights` are one layer's slice (leading L axis gone). Returns (x_BSD, aux of attend)."""
    w = jax.tree.map(lambda p: p.astype(x_BSD.dtype), weights)
    h = rms_norm(x_BSD, w["attn_norm_LD"], config.norm_eps)
    q = rms_norm(jnp.einsum("bsd,dnh->bsnh", h, w["q_LDNH"]), w["q_norm_LH"], config.norm_eps)
    k = rms_norm(jnp.einsum("bsd,dkh->bskh", h, w["k_LDKH"]), w["k_norm_LH"], config.norm_eps)
    v = jnp.einsum("bsd,dkh->bskh", h, w["v_LDKH"])
    q, k = rotate(q, positions_BS, config.rope_theta), rotate(k, positions_BS, config.rope_theta)
    out_BSNH, aux = attend(q, k, v)
    x_BSD = x_BSD + jnp.einsum("bsnh,nhd->bsd", out_BSNH, w["o_LNHD"])
    h = rms_norm(x_BSD, w["mlp_norm_LD"], config.norm_eps)
    gated = jax.nn.silu(jnp.einsum("bsd,df->bsf", h, w["gate_LDF"])) * jnp.einsum(
        "bsd,df->bsf", h, w["up_LDF"]
    )
    return x_BSD + jnp.einsum("bsf,fd->bsd", gated, w["down_LFD"]), aux


def embed(params: Params, tokens: Array, dtype: Any = jnp.float32) -> Array:
    """Token embeddings in the compute dtype."""
    return params["embed_VD"][tokens].astype(dtype)


def final_norm(config: Qwen3Config, params: Params, x: Array) -> Array:
    """The norm before the vocabulary head."""
    return rms_norm(x, params["final_norm_D"], config.norm_eps)


def head(params: Params) -> Array:
    """The vocabulary head [D, V]; the transposed embedding where they are tied."""
    return params["head_DV"] if "head_DV" in params else params["embed_VD"].T


def causal_attend(valid_BS: Array, positions_BS: Array) -> Attend:
    """Attention of every token to itself and the valid tokens before it in its own row."""
    allowed_BSS = (positions_BS[:, :, None] >= positions_BS[:, None, :]) & valid_BS[:, None, :]

    def attend(q: Array, k: Array, v: Array) -> tuple[Array, Any]:
        return jax.nn.dot_product_attention(q, k, v, mask=allowed_BSS[:, None]), ()

    return attend


def forward(
    config: Qwen3Config, params: Params, tokens_BS: Array, valid_BS: Array, *, dtype: Any = jnp.float32
) -> Array:
    """Final hidden states [B, S, D] (after the last norm) of plain sequences; pads may stand on either side."""
    positions_BS = jnp.maximum(jnp.cumsum(valid_BS, axis=1) - 1, 0)
    attend = causal_attend(valid_BS, positions_BS)

    def body(x: Array, weights: Params) -> tuple[Array, None]:
        return layer(config, weights, x, positions_BS, attend)[0], None

    x, _ = jax.lax.scan(body, embed(params, tokens_BS, dtype), params["layers"])
    return final_norm(config, params, x)


def logits(params: Params, hidden: Array) -> Array:
    """Vocabulary logits, float32 with float32 accumulation."""
    return jnp.einsum("...d,dv->...v", hidden, head(params).astype(hidden.dtype), preferred_element_type=jnp.float32)


class Qwen3(nnx.Module):
    """The model as a flax.nnx module; `nnx.split` (or `params_of`) gives the pytree that everything else uses."""

    def __init__(self, config: Qwen3Config, params: Params):
        self.config = config
        self.params = nnx.data(jax.tree.map(nnx.Param, params))

    def __call__(self, tokens_BS: Array, *, valid_BS: Array | None = None) -> Array:
        """Logits [B, S, V] in float32."""
        valid_BS = jnp.ones(tokens_BS.shape, bool) if valid_BS is None else valid_BS
        params = params_of(self)
        return logits(params, forward(self.config, params, tokens_BS, valid_BS))


def params_of(model: Qwen3) -> Params:
    """The parameter pytree of a model."""
    return nnx.to_pure_dict(nnx.state(model, nnx.Param))["params"]
