"""Ablation of the group size: G = 16. Not yet run.

Paper: AIME-25 30.8 (8, the base config: 28.1).

More rollouts than in the base config, at the same size of a micro-batch on a chip and of a decoding batch on a host.
"""

from dataclasses import replace

from configs.hsd_qwen3_8b_v6e64 import config as base
from hsd_jax.config import Mesh

config = replace(
    base,
    sampling=replace(base.sampling, group_size=16, slots=64),
    mesh=Mesh(tensor=2),
    optimizer=replace(base.optimizer, micro_batches=4),
)
