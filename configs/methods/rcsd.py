"""rcsd (arXiv:2606.19327, released code (cached rubrics)) in place of HSD (docs/methods.md). Not yet run.

Its rows need a `rubric` each; those without one are left out and counted in `masked`.
"""

from dataclasses import replace

from configs.hsd_qwen3_8b_v6e64 import config as base
from hsd_jax.config import Method

config = replace(base, method=Method(name="rcsd"), data=replace(base.data, rubric_tokens=512, context_tokens=6656))
