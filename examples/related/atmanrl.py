"""AtManRL, attention saliency as a reward (arXiv:2604.16158), on the tiny model.

    python -m examples.related.atmanrl

A rollout is rewarded for being right, and for reasoning that its answer depends on. How much it depends is learnt for
each rollout: an additive mask H on the attention scores, on the columns of the reasoning, starts by suppressing them,
and an inner optimizer re-enables those that the answer needs, while the model's weights stay:

    min_H   -1/N sum_n log p(answer token n | reasoning, H)      H starts at c = -0.4, AdamW (.6, .9999, decay .05),
                                                                 H <= 0 by a clamp, 10 H is added to the scores
    R = R_out + R_sal     R_out = 0 right, -1 wrong;  R_sal = 1 - mean over the causal region of H / c
    A = R - mean of the group;  clipped policy gradient with the ratio of the sequence, .2

The paper's effect is shorter traces that are right as often. A solution of our task has one form and cannot become
shorter, so the base first learns to be idle: it is fine-tuned on solutions with its habitual errors, in which steps are
followed by a line that says nothing, a share of them that is drawn anew for every solution. Outcome + saliency is
compared with the outcome alone, from this base.

The sign: as printed, R_sal is the mean of H / c, which is 1 where a column stays suppressed and 0 where it was needed,
so that it would reward reasoning that nothing depends on; the text says the opposite. `main` prints both on a toy
trace with and without idle lines. Decay moves H towards 0 on its own, the same everywhere.

One gradient instead of many steps: d log p(answer) / d H at H = 0, `proxy`; its rank correlation, over the columns of a
rollout, with the learnt mask is printed.

Choices where the paper is silent, and deviations: one mask for all layers and heads; 8 inner steps of .025 instead of
200 of .001 while training (both are compared); the ratio is that of GSPO, the mean over tokens; the answer is the digit
in the box, the reasoning everything before the last line; one update per batch, so that the clip does not act.

Measured (commit a8e1595, 2-core CPU, idle, 3 min 38 s; mean over 3 seeds, lowest to highest): of the effect only its
means appears. Saliency rises, .056 (.045 to .063) against .046 with the outcome alone; solutions are not shorter, 34.1
tokens (31.6 to 35.8) against 33.4, and pass@1 is .473 (.379 to .543) against .474 and .456 before. The mask of 8 steps
orders the columns as that of 200 does (rank correlation .949), the one gradient does not (-.084). The sign as printed
would pay the toy trace with idle lines more (.933 against .908), the one used here pays it less (.067 against .092).
"""

from collections import defaultdict
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from scipy.stats import rankdata

from examples.related import bench
from examples.related.bench import Bench, Texts
from hsd_jax.data import tiny
from hsd_jax.divergence import log_probs, pick
from models import qwen3
from models.qwen3 import Params, Qwen3Config
from tools.tiny_documents import Mixture, slips

STEPS, P, G, HELD_OUT = 10, 6, 4, 256
RATE, CLIP = 5e-4, 0.2
IDLE, ROOM = "step by step\n", 56  # the tokens of a solution that is as idle as can be, and some more
WINDOW = bench.PROMPT + ROOM
DOCUMENTS, EPOCHS, LEARN = 1024, 2, 1e-3
START, SCALE = -0.4, 10.0
LONG, SHORT = (200, 1e-3), (8, 2.5e-2)  # inner steps and their rate: the paper's, and ours while training
LAST_LINE = "The answer is"


class Traces(NamedTuple):
    """Rollouts: `answer_BS` marks the tokens of the answer, `region_BSS` where the mask may act: query, column."""

    texts: Texts
    answer_BS: Array
    region_BSS: Array


def traces_of(lab: Bench, prompts: list[list[int]], responses: list[list[int]]) -> Traces:
    """Finds the answer (what is in the box) and the columns of the reasoning (all that stands before the last line).

    A response without a box has no answer, and no region.
    """
    texts = bench.texts_of(zip(prompts, responses, strict=True), WINDOW)
    answer, columns = np.zeros((2, *texts.tokens_BS.shape), bool)
    for row, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        pieces = [lab.tokenizer.decode([i], skip_special_tokens=False) for i in response]
        ends = np.cumsum([len(piece) for piece in pieces])
        text = "".join(pieces)
        line, box = text.rfind(LAST_LINE), text.rfind("\\boxed{")
        if 0 <= line < box:
            first = int(np.searchsorted(ends, box + len("\\boxed{"), side="right"))
            answer[row, len(prompt) + min(first, len(response) - 1)] = True
            columns[row, len(prompt) : len(prompt) + int(np.searchsorted(ends, line, side="right"))] = True
    causal_SS = np.tri(WINDOW, dtype=bool)
    region_BSS = columns[:, None, :] & causal_SS & np.asarray(texts.valid_BS)[:, :, None]
    return Traces(texts, jnp.asarray(answer), jnp.asarray(region_BSS))


def answer_logp(config: Qwen3Config, params: Params, traces: Traces, bias_BSS: Array) -> Array:
    """1/N sum_n log p(answer token n), [B], with `bias_BSS` added to the attention scores of all layers and heads."""
    tokens_BS, valid_BS, _ = traces.texts
    mask_BSS = jnp.tri(tokens_BS.shape[1], dtype=bool) & valid_BS[:, None]
    attend = lambda q, k, v: (  # noqa: E731
        jax.nn.dot_product_attention(q, k, v, bias=bias_BSS[:, None], mask=mask_BSS[:, None]),
        (),
    )
    positions_BS = qwen3.positions_of(valid_BS, jnp.zeros_like(tokens_BS))
    hidden_BSD, _ = qwen3.run_layers(config, params, tokens_BS, positions_BS, qwen3.LayerHooks(lambda _: attend))
    logp_BS = pick(log_probs(qwen3.logits(params, hidden_BSD[:, :-1])), tokens_BS[:, 1:])
    answer_BS = traces.answer_BS[:, 1:]
    return jnp.sum(answer_BS * logp_BS, axis=1) / jnp.maximum(jnp.sum(answer_BS, axis=1), 1)


@partial(jax.jit, static_argnames="config")
def learn_mask(config: Qwen3Config, params: Params, traces: Traces, steps: int, rate: float) -> Array:
    """H [B, S, S] after the inner optimizer; 0 outside the region."""
    inner = optax.adamw(rate, b1=0.6, b2=0.9999, weight_decay=0.05)

    def loss(mask_BSS: Array) -> Array:
        return -jnp.sum(answer_logp(config, params, traces, SCALE * mask_BSS))

    def step(_: int, carry: tuple[Array, optax.OptState]) -> tuple[Array, optax.OptState]:
        mask_BSS, state = carry
        gradient = jax.grad(loss)(mask_BSS) * traces.region_BSS
        changes, state = inner.update(gradient, state, mask_BSS)
        mask_BSS = jnp.minimum(jnp.asarray(optax.apply_updates(mask_BSS, changes)), 0)
        return mask_BSS, state

    start_BSS = START * traces.region_BSS
    return jax.lax.fori_loop(0, steps, step, (start_BSS, inner.init(start_BSS)))[0]


def saliency(mask_BSS: Array, region_BSS: Array) -> Array:
    """1 - mean over the region of H / c, [B]: the share that had to be re-enabled; 0 where there is no region."""
    size_B = jnp.sum(region_BSS, axis=(1, 2))
    return jnp.where(size_B > 0, 1 - jnp.sum(mask_BSS / START, axis=(1, 2)) / jnp.maximum(size_B, 1), 0)


@partial(jax.jit, static_argnames="config")
def proxy(config: Qwen3Config, params: Params, traces: Traces) -> Array:
    """d log p(answer) / d H at H = 0, [B, S, S]: one gradient says what a little less attention would cost."""
    zero_BSS = jnp.zeros(traces.region_BSS.shape)
    gradient = jax.grad(lambda mask_BSS: jnp.sum(answer_logp(config, params, traces, SCALE * mask_BSS)))(zero_BSS)
    return gradient * traces.region_BSS


def by_column(x_BSS: Array, region_BSS: Array) -> np.ndarray:
    """Mean over the queries of every column of the region, NaN elsewhere, [B, S]."""
    count_BS = np.asarray(region_BSS.sum(axis=1))
    return np.where(count_BS > 0, np.asarray((x_BSS * region_BSS).sum(axis=1)) / np.maximum(count_BS, 1), np.nan)


def rank_correlation(a_BS: np.ndarray, b_BS: np.ndarray) -> float:
    """Spearman's, over the columns of a rollout, mean over the rollouts that have some."""
    rows = [(a[~np.isnan(a)], b[~np.isnan(b)]) for a, b in zip(a_BS, b_BS, strict=True)]
    return float(np.mean([np.corrcoef(rankdata(a), rankdata(b))[0, 1] for a, b in rows if len(a) > 2]))


def policy_loss(config: Qwen3Config, params: Params, batch: tuple[Texts, Array, Array]) -> Array:
    """-mean_i min(s_i A_i, clip(s_i, 1 - .2, 1 + .2) A_i), s_i = exp(mean_t log p / p_old) of the sequence."""
    texts, old_BS, advantage_B = batch
    change_BS = texts.weights_BS * (bench.token_logp(config, params, texts) - old_BS)
    ratio_B = jnp.exp(jnp.sum(change_BS, axis=1) / jnp.sum(texts.weights_BS, axis=1))
    return -jnp.mean(jnp.minimum(ratio_B * advantage_B, jnp.clip(ratio_B, 1 - CLIP, 1 + CLIP) * advantage_B))


def idle_solution(chain: tiny.Chain, rng: np.random.Generator) -> str:
    """A solution with habitual errors; a share of its steps, drawn anew, is followed by an idle line."""
    *steps, last = tiny.solution(chain, slips(rng, chain, Mixture(), attempt=False)).split("\n")
    idle = rng.random(len(steps)) < rng.random()
    return "".join(step + "\n" + IDLE * more for step, more in zip(steps, idle.tolist(), strict=True)) + last


def make_base(lab: Bench, params: Params) -> Params:
    """The tiny model, after it has learnt to be idle."""
    rng, rows = np.random.default_rng(0), []
    while len(rows) < DOCUMENTS:
        chain = tiny.random_chain(rng, bench.FEW)
        if tiny.split_of(chain) == "train":
            prompt = lab.prompt(tiny.TinyProblem("", tiny.question(chain), "", ""))
            rows.append((prompt, lab.encode(idle_solution(chain, rng) + bench.STOP)))
    return bench.fine_tune(lab, params, bench.texts_of(rows, WINDOW), rng, epochs=EPOCHS, rate=LEARN)


def toy(lab: Bench) -> tuple[list[list[int]], list[list[int]]]:
    """Prompts and responses: one trace without and with idle lines."""
    problem = tiny.TinyProblem("toy", "Evaluate from left to right, modulo 10: 7+3-2+4", "2", "")
    steps = ["7+3=0\n", "0-2=8\n", "8+4=2\n", LAST_LINE + " \\boxed{2}." + bench.STOP]
    return [lab.prompt(problem)] * 2, [lab.encode(idle.join(steps)) for idle in ("", IDLE)]


def show_masks(lab: Bench, params: Params, problems: list[tiny.TinyProblem]) -> None:
    """Prints what masks say of the toy traces, and how well cheap ones rank columns as the paper's training does."""
    asked = [lab.prompt(problem) for problem in problems]
    responses = bench.write(lab, bench.decode_weights(lab, params), asked, jax.random.key(9))
    prompts, traces = toy(lab)
    traces = traces_of(lab, prompts + asked, traces + responses)
    region_BSS = traces.region_BSS
    long_BSS, short_BSS = (learn_mask(lab.config, params, traces, *how) for how in (LONG, SHORT))
    learnt, quick = (by_column(1 - mask_BSS / START, region_BSS) for mask_BSS in (long_BSS, short_BSS))
    for name, value in zip(("steps alone", "with idle lines"), saliency(long_BSS, region_BSS)[:2], strict=True):
        print(f"toy: {name:16} 1 - mean(H/c) {float(value):.4f}   mean(H/c), as printed {1 - float(value):.4f}")
    for row, column_S in enumerate(learnt[:2]):
        shown = np.flatnonzero(~np.isnan(column_S))
        words = [lab.tokenizer.decode([int(traces.texts.tokens_BS[row, i])]).replace("\n", "|") for i in shown]
        print("toy: re-enabled  " + " ".join(f"{w} {column_S[i]:.2f}" for w, i in zip(words, shown, strict=True)))
    gradient = by_column(proxy(lab.config, params, traces), region_BSS)
    print(f"rank correlation with the mask of 200 steps, {len(asked)} rollouts: mask of {SHORT[0]} steps", end=" ")
    print(f"{rank_correlation(quick[2:], learnt[2:]):.3f}, one gradient", end=" ")
    print(f"{rank_correlation(gradient[2:], learnt[2:]):.3f}", flush=True)


def train(lab: Bench, params: Params, seed: int, *, with_saliency: bool) -> Params:
    """STEPS updates."""
    optimizer, key = bench.adamw(RATE), jax.random.key(seed)
    state = optimizer.init(params)
    problems = bench.problems(STEPS * P, split="train", seed=seed, operations=bench.FEW)
    for step in range(STEPS):
        asked = [problem for problem in problems[step * P : (step + 1) * P] for _ in range(G)]
        prompts = [lab.prompt(problem) for problem in asked]
        responses = bench.write(lab, bench.decode_weights(lab, params), prompts, jax.random.fold_in(key, step))
        traces = traces_of(lab, prompts, responses)
        reward_B = np.array([lab.solved(*pair) for pair in zip(asked, responses, strict=True)]) - 1.0
        if with_saliency:
            reward_B += np.asarray(saliency(learn_mask(lab.config, params, traces, *SHORT), traces.region_BSS))
        reward_PG = reward_B.reshape(P, G)
        advantage_B = jnp.asarray((reward_PG - reward_PG.mean(axis=1, keepdims=True)).ravel(), jnp.float32)
        batch = traces.texts, logps(lab.config, params, traces.texts), advantage_B
        params, state, _ = bench.update(policy_loss, lab.config, optimizer, params, state, batch)
    return params


def evaluate(lab: Bench, params: Params, problems: list[tiny.TinyProblem], key: Array) -> tuple[float, float, float]:
    """(pass@1, tokens, saliency of the first P * G responses)."""
    prompts = [lab.prompt(problem) for problem in problems]
    responses = bench.write(lab, bench.decode_weights(lab, params), prompts, key)
    traces = traces_of(lab, prompts[: P * G], responses[: P * G])
    salient_B = saliency(learn_mask(lab.config, params, traces, *SHORT), traces.region_BSS)
    right = [lab.solved(*pair) for pair in zip(problems, responses, strict=True)]
    return float(np.mean(right)), float(np.mean([len(ids) for ids in responses])), float(salient_B.mean())


logps = jax.jit(bench.token_logp, static_argnums=0)


def main() -> None:
    """Prints the toy traces, how well the proxies rank columns, and what training does with and without saliency."""
    lab, params = bench.open_bench(response_tokens=ROOM, slots=64)
    base = make_base(lab, params)
    held_out = bench.problems(HELD_OUT, split="heldout", seed=0, operations=bench.FEW)
    show_masks(lab, base, held_out[:8])
    table = defaultdict[str, list[tuple[float, ...]]](list)
    for seed in range(bench.SEEDS):
        key = jax.random.key(100 + seed)
        table["base"].append(evaluate(lab, base, held_out, key))
        for name, with_saliency in (("outcome", False), ("outcome + saliency", True)):
            table[name].append(evaluate(lab, train(lab, base, seed, with_saliency=with_saliency), held_out, key))
            print(f"seed {seed}  {name:20}" + "".join(f"{value:9.3f}" for value in table[name][-1]), flush=True)
    print(f"\n{'reward':20}" + "".join(f"{column:26}" for column in ("pass@1", "tokens", "saliency")))
    columns = {name: tuple(zip(*rows, strict=True)) for name, rows in table.items()}
    for name, values in columns.items():
        print(f"{name:20}" + "".join(f"{bench.spread(column):26}" for column in values))
    base_, outcome, both = columns.values()
    print("\ndifference over the seeds")
    print(bench.verdict("tokens, outcome alone above outcome + saliency", outcome[1], both[1]))
    print(bench.verdict("saliency, outcome + saliency above outcome alone", both[2], outcome[2]))
    print(bench.verdict("pass@1, outcome + saliency above outcome alone", both[0], outcome[0]))
    print(bench.verdict("pass@1, outcome + saliency above the base", both[0], base_[0]))


if __name__ == "__main__":
    main()
