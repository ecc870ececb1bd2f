"""brts (arXiv:2605.09725 (self-distillation)) in place of HSD (docs/methods.md). Not yet run.

The likeliest success of a group, else the data's solution, joins it as a row.
"""

from dataclasses import replace

from configs.hsd_qwen3_8b_v6e64 import config as base
from hsd_jax.config import Method

config = replace(base, method=Method(name="brts"))
