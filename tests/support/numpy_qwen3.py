"""Qwen3 in NumPy, float64, one row: written from the definition, with places to look inside and to interfere."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from models.qwen3 import init_params
from tests.support.tiny_config import tiny_config

Array = np.ndarray
CONFIG = tiny_config(vocab_size=23, layers=3, rope_theta=100.0, max_positions=64)


class Seen(NamedTuple):
    """Log-probabilities [S, V], the output of every layer [L, S, D], and the last one after the norm [S, D]."""

    logp: Array
    layers: Array
    final: Array


def random_params(seed: int) -> Any:
    """Weights so large that everything matters."""
    params = init_params(CONFIG, jax.random.key(seed))
    return jax.tree.map_with_path(lambda path, x: x if "norm" in path[-1].key else x * 15, params)


def leave(layer: int, keys: Array, values: Array) -> tuple[Array, Array]:
    return keys, values


def causal(length: int) -> Array:
    """0 where a query sees a key, minus infinity elsewhere."""
    return np.where(np.tri(length, dtype=bool), 0.0, -np.inf)


def run(params: Any, tokens: Array, bias_SS: Array, edit: Callable[[int, Array, Array], Any] = leave) -> Seen:
    """One pass; `edit(layer, k_SKH, v_SKH)` gives the keys (rotated) and values that are attended to."""
    w = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    x, kept = w["embed_VD"][tokens], []
    for i in range(CONFIG.layers):
        m = {name.rsplit("_", 1)[0]: stacked[i] for name, stacked in w["layers"].items()}
        h = norm(x, m["attn_norm"])
        q = rotate(norm(np.tensordot(h, m["q"], 1), m["q_norm"]))
        k = rotate(norm(np.tensordot(h, m["k"], 1), m["k_norm"]))
        k, v = edit(i, k, np.tensordot(h, m["v"], 1))
        out = np.zeros(q.shape)
        for n in range(CONFIG.heads):
            j = n // (CONFIG.heads // CONFIG.kv_heads)
            scores = q[:, n] @ k[:, j].T / np.sqrt(CONFIG.head_dim) + bias_SS
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            out[:, n] = weights / weights.sum(-1, keepdims=True) @ v[:, j]
        x = x + np.tensordot(out, m["o"], 2)
        h = norm(x, m["mlp_norm"])
        gate = h @ m["gate"]
        x = x + (gate / (1 + np.exp(-gate)) * (h @ m["up"])) @ m["down"]
        kept.append(x)
    final = norm(x, w["final_norm_D"])
    logits = final @ w["embed_VD"].T
    peak = logits.max(-1, keepdims=True)
    return Seen(logits - peak - np.log(np.exp(logits - peak).sum(-1, keepdims=True)), np.stack(kept), final)


def norm(x: Array, scale: Array) -> Array:
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + CONFIG.norm_eps) * scale


def rotate(x_SNH: Array) -> Array:
    half = CONFIG.head_dim // 2
    angle = np.arange(len(x_SNH))[:, None, None] * CONFIG.rope_theta ** (-np.arange(half) / half)
    a, b = x_SNH[..., :half], x_SNH[..., half:]
    return np.concatenate([a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)], -1)


def slope(value: Callable[[float], float], step: float = 1e-5) -> float:
    """The derivative at 0 by central differences."""
    return (value(step) - value(-step)) / (2 * step)
