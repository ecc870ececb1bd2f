"""Ablation of the KL to the reference: beta = 0. Not yet run.

Paper: AIME-25 26.3 (1e-3, the base config: 28.1). It reports a collapse near step 1,200.
"""

from dataclasses import replace

from configs.hsd_qwen3_8b_v6e64 import config as base
from hsd_jax.config import Method

config = replace(base, method=Method(name="hsd", beta=0.0))
