"""Pre-trains the embedded tiny base model and writes it in Hugging Face format.

    python -m tools.make_tiny_tokenizer
    python -m tools.make_tiny_base --out assets/tiny_qwen3

What it learns from: tools/tiny_documents.py. Why like this: docs/tiny_model.md.
"""

import argparse
import itertools
import json
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
from transformers import AutoTokenizer

from hsd_jax.data import chat_template, tiny
from hsd_jax.rollout import feedback
from hsd_jax.sampler import sampler
from hsd_jax.types import Padded, Rollouts
from models import hf, qwen3
from tools import tiny_documents as documents

STEPS = 900
WINDOW = 152  # the longest context, in tokens
MUON_RATE, ADAM_RATE = 8e-3, 4e-3
SHAPE = qwen3.Qwen3Config(
    vocab_size=512,
    width=96,
    mlp_width=256,
    layers=3,
    heads=4,
    kv_heads=2,
    head_dim=32,
    rope_theta=10000.0,
    norm_eps=1e-6,
    tied=True,
    max_positions=1024,
)


def response_logits(config: qwen3.Qwen3Config, params: qwen3.Params, batch: documents.Batch) -> jax.Array:
    """Logits [B, R, T, V] of all responses to a context, which is read once: no response sees another one."""
    context_BC, valid_BC, response_BRT, _ = batch
    (rows, many, window), width = response_BRT.shape, context_BC.shape[1]
    # The last context token predicts every response's first token, so each response starts with its own copy.
    last_BR1 = jnp.repeat(context_BC[:, None, -1:], many, axis=1)
    inputs_BX = jnp.concatenate([last_BR1, response_BRT[..., :-1]], axis=2).reshape(rows, -1)
    starts_B = jnp.sum(valid_BC, axis=1) - 1
    own_BX = jnp.tile(jnp.arange(window), many)[None] + starts_B[:, None]
    context_positions_BC = jnp.maximum(jnp.cumsum(valid_BC, axis=1) - 1, 0)
    positions_BS = jnp.concatenate([context_positions_BC[:, :-1], own_BX], axis=1)
    owner_S = jnp.concatenate([jnp.full(width - 1, -1), jnp.repeat(jnp.arange(many), window)])
    real_BS = jnp.concatenate([valid_BC[:, :-1], jnp.ones_like(inputs_BX, bool)], axis=1)
    shared_SS = (owner_S[None, :] == -1) | (owner_S[None, :] == owner_S[:, None])
    allowed_BSS = shared_SS[None] & real_BS[:, None, :] & (positions_BS[:, :, None] >= positions_BS[:, None, :])

    def attend(q: jax.Array, k: jax.Array, v: jax.Array) -> tuple[jax.Array, Any]:
        return jax.nn.dot_product_attention(q, k, v, mask=allowed_BSS[:, None]), ()

    x = qwen3.embed(params, jnp.concatenate([context_BC[:, :-1], inputs_BX], axis=1))
    for index in range(config.layers):
        weights = jax.tree.map(lambda stacked: stacked[index], params["layers"])  # noqa: B023
        x, _ = qwen3.layer(config, weights, x, positions_BS, attend)
    hidden = qwen3.final_norm(config, params, x[:, width - 1 :])
    return qwen3.logits(params, hidden).reshape(rows, many, window, -1)


def loss(config: qwen3.Qwen3Config, params: qwen3.Params, batches: tuple[documents.Batch, ...]) -> jax.Array:
    """Mean cross-entropy over all weighted tokens of the step, in nats."""
    total, weight = jnp.zeros(()), jnp.zeros(())
    for batch in batches:
        logits = response_logits(config, params, batch)
        nll_BRT = optax.softmax_cross_entropy_with_integer_labels(logits, batch[2])
        total, weight = total + jnp.sum(batch[3] * nll_BRT), weight + jnp.sum(batch[3])
    return total / weight


def matrix_axes(params: qwen3.Params) -> Any:
    """Which axes of a stacked weight are its input and output; None for norms and the embedding."""
    axes = {"q": (1, (2, 3)), "k": (1, (2, 3)), "v": (1, (2, 3)), "o": ((1, 2), 3)}
    axes |= {name: (1, 2) for name in ("gate", "up", "down")}

    def of(path: Any, _: Any) -> optax.contrib.MuonDimensionNumbers | None:
        found = axes.get(path[-1].key.rsplit("_", 1)[0])
        return optax.contrib.MuonDimensionNumbers(*found) if found else None

    return jax.tree.map_with_path(of, params)


def optimizer_for(steps: int) -> optax.GradientTransformation:
    """Muon on matrices, Adam on the rest: half the steps that AdamW needs for this model."""
    rate = optax.warmup_cosine_decay_schedule(0.0, 1.0, 30, steps, 0.01)
    muon = optax.contrib.muon(
        lambda step: MUON_RATE * rate(step),
        adam_learning_rate=lambda step: ADAM_RATE * rate(step),
        muon_weight_dimension_numbers=cast(Any, matrix_axes),
        consistent_rms=0.2,
        weight_decay=0.01,
    )
    return optax.chain(optax.clip_by_global_norm(1.0), muon)


def pretrain(
    tokenizer: Any, mix: documents.Mixture, steps: int, seed: int, config: qwen3.Qwen3Config = SHAPE
) -> qwen3.Params:
    """Freshly generated documents at every step; the same weights for the same seed."""
    frame, encode = chat_template.load_chat_template(tokenizer), documents.encoder(tokenizer)
    params = qwen3.init_params(config, jax.random.key(seed))
    optimizer = optimizer_for(steps)

    @jax.jit
    def update(params: Any, state: Any, batches: Any) -> Any:
        value, gradient = jax.value_and_grad(lambda p: loss(config, p, batches))(params)
        changes, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, changes), state, value

    state = optimizer.init(params)
    for step in range(steps):
        batches = documents.batch(encode, frame, mix, tokenizer.pad_token_id, [seed, step])
        params, state, value = update(params, state, batches)
        if step % 100 == 0 or step == steps - 1:
            print(f"step {step:5d}  loss {float(value):.4f}", flush=True)
    return params


def write(out: Path, tokenizer: Any, params: qwen3.Params) -> None:
    """Writes config.json, generation_config.json and model.safetensors."""
    stop, pad = (tokenizer.convert_tokens_to_ids(name) for name in ("<|im_end|>", "<|endoftext|>"))
    ids = {"bos_token_id": pad, "eos_token_id": stop, "pad_token_id": pad}
    generation = {"do_sample": True, "temperature": 1.0, "eos_token_id": [stop, pad], "pad_token_id": pad}
    for name, content in (("config.json", ids), ("generation_config.json", generation)):
        (out / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    hf.save(qwen3.Qwen3(SHAPE, params, source=str(out)), out)


def contexts(tokenizer: Any, problem: tiny.TinyProblem) -> dict[str, list[int]]:
    """What the readers of a problem read; the attempt is the problem's own solution."""
    encode, frame = documents.encoder(tokenizer), chat_template.load_chat_template(tokenizer)
    asked = (frame, problem.question, chat_template.INSTRUCTIONS["math"])
    wrong = feedback.WRONG.format((int(problem.answer) + 1) % 10)
    pieces = {
        "policy": documents.student_pieces(*asked),
        "answer": documents.teacher_pieces(*asked, answer=problem.answer),
        "feedback": documents.teacher_pieces(*asked, feedback=wrong),
        "path": documents.teacher_pieces(*asked, answer=problem.answer, peer=problem.solution),
        "peer": documents.teacher_pieces(*asked, peer=problem.solution),
        "solution": documents.teacher_pieces(*asked, solution=problem.solution),
    }
    return {name: [i for piece in texts for i in encode(piece)] for name, texts in pieces.items()}


def pass_at_1(tokenizer: Any, params: qwen3.Params, count: int) -> dict[tuple[str, float], float]:
    """Share of held-out problems solved, by (reader, temperature)."""
    problems = list(tiny.generate(count, split="heldout", seed=7))
    read = [contexts(tokenizer, problem) for problem in problems]
    ids = {"vocabulary": SHAPE.vocab_size, "pad_id": tokenizer.pad_token_id}
    program = sampler.make_sampler_config(SHAPE, sampler.Capacity(WINDOW, 60, slots=64), **ids)
    weights, shares = sampler.decode_params(params, config=SHAPE, dtype="float32"), {}
    for reader, temperature in itertools.product(read[0], (1.0, 0.0)):
        prompts = Padded(
            jnp.asarray([np.pad(c[reader], (0, WINDOW - len(c[reader]))) for c in read], jnp.int32),
            jnp.asarray([len(c[reader]) for c in read], jnp.int32),
        )
        rollouts = sampler.sample(
            program,
            weights,
            sampler.Requests(prompts, np.arange(count, dtype=np.uint32), 60, 1),
            sampler.sampling_params(temperature=temperature, stop_ids=[tokenizer.eos_token_id]),
            jax.random.key(0),
        ).rollouts
        ends = [f"\\boxed{{{p.answer}}}.{tokenizer.eos_token}" for p in problems]
        texts = tokenizer.batch_decode([r[:n] for r, n in zip(*written(rollouts), strict=True)])
        shares[reader, temperature] = float(np.mean([t.endswith(e) for t, e in zip(texts, ends, strict=True)]))
    return shares


def written(rollouts: Rollouts) -> tuple[np.ndarray, np.ndarray]:
    """Ids and lengths of the only rollout of every problem."""
    return np.asarray(rollouts.response_PGT)[:, 0], np.asarray(rollouts.length_PG)[:, 0]


def main() -> None:
    """Pre-trains and writes the model next to its tokenizer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("assets/tiny_qwen3"))
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=0)
    settings = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(settings.out)
    params = pretrain(tokenizer, documents.Mixture(), settings.steps, settings.seed)
    write(settings.out, tokenizer, params)
    for (reader, temperature), share in pass_at_1(tokenizer, params, 256).items():
        print(f"pass@1 on held-out problems, {reader} context, temperature {temperature}: {share:.3f}")


if __name__ == "__main__":
    main()
