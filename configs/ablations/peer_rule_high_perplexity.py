"""Ablation of the peer rule: the teacher reads the success that the policy finds least likely. Not yet run.

Paper: AIME-25 26.3 (uniform, the base config: 28.1).
"""

from dataclasses import replace

from configs.hsd_qwen3_8b_v6e64 import config as base
from hsd_jax.config import Method

config = replace(base, method=Method(name="hsd", peer_rule="high_perplexity"))
