"""d-OPSD, learning from the own verified future (arXiv:2606.18195), with a tiny masked-diffusion Qwen3.

    python -m examples.related.d_opsd

A masked-diffusion model fills in masks, two at a step, block after block, and sees what stands to the right. So a
teacher needs no reference: it is the frozen model that sees a part of what the student itself wrote later, where that
was right in the end.

    student of step n   z_n: the response as it stood then, masks and tokens
    teacher             z_n, a random quarter of the positions after the present block filled in from the final response
    positions K_n       the two masked ones of the block where the teacher's largest logit is largest
    loss                [right] * mean_n sum_{i in K_n} sum_{v in T_20} min(p_S (log p_S - log p_T), .05)

T_20 are the teacher's twenty likeliest tokens; both sides are normalized on them. Up to three tries per question until
one is right (the source: eight). Compared with the same loss where the teacher reads the reference solution in its
prompt and no future.

The model is pre-trained here: the weights of `assets/`, which read from left to right, go on with bidirectional
attention (`models.attention.bidirectional_attention`) and a mask token, on documents with the base's habitual errors,
and on right ones that follow a reference solution. As in the base, a place is predicted at the one before. Masks are
what generation and the teacher meet: a block partly masked, those before it filled, those after it masked wholly or
partly; mean cross-entropy of what is masked (the usual weight 1 / share is left out: it adds noise, and the optimum of
each position is the same). Chains have three or four operations, so that minutes are enough; a response fills 36
places, blocks have 12.

Measured (commit a8e1595, 2-core CPU, idle for most of it, 8 min 41 s; mean over 3 seeds, lowest to highest): nothing is
shown. pass@1 is .357 (.336 to .398) before, .302 (.211 to .352) with its own future, .279 (.227 to .375) with the
reference in the prompt; the seeds differ by more than the teachers. Other rates were not tried. A draft that read the
bare expression, with the base's own optimizer for 200 steps, did not copy its operands (.08 and .12 right; .74 with the
reference in the prompt).
"""

from collections import defaultdict
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from examples.related import bench
from examples.related.bench import Bench
from hsd_jax.data import chat_template, tiny
from hsd_jax.divergence import log_probs, pick
from models import qwen3
from models.attention import bidirectional_attention
from models.qwen3 import Params, Qwen3Config
from tools.tiny_documents import Mixture, slips

PRETRAIN, ROWS, LEARN = 400, 32, 1e-3
STEPS, P, TRIES, HELD_OUT, RATE = 12, 8, 3, 128, 3e-4
RESPONSE, BLOCK, AT_ONCE = 36, 12, 2
DENOISE = RESPONSE // AT_ONCE
SHORT, LONG = 50, 100  # windows of a prompt, and of one with a reference
TEMPERATURE, REVEALED, TOP, CLIP = 0.9, 0.25, 20, 0.05
OWN, REFERENCE = "own future", "reference in the prompt"
MASK = "<|vision_pad|>"  # an id that the task never writes


class Prompts(NamedTuple):
    """Prompts with their padding on the left: all end where the response begins."""

    tokens_BC: Array
    valid_BC: Array


class Batch(NamedTuple):
    """Trajectories for an update: states before each step [N, B, R], final responses, whether they were right."""

    student: Prompts
    teacher: Prompts
    z_NBR: Array
    final_BR: Array
    right_B: Array
    key: Array


def pad_left(rows: list[list[int]], window: int) -> Prompts:
    """Prompts in one window, which must be wide enough."""
    tokens, valid = np.zeros((len(rows), window), np.int32), np.zeros((len(rows), window), bool)
    for i, ids in enumerate(rows):
        tokens[i, window - len(ids) :], valid[i, window - len(ids) :] = ids, True
    return Prompts(jnp.asarray(tokens), jnp.asarray(valid))


def predict(config: Qwen3Config, params: Params, prompts: Prompts, z_BR: Array) -> Array:
    """Logits [B, R, V] of every place of the response, read at the place before; each sees everything."""
    tokens_BS = jnp.concatenate([prompts.tokens_BC, z_BR], axis=1)
    valid_BS = jnp.concatenate([prompts.valid_BC, jnp.ones(z_BR.shape, bool)], axis=1)
    hidden_BSD = qwen3.forward(config, params, tokens_BS, valid_BS, attention=bidirectional_attention)
    return qwen3.logits(params, hidden_BSD[:, prompts.tokens_BC.shape[1] - 1 : -1])


def fill_in(logits_BRV: Array, z_BR: Array, open_BR: Array, mask: int, key: Array) -> Array:
    """One step: of the open places the AT_ONCE where the drawn token is likeliest take it."""
    logits_BRV = jnp.where(jnp.arange(logits_BRV.shape[-1]) == mask, -1e9, logits_BRV)
    drawn_BR = jax.random.categorical(key, logits_BRV / TEMPERATURE)
    sure_BR = jnp.where(open_BR, pick(log_probs(logits_BRV), drawn_BR), -jnp.inf)
    chosen_BR = open_BR & (rank(-sure_BR) < AT_ONCE)
    return jnp.where(chosen_BR, drawn_BR, z_BR)


def rank(x_BR: Array) -> Array:
    """0 for the smallest of a row, 1 for the next, ..."""
    return jnp.argsort(jnp.argsort(x_BR, axis=1), axis=1)


def block_of(n: Array) -> Array:
    """The block that step n fills."""
    return n // (BLOCK // AT_ONCE)


@partial(jax.jit, static_argnames=("config", "mask"))
def denoise(config: Qwen3Config, params: Params, prompts: Prompts, mask: int, key: Array) -> tuple[Array, Array]:
    """Final responses [B, R], and how they stood before every step [N, B, R]."""

    def step(z_BR: Array, n: Array) -> tuple[Array, Array]:
        open_BR = (z_BR == mask) & (jnp.arange(RESPONSE) // BLOCK == block_of(n))
        logits_BRV = predict(config, params, prompts, z_BR)
        return fill_in(logits_BRV, z_BR, open_BR, mask, jax.random.fold_in(key, n)), z_BR

    start_BR = jnp.full((len(prompts.tokens_BC), RESPONSE), mask)
    return jax.lax.scan(step, start_BR, jnp.arange(DENOISE))


def reveal(z_BR: Array, final_BR: Array, block_B: Array, share: float, key: Array) -> Array:
    """z with that share of the places after the block, drawn at random, as they are in the final response."""
    later_BR = jnp.arange(z_BR.shape[1]) // BLOCK > block_B[:, None]
    order_BR = rank(jnp.where(later_BR, jax.random.uniform(key, z_BR.shape), 2.0))
    return jnp.where(order_BR < jnp.round(share * later_BR.sum(axis=1, keepdims=True)), final_BR, z_BR)


def clipped_reverse_kl(student_XV: Array, teacher_XV: Array) -> Array:
    """sum over the teacher's top tokens of min(p_S (log p_S - log p_T), CLIP), both normalized on them; from logits."""
    top_XK, ids_XK = jax.lax.top_k(teacher_XV, TOP)
    student_XK, teacher_XK = log_probs(jnp.take_along_axis(student_XV, ids_XK, axis=-1)), log_probs(top_XK)
    return jnp.sum(jnp.minimum(jnp.exp(student_XK) * (student_XK - teacher_XK), CLIP), axis=-1)


def distill_loss(mask: int, share: float) -> Any:
    """The loss of the docstring as `(config, (params, frozen), batch)`; share 0: the teacher reads no future."""

    def loss(config: Qwen3Config, params: Params, batch: tuple[Params, Batch]) -> Array:
        frozen, rows = batch
        steps, many = rows.z_NBR.shape[:2]
        z_BR = rows.z_NBR.reshape(-1, RESPONSE)  # all steps of all trajectories, side by side
        block_B = block_of(jnp.repeat(jnp.arange(steps), many))
        student, teacher = (jax.tree.map(lambda x: jnp.tile(x, (steps, 1)), p) for p in (rows.student, rows.teacher))
        seen_BR = reveal(z_BR, jnp.tile(rows.final_BR, (steps, 1)), block_B, share, rows.key)
        teacher_BRV = jax.lax.stop_gradient(predict(config, frozen, teacher, seen_BR))
        student_BRV = predict(config, params, student, z_BR)
        open_BR = (z_BR == mask) & (jnp.arange(RESPONSE) // BLOCK == block_B[:, None])
        sure_BR = jnp.where(open_BR, teacher_BRV.max(axis=-1), -jnp.inf)
        chosen_BR = open_BR & (rank(-sure_BR) < AT_ONCE)
        loss_B = jnp.sum(chosen_BR * clipped_reverse_kl(student_BRV, teacher_BRV), axis=1)
        return jnp.mean(loss_B.reshape(steps, many).mean(axis=0) * rows.right_B)

    return loss


def masked_loss(config: Qwen3Config, params: Params, batch: tuple[Prompts, Array, Array]) -> Array:
    """Mean cross-entropy of the masked places; `batch`: prompts, responses, the same with masks."""
    prompts, final_BR, z_BR = batch
    logp_BR = pick(log_probs(predict(config, params, prompts, z_BR)), final_BR)
    hidden_BR = z_BR != final_BR
    return -jnp.sum(hidden_BR * logp_BR) / jnp.sum(hidden_BR)


def prompt(lab: Bench, problem: tiny.TinyProblem, *, informed: bool = False) -> list[int]:
    """What a model reads of a problem; a teacher also the reference solution, in the frame that the base knows."""
    opening = chat_template.prefix(bench.TEMPLATE, problem.question)
    known = chat_template.block("solution", problem.solution), chat_template.CLOSING
    closing = chat_template.suffix(bench.TEMPLATE, bench.INSTRUCTION)
    return [i for piece in (opening, *known * informed, closing) for i in lab.encode(piece)]


def place(lab: Bench, text: str) -> list[int]:
    """A response that fills its places: the text, the stop id, pads."""
    ids = lab.encode(text + bench.STOP)
    return ids + [lab.special(bench.PAD)] * (RESPONSE - len(ids))


def documents(lab: Bench, rng: np.random.Generator, *, informed: bool) -> tuple[Prompts, Array, Array]:
    """What a step of pre-training reads: with errors, or, after a reference solution, without."""
    prompts, responses = [], []
    while len(prompts) < ROWS:
        chain = tiny.random_chain(rng, bench.FEW)
        if tiny.split_of(chain) == "train":
            problem = tiny.TinyProblem("", tiny.question(chain), "", tiny.solution(chain))
            errors = () if informed else slips(rng, chain, Mixture(), attempt=False)
            prompts.append(prompt(lab, problem, informed=informed))
            responses.append(place(lab, tiny.solution(chain, errors)))
    final = np.array(responses, np.int32)
    z = np.where(masked_places(rng), lab.special(MASK), final)
    return pad_left(prompts, LONG if informed else SHORT), jnp.asarray(final), jnp.asarray(z)


def masked_places(rng: np.random.Generator) -> np.ndarray:
    """Masks as student and teacher meet them [ROWS, R]: in a block some, before it none, after it all or some."""
    block = rng.integers(RESPONSE // BLOCK, size=(ROWS, 1))
    here, later = (np.arange(RESPONSE) // BLOCK == block), (np.arange(RESPONSE) // BLOCK > block)
    hidden = np.where(rng.random((ROWS, 1)) < 0.5, 1.0, rng.random((ROWS, 1)))
    return rng.random((ROWS, RESPONSE)) < here * (1 - rng.random((ROWS, 1))) + later * hidden


def pretrain(lab: Bench, params: Params, steps: int) -> Params:
    """The left-to-right base becomes a masked-diffusion model."""
    optimizer, rng = bench.adamw(LEARN), np.random.default_rng(0)
    state = optimizer.init(params)
    for step in range(steps):
        batch = documents(lab, rng, informed=step % 3 == 2)
        params, state, loss = bench.update(masked_loss, lab.config, optimizer, params, state, batch)
        if step % 100 == 0 or step == steps - 1:
            print(f"pre-training, step {step:4}  loss {float(loss):.3f}", flush=True)
    return params


def solve(lab: Bench, params: Params, problems: list[tiny.TinyProblem], key: Array) -> tuple[Array, Array, np.ndarray]:
    """Final responses, the states before every step, and which are right."""
    prompts = pad_left([prompt(lab, p) for p in problems], SHORT)
    final_BR, z_NBR = denoise(lab.config, params, prompts, lab.special(MASK), key)
    texts = [ids[: ids.index(lab.stop)] if lab.stop in ids else ids for ids in np.asarray(final_BR).tolist()]
    return final_BR, z_NBR, np.array([lab.solved(*pair) for pair in zip(problems, texts, strict=True)])


def batch_of(lab: Bench, params: Params, problems: list[tiny.TinyProblem], informed: bool, key: Array) -> Batch:
    """Of every problem its first right try, or the last one, which then counts nothing."""
    final_BR, z_NBR, right_B = solve(lab, params, [p for p in problems for _ in range(TRIES)], key)
    right_PG = right_B.reshape(-1, TRIES)
    first_P = np.where(right_PG.any(axis=1), right_PG.argmax(axis=1), TRIES - 1)
    rows_P = np.arange(len(problems)) * TRIES + first_P
    student = pad_left([prompt(lab, p) for p in problems], SHORT)
    teacher = pad_left([prompt(lab, p, informed=True) for p in problems], LONG) if informed else student
    right_P = jnp.asarray(right_PG.any(axis=1), jnp.float32)
    return Batch(student, teacher, z_NBR[:, rows_P], final_BR[rows_P], right_P, jax.random.fold_in(key, 1))


def train(lab: Bench, frozen: Params, loss: Any, informed: bool, seed: int) -> Params:
    """STEPS updates from the frozen model."""
    params, optimizer, key = frozen, bench.adamw(RATE), jax.random.key(seed)
    state: optax.OptState = optimizer.init(params)
    problems = bench.problems(STEPS * P, split="train", seed=seed, operations=bench.FEW)
    for step in range(STEPS):
        batch = batch_of(lab, params, problems[step * P : (step + 1) * P], informed, jax.random.fold_in(key, step))
        params, state, _ = bench.update(loss, lab.config, optimizer, params, state, (frozen, batch))
    return params


def main() -> None:
    """Pre-trains, then prints pass@1 before and after with either teacher."""
    lab, base = bench.open_bench()
    frozen, mask = pretrain(lab, base, PRETRAIN), lab.special(MASK)
    held_out = bench.problems(HELD_OUT, split="heldout", seed=0, operations=bench.FEW)
    ways = {OWN: (distill_loss(mask, REVEALED), False), REFERENCE: (distill_loss(mask, 0), True)}
    table = defaultdict[str, list[float]](list)
    for seed in range(bench.SEEDS):
        key = jax.random.key(100 + seed)
        table["before"].append(float(solve(lab, frozen, held_out, key)[2].mean()))
        for name, (loss, informed) in ways.items():
            params = train(lab, frozen, loss, informed, seed)
            table[name].append(float(solve(lab, params, held_out, key)[2].mean()))
            print(f"seed {seed}  {name:24} pass@1 {table['before'][-1]:.3f} -> {table[name][-1]:.3f}", flush=True)
    print(f"\n{'teacher reads':26}pass@1")
    for name, values in table.items():
        print(f"{name:26}{bench.spread(values)}")
    print("\ndifference over the seeds")
    print(bench.verdict("pass@1, own future above before", table[OWN], table["before"]))
    print(bench.verdict("pass@1, reference above before", table[REFERENCE], table["before"]))
    print(bench.verdict("pass@1, own future above reference", table[OWN], table[REFERENCE]))


if __name__ == "__main__":
    main()
