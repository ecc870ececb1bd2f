"""topd (arXiv:2605.31490 (self-distillation)) in place of HSD (docs/methods.md). Not yet run.

Sampling ends at a quarter of the window; rewards in the log say nothing, held-out scores do.
"""

from dataclasses import replace

from configs.hsd_qwen3_8b_v6e64 import config as base
from hsd_jax.config import Method

config = replace(base, method=Method(name="topd"))
