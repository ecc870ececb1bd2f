"""stable_opd (arXiv:2604.08527 (self-distillation; weights ours)) in place of HSD (docs/methods.md). Not yet run.

Solutions of the data that fit the response window join each group as rows; weights .1 and .01 are ours.
"""

from dataclasses import replace

from configs.hsd_qwen3_8b_v6e64 import config as base
from hsd_jax.config import Method

config = replace(base, method=Method(name="stable_opd"))
