"""HSD, Qwen3-8B, on v5p-128 (64 chips). Not yet run.

    HSD_ACCELERATOR=v5p-128 HSD_CONFIG=configs/hsd_qwen3_8b_v5p128.py tpu_scripts/create.sh      (docs/operations.md)
    python -m hsd_jax.plan --config configs/hsd_qwen3_8b_v5p128.py --topology v5p:4x4x4

Paper row: Table 1, 8B: MATH-500 83.6, AIME-24 31.4, AIME-25 28.1, LCB-v5 37.2, HumanEval+ 81.9.
Plan (commit 4eea45c), GiB on a chip of 95.74: sampler 26.8, update 21.6. It fits.
Estimated step at a mean response of 1,536 tokens: 12 s at the chip's limits, 75 s as compiled (31 h for 1,500 steps;
docs/sizing.md), without the minutes that each new size of rows is compiled for.
"""

from hsd_jax.config import Config, Data, Model, Optimizer, Sampling

config = Config(
    steps=1500,
    model=Model(path="weights/Qwen3-8B-Base", remat="full"),
    data=Data(source="prepared", path="datasets/prepared"),
    sampling=Sampling(
        response_tokens=4096,
        code_response_tokens=8192,
        tensor=4,
    ),
    optimizer=Optimizer(micro_batches=1),
)
