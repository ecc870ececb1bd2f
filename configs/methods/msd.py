"""msd (arXiv:2605.02971) in place of HSD (docs/methods.md). Not yet run."""

from dataclasses import replace

from configs.hsd_qwen3_8b_v6e64 import config as base
from hsd_jax.config import Method

config = replace(base, method=Method(name="msd"), data=replace(base.data, solution_tokens=1024, context_tokens=7168))
