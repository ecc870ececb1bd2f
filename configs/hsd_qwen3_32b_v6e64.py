"""HSD, Qwen3-32B, on v6e-64 (64 chips). Not yet run.

    HSD_ACCELERATOR=v6e-64 HSD_CONFIG=configs/hsd_qwen3_32b_v6e64.py tpu_scripts/create.sh      (docs/operations.md)
    python -m hsd_jax.plan --config configs/hsd_qwen3_32b_v6e64.py --topology v6e:8x8

Paper row: Table 1, 32B: MATH-500 89.4, AIME-24 46.0, AIME-25 41.7, LCB-v5 46.8, HumanEval+ 87.3.
Plan (commit 4eea45c), GiB on a chip of 31.25: sampler 30.5, update 25.7 and 56.3 in a host's memory. It fits; 24 slots
do not (31.16 where 31.0 may be used; commit e0aa1b9).
Estimated step at a mean response of 1,536 tokens: 75 s at the chip's limits; as compiled several times that
(docs/sizing.md), not yet planned.
Differs from the paper: responses to code questions are capped at 4,096 tokens (paper: 8,192), for memory;
Qwen3-32B with thinking off, since no 32B base model was released.
"""

from hsd_jax.config import Config, Data, Model, Optimizer, Sampling

config = Config(
    steps=1500,
    model=Model(path="weights/Qwen3-32B", remat="offload"),
    data=Data(source="prepared", path="datasets/prepared"),
    sampling=Sampling(
        response_tokens=4096,
        slots=22,
        tensor=4,
    ),
    optimizer=Optimizer(micro_batches=2),
)
