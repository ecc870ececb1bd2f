"""sdpo_trust_region (arXiv:2601.20802, its trust region) in place of HSD (docs/methods.md). Not yet run."""

from dataclasses import replace

from configs.hsd_qwen3_8b_v6e64 import config as base
from hsd_jax.config import Method

config = replace(base, method=Method(name="sdpo_trust_region"))
