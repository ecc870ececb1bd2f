"""HSD, Qwen3-32B, on v5p-128 (64 chips). Not yet run.

    HSD_ACCELERATOR=v5p-128 HSD_CONFIG=configs/hsd_qwen3_32b_v5p128.py tpu_scripts/create.sh      (docs/operations.md)
    python -m hsd_jax.plan --config configs/hsd_qwen3_32b_v5p128.py --topology v5p:4x4x4

Paper row: Table 1, 32B: MATH-500 89.4, AIME-24 46.0, AIME-25 41.7, LCB-v5 46.8, HumanEval+ 87.3.
Plan (commit 4eea45c), GiB on a chip of 95.74: sampler 60.0, update 49.3. It fits.
Estimated step at a mean response of 1,536 tokens: 46 s at the chip's limits; as compiled several times that
(docs/sizing.md), not yet planned.
Differs from the paper: Qwen3-32B with thinking off, since no 32B base model was released.
"""

from hsd_jax.config import Config, Data, Model, Optimizer, Sampling

config = Config(
    steps=1500,
    model=Model(path="weights/Qwen3-32B", remat="full"),
    data=Data(source="prepared", path="datasets/prepared"),
    sampling=Sampling(
        response_tokens=4096,
        code_response_tokens=8192,
        tensor=4,
    ),
    optimizer=Optimizer(micro_batches=1),
)
