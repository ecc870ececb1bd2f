"""HSD, Qwen3-8B, on v5litepod-64 (64 chips). Not yet run.

    HSD_ACCELERATOR=v5e-64 HSD_CONFIG=configs/hsd_qwen3_8b_v5e64.py tpu_scripts/create.sh      (docs/operations.md)
    python -m hsd_jax.plan --config configs/hsd_qwen3_8b_v5e64.py --topology v5e:8x8

Paper row: Table 1, 8B: MATH-500 83.6, AIME-24 31.4, AIME-25 28.1, LCB-v5 37.2, HumanEval+ 81.9.
Plan (commit 4eea45c), GiB on a chip of 15.75: sampler 14.7, update 9.0 and 33.2 in a host's memory. It fits.
Estimated step at a mean response of 1,536 tokens: 35 s at the chip's limits, 126 s as compiled (52 h for 1,500 steps;
docs/sizing.md), without the minutes that each new size of rows is compiled for.
Differs from the paper: responses to code questions are capped at 4,096 tokens (paper: 8,192), for memory.
"""

from hsd_jax.config import Config, Data, Model, Optimizer, Sampling

config = Config(
    steps=1500,
    model=Model(path="weights/Qwen3-8B-Base", remat="offload"),
    data=Data(source="prepared", path="datasets/prepared"),
    sampling=Sampling(
        response_tokens=4096,
        slots=48,
        tensor=4,
    ),
    optimizer=Optimizer(micro_batches=1),
)
