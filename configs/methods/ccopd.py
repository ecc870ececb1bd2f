"""ccopd (arXiv:2605.30251) in place of HSD (docs/methods.md). Not yet run.

Its rows need a `canonical` wording of a question that is asked in a harder one (in pieces, say).
"""

from dataclasses import replace

from configs.hsd_qwen3_8b_v6e64 import config as base
from hsd_jax.config import Method

config = replace(base, method=Method(name="ccopd"))
