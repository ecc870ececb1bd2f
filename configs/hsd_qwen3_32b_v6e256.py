"""HSD, Qwen3-32B, on v6e-256 (256 chips). Not yet run.

    HSD_ACCELERATOR=v6e-256 HSD_CONFIG=configs/hsd_qwen3_32b_v6e256.py tpu_scripts/create.sh      (docs/operations.md)
    python -m hsd_jax.plan --config configs/hsd_qwen3_32b_v6e256.py --topology v6e:16x16

Paper row: Table 1, 32B: MATH-500 89.4, AIME-24 46.0, AIME-25 41.7, LCB-v5 46.8, HumanEval+ 87.3.
Plan (commit 4eea45c), GiB on a chip of 31.25: sampler 27.7, update 25.9. It fits.
Estimated step at a mean response of 1,536 tokens: 40 s at the chip's limits; as compiled several times that
(docs/sizing.md), not yet planned.
Differs from the paper: Qwen3-32B with thinking off, since no 32B base model was released.
"""

from hsd_jax.config import Config, Data, Mesh, Model, Optimizer, Sampling

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
    mesh=Mesh(tensor=2),
)
