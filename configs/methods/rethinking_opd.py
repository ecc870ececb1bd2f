"""rethinking_opd (arXiv:2604.13016, released code) in place of HSD (docs/methods.md). Not yet run."""

from dataclasses import replace

from configs.hsd_qwen3_8b_v6e64 import config as base
from hsd_jax.config import Method

config = replace(base, method=Method(name="rethinking_opd"))
