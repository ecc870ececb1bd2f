"""Shapes of Qwen3: one that compiles in no time, and those of published models."""

from dataclasses import replace
from typing import Any

from models.qwen3 import Qwen3Config

TINY = Qwen3Config(
    vocab_size=64,
    width=16,
    mlp_width=24,
    layers=2,
    heads=4,
    kv_heads=2,
    head_dim=8,
    rope_theta=1e4,
    norm_eps=1e-6,
    tied=True,
    max_positions=512,
)
QWEN3_8B = Qwen3Config(
    vocab_size=151_936,
    width=4096,
    mlp_width=12_288,
    layers=36,
    heads=32,
    kv_heads=8,
    head_dim=128,
    rope_theta=1e6,
    norm_eps=1e-6,
    tied=False,
    max_positions=40_960,
)
QWEN3_32B = replace(QWEN3_8B, width=5120, mlp_width=25_600, layers=64, heads=64)


def tiny_config(**changes: Any) -> Qwen3Config:
    """The smallest shape with everything a Qwen3 has, with some fields changed."""
    return replace(TINY, **changes)
