"""SPD, self-policy distillation by a capability subspace (arXiv:2605.22675), on the tiny model.

    python -m examples.related.spd

There is no teacher distribution. The model writes its own training texts while an intervention leaves of its keys and
values only what matters for being right; then it is fine-tuned on these texts, unfiltered, without the intervention:

    1. calibrate   L = -1/|S| sum_{t in S} log p(z_t | z_<t) on labeled solutions, S = the tokens that decide
                   correctness (here the digit in the box); dL/dK and dL/dV at the layers {last, L/2}
    2. subspace    all tokens' gradients stacked, G [tokens, dim] = U S V^T; P = V_r V_r^T, r = half of the full rank
    3. generate    one completion per training question with K <- K P_K and V <- V P_V at those layers
    4. fine-tune   next-token cross-entropy on the raw completions

The intervention is an attention that projects (`projected`), given to the sampler as `wrap_attend`; gradients of keys
and values are those of zeros added to them (`models.qwen3.run_layers`). Compared with the same without the projection,
and with a random subspace of the same rank, which says how much of an effect any such disturbance has.

Choices where the paper is silent, and deviations: keys are projected as attention sees them, normalized and rotated
(Qwen3 normalizes keys, so that the place matters; a projection before both could be folded into the weights); one
subspace of all key/value heads together; a calibration text's loss is its mean over S, texts count alike; all weights
are fine-tuned for three epochs on 128 texts, where the paper has LoRA of rank 8 and five epochs on thousands.

Measured (commit ddfd4f1, 2-core CPU, 3 min 2 s user and 31 s system time; mean over 3 seeds, lowest to highest):

    texts written         right when written          held-out pass@1
    base, not fine-tuned                              0.355 (0.340 to 0.367)
    no projection         0.323 (0.281 to 0.367)      0.353 (0.320 to 0.375)
    capability subspace   0.094 (0.070 to 0.117)      0.125 (0.113 to 0.133)
    random subspace       0.094 (0.086 to 0.102)      0.073 (0.059 to 0.094)

The paper's effect does not appear, the opposite does: pass@1 is .228 (.182 to .274, 95 % over the seeds) lower with the
capability subspace than without projection. What is written is spoiled, and fine-tuning learns it. Fine-tuning on texts
of the capability subspace does .052 (.022 to .082) less harm than on those of a random one. Other ranks and places were
not tried.
"""

from collections import defaultdict

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from examples.related import bench
from examples.related.bench import Bench, Texts
from hsd_jax.data.tiny import TinyProblem
from hsd_jax.divergence import log_probs, pick
from hsd_jax.sampler.sampler import DecodeParams
from models import qwen3
from models.attention import reference_attention
from models.qwen3 import Attend, Params, Qwen3Config

CALIBRATION, TRAINING, HELD_OUT = 50, 128, 256
SHARE = 1 / 2  # of the full rank
EPOCHS, RATE = 3, 5e-4
WINDOW = bench.PROMPT + bench.RESPONSE
BASE, PLAIN, CAPABILITY, RANDOM = "base, not fine-tuned", "no projection", "capability subspace", "random subspace"
Projections = dict[int, tuple[Array, Array]]  # of a layer: P_K and P_V, [K * H, K * H]


def correctness_loss(config: Qwen3Config, params: Params, texts: Texts, shift: tuple[Array, Array]) -> Array:
    """Mean over texts of -1/|S| sum_S log p, with `shift` [L, B, S, K, H] added to every layer's keys and values."""
    segments = jnp.zeros(texts.tokens_BS.shape, jnp.int32)
    plain = qwen3.attend_to_self(reference_attention, texts.valid_BS, segments)
    hooks = qwen3.LayerHooks(lambda shift: lambda q, k, v: plain(q, k + shift[0], v + shift[1]), shift)
    positions_BS = qwen3.positions_of(texts.valid_BS, segments)
    hidden_BSD, _ = qwen3.run_layers(config, params, texts.tokens_BS, positions_BS, hooks)
    logp_BS = pick(log_probs(qwen3.logits(params, hidden_BSD[:, :-1])), texts.tokens_BS[:, 1:])
    weights_BS = texts.weights_BS[:, 1:]
    return -jnp.mean(jnp.sum(weights_BS * logp_BS, axis=1) / jnp.sum(weights_BS, axis=1))


def key_value_gradients(config: Qwen3Config, params: Params, texts: Texts) -> tuple[Array, Array]:
    """dL/dK and dL/dV, [L, B, S, K, H] each; zero at pads."""
    shape = (config.layers, *texts.tokens_BS.shape, config.kv_heads, config.head_dim)
    return jax.grad(lambda shift: correctness_loss(config, params, texts, shift))((jnp.zeros(shape), jnp.zeros(shape)))


def subspace(gradient_XE: np.ndarray, share: float) -> np.ndarray:
    """P = V_r V_r^T from the right singular vectors of the stacked gradients; r is that share of their rank."""
    _, sizes, rows_EE = np.linalg.svd(gradient_XE, full_matrices=False)
    full = int((sizes > sizes[0] * 1e-6).sum())
    top_RE = rows_EE[: round(share * full)]
    return top_RE.T @ top_RE


def project(x_BSKH: Array, projection_EE: Array) -> Array:
    """x P over all key/value heads together, E = K * H."""
    flat_BSE = x_BSKH.reshape(*x_BSKH.shape[:2], -1)
    return jnp.einsum("bse,ef->bsf", flat_BSE, projection_EE).reshape(x_BSKH.shape)


def projected(weights: Params, attend: Attend) -> Attend:
    """A layer's attention to projected keys and values, where its weights hold projections."""
    if "project_k_EE" not in weights:
        return attend
    return lambda q, k, v: attend(q, project(k, weights["project_k_EE"]), project(v, weights["project_v_EE"]))


def with_projections(weights: DecodeParams, chosen: Projections) -> DecodeParams:
    """The sampler's weights, with P_K and P_V among those of the chosen layers."""
    layers = list(weights["layers"])
    for i, (k_EE, v_EE) in chosen.items():
        layers[i] = layers[i] | {"project_k_EE": k_EE, "project_v_EE": v_EE}
    return weights | {"layers": tuple(layers)}


def calibration_texts(lab: Bench, problems: list[TinyProblem]) -> Texts:
    """Questions with their labeled solutions; only the digit in the box has a weight."""
    rows = [(lab.prompt(p), lab.encode(p.solution + bench.STOP)) for p in problems]
    texts = bench.texts_of(rows, WINDOW)
    weights_BS = np.zeros(texts.weights_BS.shape, np.float32)
    for row, (prompt, response), problem in zip(weights_BS, rows, problems, strict=True):
        digit = lab.encode(problem.answer)[0]
        row[len(prompt) + max(t for t, token in enumerate(response) if token == digit)] = 1
    return texts._replace(weights_BS=jnp.asarray(weights_BS))


def capability_projections(lab: Bench, gradients: tuple[Array, Array]) -> Projections:
    """P_K and P_V of the layers {last, L/2}."""
    chosen: Projections = {}
    for i in {lab.config.layers - 1, lab.config.layers // 2}:
        k_EE, v_EE = (
            subspace(np.asarray(g[i]).reshape(-1, lab.config.kv_heads * lab.config.head_dim), SHARE) for g in gradients
        )
        chosen[i] = jnp.asarray(k_EE), jnp.asarray(v_EE)
    return chosen


def random_projections(like: Projections, rng: np.random.Generator) -> Projections:
    """Random subspaces of the same ranks."""

    def one(projection_EE: Array) -> Array:
        share = float(np.trace(projection_EE).round()) / len(projection_EE)
        return jnp.asarray(subspace(rng.standard_normal(projection_EE.shape), share), jnp.float32)

    return {i: (one(k_EE), one(v_EE)) for i, (k_EE, v_EE) in like.items()}


def ways(lab: Bench, params: Params, problems: list[TinyProblem], seed: int) -> dict[str, Projections]:
    """What is projected while texts are written, by name; the subspace from these problems."""
    gradients = jax.jit(key_value_gradients, static_argnums=0)(lab.config, params, calibration_texts(lab, problems))
    capability = capability_projections(lab, gradients)
    return {PLAIN: {}, CAPABILITY: capability, RANDOM: random_projections(capability, np.random.default_rng(seed))}


def main() -> None:
    """Prints for every way of writing the texts: how many were right, and pass@1 after fine-tuning on them."""
    lab, params = bench.open_bench()
    lab = bench.replace(lab, program=bench.replace(lab.program, wrap_attend=projected))
    held_out = bench.problems(HELD_OUT, split="heldout", seed=0)
    right, after = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    for seed in range(bench.SEEDS):
        problems = bench.problems(CALIBRATION + TRAINING, split="train", seed=seed)
        prompts, key = [lab.prompt(p) for p in problems[CALIBRATION:]], jax.random.key(seed)
        after[BASE].append(bench.pass_at_1(lab, params, held_out, jax.random.fold_in(key, 1)))
        for name, chosen in ways(lab, params, problems[:CALIBRATION], seed).items():
            written = bench.write(lab, with_projections(bench.decode_weights(lab, params), chosen), prompts, key)
            solved = [lab.solved(p, y) for p, y in zip(problems[CALIBRATION:], written, strict=True)]
            texts = bench.texts_of(zip(prompts, written, strict=True), WINDOW)
            tuned = bench.fine_tune(lab, params, texts, np.random.default_rng(seed), epochs=EPOCHS, rate=RATE)
            right[name].append(float(np.mean(solved)))
            after[name].append(bench.pass_at_1(lab, tuned, held_out, jax.random.fold_in(key, 1)))
            print(f"seed {seed}  {name:20} right when written {right[name][-1]:.3f}", end="  ")
            print(f"pass@1 {after[BASE][-1]:.3f} -> {after[name][-1]:.3f}", flush=True)
    report(right, after)


def report(right: dict[str, list[float]], after: dict[str, list[float]]) -> None:
    """The table, and what the seeds show."""
    print(f"\n{'texts written':22}{'right when written':28}held-out pass@1")
    for name, values in after.items():
        print(f"{name:22}{bench.spread(right[name]) if name in right else '':28}{bench.spread(values)}")
    print("\npass@1, difference over the seeds")
    for other in (PLAIN, RANDOM):
        print(bench.verdict(f"{CAPABILITY} above {other}", after[CAPABILITY], after[other]))


if __name__ == "__main__":
    main()
