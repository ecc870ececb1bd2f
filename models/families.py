"""In what families of decoders differ: what becomes of queries, keys and values before they turn, and how fast.

A family is a row of `HEADS`, a kind of rotary embedding one of `ROPES`; the layer passes its arrays through both and
knows no names.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from models.config import Qwen3Config

Array = jax.Array
Params = dict[str, Any]


@dataclass(frozen=True)
class Heads:
    """A family's own parameters of a layer, and `adjust(config, weights, q_BSNH, k_BSKH, v_BSKH) -> (q, k, v)`."""

    shapes: Callable[[Qwen3Config], dict[str, tuple[int, ...]]]
    adjust: Callable[[Qwen3Config, Params, Array, Array, Array], tuple[Array, Array, Array]]


def rms_norm(x: Array, scale: Array, eps: float) -> Array:
    """x / sqrt(mean(x^2) + eps) * scale over the last axis, computed in float32."""
    x32 = x.astype(jnp.float32)
    normed = x32 * jax.lax.rsqrt(jnp.mean(jnp.square(x32), axis=-1, keepdims=True) + eps)
    return (normed * scale.astype(jnp.float32)[(None,) * (x.ndim - 1)]).astype(x.dtype)


def _normed(config: Qwen3Config, w: Params, q: Array, k: Array, v: Array) -> tuple[Array, Array, Array]:
    return rms_norm(q, w["q_norm_LH"], config.norm_eps), rms_norm(k, w["k_norm_LH"], config.norm_eps), v


def _shifted(config: Qwen3Config, w: Params, q: Array, k: Array, v: Array) -> tuple[Array, Array, Array]:
    return q + w["q_bias_LNH"][None, None], k + w["k_bias_LKH"][None, None], v + w["v_bias_LKH"][None, None]


def _norm_shapes(c: Qwen3Config) -> dict[str, tuple[int, ...]]:
    return {"q_norm_LH": (c.layers, c.head_dim), "k_norm_LH": (c.layers, c.head_dim)}


def _bias_shapes(c: Qwen3Config) -> dict[str, tuple[int, ...]]:
    keys = (c.layers, c.kv_heads, c.head_dim)
    return {"q_bias_LNH": (c.layers, c.heads, c.head_dim), "k_bias_LKH": keys, "v_bias_LKH": keys}


HEADS: dict[str, Heads] = {
    "qwen3": Heads(_norm_shapes, _normed),
    "qwen2": Heads(_bias_shapes, _shifted),
    "llama": Heads(lambda config: {}, lambda config, w, q, k, v: (q, k, v)),
}


def llama3_rope(config: Qwen3Config, frequencies_H: Array) -> Array:
    """Slow turns slowed by `rope_factor`, fast ones kept, those between blended by how often they fit the old window.

    With r = original positions / wavelength: f / factor below r = low, f above r = high, and between them
    ((1 - s) / factor + s) f with s = (r - low) / (high - low).  Source: Llama 3.1, arXiv:2407.21783.
    """
    fits_H = config.rope_original * frequencies_H / (2 * math.pi)
    kept_H = jnp.clip((fits_H - config.rope_low) / (config.rope_high - config.rope_low), 0.0, 1.0)
    return frequencies_H * ((1.0 - kept_H) / config.rope_factor + kept_H)


ROPES: dict[str, Callable[[Qwen3Config, Array], Array]] = {
    "default": lambda config, frequencies_H: frequencies_H,
    "llama3": llama3_rope,
}


def frequencies(config: Qwen3Config) -> Array:
    """Radians per position of each pair of a head [H / 2], float32."""
    half = config.head_dim // 2
    return ROPES[config.rope_type](config, config.rope_theta ** (-jnp.arange(half, dtype=jnp.float32) / half))
