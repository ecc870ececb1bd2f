"""HSD on the embedded tiny model: chains of operations modulo 10, on any machine.

    make train        # python -m hsd_jax.train --config configs/tiny.py --workdir runs/tiny

Paper row: none (a tiny model). The base errs by habit (docs/tiny_model.md). Expected on held-out problems: greedy from
.4 to 1.0, sampled pass@1 from .34 to above .9; see RESULTS.md.

The teacher is frozen at the initial weights: with the live one of the paper (`--method.teacher live`) the former base
learnt as fast at first, then teacher and student drifted away together and collapsed; RESULTS.md shows both.
"""

from hsd_jax.config import Checkpoints, Config, Data, Evaluation, Logging, Method, Model, Optimizer, Sampling

config = Config(
    steps=40,
    model=Model(path="assets/tiny_qwen3", compute_dtype="float32", remat="none"),
    data=Data(
        source="tiny",
        problems_per_step=16,
        prompt_tokens=80,
        answer_tokens=32,
        context_tokens=192,
        min_peer_tokens=8,
    ),
    sampling=Sampling(group_size=8, top_p=1.0, response_tokens=64, chunk=32, dtype="float32"),
    method=Method(name="hsd", teacher="frozen"),
    optimizer=Optimizer(learning_rate=2e-4, loss_chunk=2048, layout="padded"),
    evaluation=Evaluation(every=10, problems=64, samples=16),
    checkpoints=Checkpoints(every=20),
    logging=Logging(rollouts_every=10, rollout_problems=8),
)
