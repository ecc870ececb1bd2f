"""Hindsight Self-Distillation (HSD, arXiv:2606.15576) in one file: sample, grade, choose peers, distill, repeat.

    python -m examples.hsd_in_one_file      # trains the tiny Qwen3 of assets/ on a CPU, in a few minutes

The policy answers each question G times, and a verifier grades the answers. Two attempts at a question often agree up
to some token and part there, one to fail and one to succeed. Only hindsight tells which token that was: a model that
reads the true answer and the attempt that succeeded knows what should have come next. So it is its own teacher:

    student   reads [question],                                and predicts its own attempt o;
    teacher   reads [question; true answer; successful peer],  and predicts the same tokens of the same attempt.

Training moves the student towards the teacher at every token of o. Where the peer agrees with o, both predict alike and
nothing is learned; where they part, the distributions differ: credit falls on the token that decided the outcome.

This is the method without what makes it fast: dense attention, one device, no packing. `hsd_jax` computes the same step
(tests/examples/ holds loss and gradient equal) on pods. From it this file takes the questions and the verifier alone.

Array names end in their axes:  P problems   G rollouts of a problem   B = P * G rows   C context   T response
S = C + T   X keys   N heads   K key/value heads   H head size   D width   V vocabulary.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from hsd_jax.data import tiny
from hsd_jax.data.tiny import TinyProblem
from hsd_jax.verifiers.math import before_a_cut, grade

MODEL = Path(__file__).parents[1] / "assets" / "tiny_qwen3"
STEPS, P, G = 40, 16, 8
PROMPT, CONTEXT, RESPONSE = 64, 160, 64  # windows: the question; the question with all that is privileged; an answer
OFFSETS = range(-4, 9)  # from the divergence, of the credit that is printed
STOP = "<|im_end|>"
BETA = 1e-3  # weight of the KL to the initial policy
OPTIMIZER = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(2e-4, b1=0.9, b2=0.95, weight_decay=0.0))

Params = dict[str, Array]  # by their names in the safetensors file; matrices are [out, in]
Cache = list[tuple[Array, Array]]  # keys and values [B, X, K, H] of every layer


# ---- 1. Qwen3: rotary positions, RMS norm (also of queries and keys), grouped key/value heads, SwiGLU


@dataclass(frozen=True)
class Shape:
    """What the weights themselves do not tell of a model."""

    layers: int
    kv_heads: int
    head_dim: int
    theta: float
    eps: float


def load(directory: Path) -> tuple[Shape, Params]:
    """A model in Hugging Face's format."""
    c = json.loads((directory / "config.json").read_text())
    shape = Shape(c["num_hidden_layers"], c["num_key_value_heads"], c["head_dim"], c["rope_theta"], c["rms_norm_eps"])
    return shape, {name: jnp.asarray(x) for name, x in load_file(directory / "model.safetensors").items()}


def rms_norm(x: Array, scale: Array, eps: float) -> Array:
    """x / sqrt(mean x^2 + eps) * scale."""
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + eps) * scale


def rotate(x_BSNH: Array, position_BS: Array, theta: float) -> Array:
    """Rotary embedding: turns each pair (i, i + H/2) by an angle proportional to the position."""
    half = x_BSNH.shape[-1] // 2
    angle_BS1H = (position_BS[..., None] * theta ** (-jnp.arange(half) / half))[:, :, None]
    cos, sin = jnp.cos(angle_BS1H), jnp.sin(angle_BS1H)
    a, b = jnp.split(x_BSNH, 2, axis=-1)
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def forward(
    shape: Shape, params: Params, tokens_BS: Array, valid_BX: Array, cache: Cache | None = None, at: int | Array = 0
) -> tuple[Array, Cache]:
    """Logits [B, S, V] after each of the tokens in columns at, at + 1, ... of X, and the cache with their keys."""
    (rows, steps), columns = tokens_BS.shape, valid_BX.shape[1]
    empty = jnp.zeros((rows, columns, shape.kv_heads, shape.head_dim))
    cache, written = cache or [(empty, empty)] * shape.layers, []
    column_S = at + jnp.arange(steps)
    position_BS = (jnp.cumsum(valid_BX, axis=1) - 1)[:, column_S]  # padding takes no position
    seen_BSX = valid_BX[:, None, :] & (column_S[:, None] >= jnp.arange(columns))
    x_BSD = params["model.embed_tokens.weight"][tokens_BS]
    for i, (k_BXKH, v_BXKH) in enumerate(cache):
        prefix = f"model.layers.{i}."
        w = {name.removeprefix(prefix): x for name, x in params.items() if name.startswith(prefix)}
        h = rms_norm(x_BSD, w["input_layernorm.weight"], shape.eps)
        q, k, v = ((h @ w[f"self_attn.{x}_proj.weight"].T).reshape(rows, steps, -1, shape.head_dim) for x in "qkv")
        q = rotate(rms_norm(q, w["self_attn.q_norm.weight"], shape.eps), position_BS, shape.theta)
        k = rotate(rms_norm(k, w["self_attn.k_norm.weight"], shape.eps), position_BS, shape.theta)
        k_BXKH = jax.lax.dynamic_update_slice_in_dim(k_BXKH, k, at, axis=1)
        v_BXKH = jax.lax.dynamic_update_slice_in_dim(v_BXKH, v, at, axis=1)
        written.append((k_BXKH, v_BXKH))
        out_BSNH = jax.nn.dot_product_attention(q, k_BXKH, v_BXKH, mask=seen_BSX[:, None])
        x_BSD += out_BSNH.reshape(rows, steps, -1) @ w["self_attn.o_proj.weight"].T
        h = rms_norm(x_BSD, w["post_attention_layernorm.weight"], shape.eps)
        gated = jax.nn.silu(h @ w["mlp.gate_proj.weight"].T) * (h @ w["mlp.up_proj.weight"].T)
        x_BSD += gated @ w["mlp.down_proj.weight"].T
    head_VD = params.get("lm_head.weight", params["model.embed_tokens.weight"])  # small models tie the two
    return rms_norm(x_BSD, params["model.norm.weight"], shape.eps) @ head_VD.T, written


# ---- 2. Sample: attempts from the current policy, at temperature 1


class Padded(NamedTuple):
    """Contexts with their padding on the left: all end in the last column, where the response begins."""

    tokens_BC: Array
    valid_BC: Array


def pad_left(rows: Sequence[Sequence[int]], width: int) -> Padded:
    """Rows of ids in one window, which must be wide enough."""
    tokens, valid = np.zeros((len(rows), width), np.int32), np.zeros((len(rows), width), bool)
    for i, ids in enumerate(rows):
        tokens[i, width - len(ids) :], valid[i, width - len(ids) :] = ids, True
    return Padded(jnp.asarray(tokens), jnp.asarray(valid))


@partial(jax.jit, static_argnames=("shape", "stop"))
def sample(shape: Shape, params: Params, prompt: Padded, key: Array, stop: int) -> tuple[Array, Array]:
    """Sampled ids [B, T], and how many of them are the attempt [B]: up to the stop id, which counts."""
    valid_BS = jnp.pad(prompt.valid_BC, ((0, 0), (0, RESPONSE)), constant_values=True)
    logits_BSV, cache = forward(shape, params, prompt.tokens_BC, valid_BS)

    def step(carry: tuple[Array, Cache], t: Array) -> tuple[tuple[Array, Cache], Array]:
        logits_BV, cache = carry
        token_B = jax.random.categorical(jax.random.fold_in(key, t), logits_BV)
        logits_B1V, cache = forward(shape, params, token_B[:, None], valid_BS, cache, PROMPT + t)
        return (logits_B1V[:, 0], cache), token_B

    _, token_TB = jax.lax.scan(step, (logits_BSV[:, -1], cache), jnp.arange(RESPONSE))
    stops_BT = token_TB.T == stop
    return token_TB.T, jnp.where(stops_BT.any(axis=1), stops_BT.argmax(axis=1) + 1, RESPONSE)


# ---- 3. Peers: which successful attempt each teacher reads


def choose_peers(rewards_PG: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Of every rollout i a peer j, uniform on S_i = {j != i : R_j = 1}; -1 where S_i is empty.   (Eq. 9)"""
    peers_PG = np.full(rewards_PG.shape, -1)
    for p, i in np.ndindex(rewards_PG.shape):
        successful = [j for j, reward in enumerate(rewards_PG[p]) if j != i and reward == 1]
        if successful:
            peers_PG[p, i] = rng.choice(successful)
    return peers_PG


def divergence(mine: Sequence[int], peers: Sequence[int]) -> int:
    """tau: the first t with o_t != o_peer,t; -1 where there is none.   (Eq. 11)"""
    return next((t for t in range(len(mine)) if mine[t : t + 1] != peers[t : t + 1]), -1)


# ---- 4. Contexts: those of student and teacher end alike, so that both start the response from the same tokens

QUESTION = "<|im_start|>user\n{problem.question}\n\n"
ANSWER = "=== Reference answer ===\n{problem.answer}\n=== End of reference answer ===\n\n"
PEER = "=== A correct attempt ===\n", "\n=== End of correct attempt ===\n\n"
CLOSING = "Work through the original problem yourself.\n"
INSTRUCTION = (
    "Please reason step by step, and put your final answer within \\boxed{{}}.<|im_end|>\n"
    "<|im_start|>assistant\n<think>\n\n</think>\n\n"
)


def encode(tokenizer: Tokenizer, text: str, problem: TinyProblem) -> list[int]:
    """The ids of a text with the problem's fields filled in."""
    return tokenizer.encode(text.format(problem=problem), add_special_tokens=False).ids


def student_context(tokenizer: Tokenizer, problem: TinyProblem) -> list[int]:
    """q."""
    return encode(tokenizer, QUESTION + INSTRUCTION, problem)


def teacher_context(tokenizer: Tokenizer, problem: TinyProblem, peer: Sequence[int]) -> list[int]:
    """q, c with c = (a*, o_j), or a* alone where there is no peer; the ids of o_j as they were sampled.   (Eq. 9)"""
    before, after = (encode(tokenizer, text, problem) for text in PEER)
    attempt = [*before, *peer, *after] if peer else []
    known = encode(tokenizer, QUESTION + ANSWER, problem)
    return known + attempt + encode(tokenizer, CLOSING + INSTRUCTION, problem)


# ---- 5. The loss: KL(teacher || student) at every token of the student's own attempts


class Batch(NamedTuple):
    """What an update reads."""

    student: Padded
    teacher: Padded
    response_BT: Array
    length_B: Array


def response_logp(shape: Shape, params: Params, context: Padded, batch: Batch) -> Array:
    """Log-probabilities [B, T, V] where a token of the response is predicted, after a context."""
    inside_BT = jnp.arange(batch.response_BT.shape[1]) < batch.length_B[:, None]
    tokens_BS = jnp.concatenate([context.tokens_BC, batch.response_BT], axis=1)
    logits_BSV, _ = forward(shape, params, tokens_BS, jnp.concatenate([context.valid_BC, inside_BT], axis=1))
    first = context.tokens_BC.shape[1] - 1  # the last token of the context predicts the first of the response
    return jax.nn.log_softmax(logits_BSV[:, first:-1])


def hsd_loss(params: Params, shape: Shape, teacher: Params, initial: Params, batch: Batch) -> tuple[Array, Array]:
    """mean_i 1/|o_i| sum_t [KL(sg teacher || student) + beta KL(student || initial)], and credit A_t [B, T].

    A teacher is a context, not a model: its weights may be the student's, as in the paper.   (Eq. 10 and 13)
    """
    student_BTV = response_logp(shape, params, batch.student, batch)
    teacher_BTV = jax.lax.stop_gradient(response_logp(shape, teacher, batch.teacher, batch))
    initial_BTV = jax.lax.stop_gradient(response_logp(shape, initial, batch.student, batch))
    kl_BT = jnp.sum(jnp.exp(teacher_BTV) * (teacher_BTV - student_BTV), axis=-1)
    drift_BT = jnp.sum(jnp.exp(student_BTV) * (student_BTV - initial_BTV), axis=-1)
    inside_BT = jnp.arange(kl_BT.shape[1]) < batch.length_B[:, None]
    loss_B = jnp.sum(jnp.where(inside_BT, kl_BT + BETA * drift_BT, 0), axis=1) / batch.length_B
    # A_t = log teacher(o_t) - log student(o_t): what hindsight says of the token that was sampled   (Eq. 2)
    credit_BT = jnp.take_along_axis(teacher_BTV - student_BTV, batch.response_BT[..., None], axis=-1)[..., 0]
    return jnp.mean(loss_B), credit_BT


@partial(jax.jit, static_argnames="shape")
def update(
    shape: Shape, params: Params, opt_state: optax.OptState, teacher: Params, initial: Params, batch: Batch
) -> tuple[Params, optax.OptState, Array, Array]:
    """One step of AdamW: new weights and moments, the loss, and the credit [B, T]."""
    (loss, credit_BT), grads = jax.value_and_grad(hsd_loss, has_aux=True)(params, shape, teacher, initial, batch)
    changes, opt_state = OPTIMIZER.update(grads, opt_state, params)
    return jax.tree.map(jnp.add, params, changes), opt_state, loss, credit_BT


# ---- 6. Train


class Rollouts(NamedTuple):
    """Graded attempts: on the device right-padded, on the host as lists of ids that end in the stop id."""

    response_BT: Array
    length_B: Array
    ids: list[list[int]]
    rewards_PG: np.ndarray


def roll_out(
    shape: Shape, params: Params, tokenizer: Tokenizer, problems: Sequence[TinyProblem], samples: int, key: Array
) -> Rollouts:
    """`samples` graded attempts at every problem."""
    asked = [problem for problem in problems for _ in range(samples)]
    prompt = pad_left([student_context(tokenizer, problem) for problem in asked], PROMPT)
    stop = tokenizer.token_to_id(STOP)
    response_BT, length_B = sample(shape, params, prompt, key, stop)
    ids = [row[:length].tolist() for row, length in zip(np.asarray(response_BT), np.asarray(length_B), strict=True)]
    texts = [tokenizer.decode(row) for row in ids]
    texts = [text if row[-1] == stop else before_a_cut(text) for text, row in zip(texts, ids, strict=True)]
    rewards = [grade(text, problem.answer).reward for text, problem in zip(texts, asked, strict=True)]
    return Rollouts(response_BT, length_B, ids, np.reshape(rewards, (-1, samples)))


def make_batch(
    tokenizer: Tokenizer, problems: Sequence[TinyProblem], rollouts: Rollouts, peers_PG: np.ndarray
) -> Batch:
    """The update's input: what student and teacher of every rollout read."""
    stop, group = tokenizer.token_to_id(STOP), peers_PG.shape[1]
    student, teacher = [], []
    for (p, _), peer in np.ndenumerate(peers_PG):
        text = [token for token in rollouts.ids[p * group + peer] if token != stop] if peer >= 0 else []
        student.append(student_context(tokenizer, problems[p]))
        teacher.append(teacher_context(tokenizer, problems[p], text))
    return Batch(pad_left(student, PROMPT), pad_left(teacher, CONTEXT), rollouts.response_BT, rollouts.length_B)


def credit_profile(credit_BT: np.ndarray, rollouts: Rollouts, peers_PG: np.ndarray) -> str:
    """Mean |A_t| (nats) by distance from the divergence, over the rollouts that part from a peer."""
    sizes = {offset: [] for offset in OFFSETS}
    for row, ((p, _), peer) in enumerate(np.ndenumerate(peers_PG)):
        tau = divergence(rollouts.ids[row], rollouts.ids[p * peers_PG.shape[1] + peer]) if peer >= 0 else -1
        for t in range(len(rollouts.ids[row])) if tau >= 0 else ():
            sizes.get(t - tau, []).append(abs(credit_BT[row, t]))
    return " ".join(f"{np.mean(sizes[offset]) if sizes[offset] else 0:5.2f}" for offset in OFFSETS)


def main() -> None:
    """Trains and prints progress; at the end, where credit fell in the first step and in the last."""
    shape, initial = load(MODEL)
    tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    questions = tiny.generate(STEPS * P, split="train", seed=0)
    held_out = list(tiny.generate(128, split="heldout", seed=0))
    params, opt_state, teacher = initial, OPTIMIZER.init(initial), initial  # the paper's teacher: `params`, always
    rng, key, began, profiles = np.random.default_rng(0), jax.random.key(0), time.monotonic(), {}

    def pass_at_1() -> str:
        parts = [held_out[i : i + P * G // 4] for i in range(0, len(held_out), P * G // 4)]
        scores = [roll_out(shape, params, tokenizer, part, 4, jax.random.key(1)).rewards_PG for part in parts]
        return f"{np.mean(scores):8.3f}"

    print(f"step  reward  coverage    loss  held-out pass@1  seconds\n   0{'':24}{pass_at_1()}")
    for step in range(1, STEPS + 1):
        problems = list(islice(questions, P))
        rollouts = roll_out(shape, params, tokenizer, problems, G, jax.random.fold_in(key, step))
        peers_PG = choose_peers(rollouts.rewards_PG, rng)
        batch = make_batch(tokenizer, problems, rollouts, peers_PG)
        params, opt_state, loss, credit_BT = update(shape, params, opt_state, teacher, initial, batch)
        profiles[step] = credit_profile(np.asarray(credit_BT), rollouts, peers_PG)
        score = pass_at_1() if step % 10 == 0 else ""
        means = f"{rollouts.rewards_PG.mean():8.2f}{(peers_PG >= 0).mean():10.2f}{loss:8.4f}"
        print(f"{step:4}{means}{score:>17}{time.monotonic() - began:9.0f}", flush=True)
    print("\n|A_t| in nats by t - tau\n        " + " ".join(f"{offset:5}" for offset in OFFSETS))
    for step in (1, STEPS):
        print(f"step {step:2} {profiles[step]}")


if __name__ == "__main__":
    main()
