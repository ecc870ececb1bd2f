"""Ablation of the group size: G = 32. Not yet run.

Paper: AIME-25 31.2 (8, the base config: 28.1).

More rollouts than in the base config, at the same size of a micro-batch on a chip and of a decoding batch on a host.
"""

from dataclasses import replace

from configs.hsd_qwen3_8b_v6e64 import config as base
from hsd_jax.config import Mesh

config = replace(
    base,
    sampling=replace(base.sampling, group_size=32, slots=64),
    mesh=Mesh(tensor=4),
    optimizer=replace(base.optimizer, micro_batches=8),
)
