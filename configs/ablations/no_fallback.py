"""Ablation of the endpoint fallback: rollouts without a peer are not distilled. Not yet run.

Paper: compare with the base config, AIME-25 28.1.
"""

from dataclasses import replace

from configs.hsd_qwen3_8b_v6e64 import config as base
from hsd_jax.config import Method

config = replace(base, method=Method(name="hsd", fallback=False))
