"""popd (arXiv:2605.31490 (self-distillation)) in place of HSD (docs/methods.md). Not yet run.

The horizon, where sampling ends too, begins at a quarter of the window and grows by it every 100 updates.
"""

from dataclasses import replace

from configs.hsd_qwen3_8b_v6e64 import config as base
from hsd_jax.config import Method

config = replace(base, method=Method(name="popd"))
