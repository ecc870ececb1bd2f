"""Ablation of the KL to the reference: beta = 1e-4. Not yet run.

Paper: AIME-25 27.6 (1e-3, the base config: 28.1).
"""

from dataclasses import replace

from configs.hsd_qwen3_8b_v6e64 import config as base
from hsd_jax.config import Method

config = replace(base, method=Method(name="hsd", beta=1e-4))
