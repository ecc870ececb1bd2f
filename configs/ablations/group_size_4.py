"""Ablation of the group size: G = 4. Not yet run.

Paper: AIME-25 25.4 (8, the base config: 28.1).
"""

from dataclasses import replace

from configs.hsd_qwen3_8b_v6e64 import config as base

config = replace(base, sampling=replace(base.sampling, group_size=4))
