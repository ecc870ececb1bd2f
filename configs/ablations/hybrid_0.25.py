"""Ablation of the hybrid GRPO + OPSD: 0.25 of distillation, 0.75 of policy gradient. Not yet run.

Paper: AIME-25 25.4 (HSD: 28.1).
"""

from dataclasses import replace

from configs.hsd_qwen3_8b_v6e64 import config as base
from hsd_jax.config import Method

config = replace(base, method=Method(name="grpo_opsd", coefficient=0.25))
