"""Asking a question as a probe of hidden states (arXiv:2605.31561), on the tiny model.

    python -m examples.related.question_probe

A student stops half-way and asks a teacher a question. Before any answer comes, its hidden states, before and after
asking, tell whether it will be right in the end; a probe on them decides whether to ask. No weights are trained by
this. Only the abstract of the source is known to us: layer, kind of probe, thresholds and data are our choices.

    student   7+3=0|0-2=8|8*7=7|   Check 8*7?|                    the question is generated, of its last step
    teacher                                     It is 8*7=6|      exact
    student                                                       goes on from there, or had gone on without asking

    probe     log-odds of being right = w . h + b, h standardized; logistic regression with a ridge, Newton's method
    AUC       share of pairs (right, wrong) that the probe orders rightly, predicted by five-fold cross-validation
    gate      ask where the probe, before asking, gives being right without help less than one half
    rescue    share of the wrong that are right when they ask;  harm: share of the right that are wrong when they ask

So that the base can ask, it is fine-tuned first, once for all seeds, on solutions with its own habitual errors; in
every second one the step just written is asked about. The teacher's words have no loss, nor have the first of a
question, which are written for the student: whether to ask is not its decision. After the answer it goes on from there.

Controls: a probe that sees lengths alone (operations in the question, tokens before the question), and one of the state
before anything is written, which knows how hard the question is. The gate is compared with one that asks as often, at
random.

Measured (commit 7fe9a31, idle 2-core CPU, 2 min 8 s; mean over 3 seeds, lowest to highest): asking helps, the probe
does not know when. Right without asking .379 (.348 to .430; the base: .355), when asking always .434 (.398 to .504),
by the gate .426 (it asked .850), at random .430; rescued of the wrong .222, harmed of the right .219. AUC after
asking, last layer, .498 (.486 to .507), before .447, of lengths .446, of the question alone .455. The first layer has
more, without asking: .590 (.577 to .608) of the question alone, .604 (.584 to .625) before asking, .502 after.

Drafts failed: the student asked on its own, as the first words of a question had a loss (.06 to .08 right); it could
not go on alone, as all documents asked (.135); it could not start anew from any step that it asked about (.108).
"""

import re
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.stats import rankdata

from examples.related import bench
from examples.related.bench import Bench, Texts
from hsd_jax.data import tiny
from models import qwen3
from models.attention import reference_attention
from models.qwen3 import Params, Qwen3Config
from tools.tiny_documents import Mixture, slips

ASKED, DOCUMENTS, EPOCHS, RATE = 256, 4096, 1, 1e-3
WINDOW, FOLDS, RIDGE = 136, 5, 10.0
LENGTHS, RANDOM = "lengths alone", "as often at random"
OPENING = "Check "  # of a question: written for the student, who so never asks on its own
Pieces = list[tuple[str, int]]  # texts, and whether the student writes them
QUESTION, ANSWER = re.compile(r"Check (\d)([-+*])(\d)\?\n"), "It is {}\n"


class Trajectories(NamedTuple):
    """Of every problem: prompt, what was written before the question, the question, and both outcomes."""

    prompts: list[list[int]]
    before: list[list[int]]
    questions: list[list[int]]
    right_alone: np.ndarray
    right_asked: np.ndarray


def teacher(question: str) -> str:
    """The exact answer to a question; the teacher says so where it cannot read it."""
    found = QUESTION.fullmatch(question)
    if not found:
        return "It cannot be read\n"
    a, operator, b = int(found[1]), found[2], int(found[3])
    value = {"+": a + b, "-": a - b, "*": a * b}[operator] % 10
    return ANSWER.format(f"{a}{operator}{b}={value}")


def half(text: str) -> str:
    """The first lines of a solution, a little more than half of its steps."""
    lines = text.splitlines(keepends=True)
    return "".join(lines[: len(lines) // 2 + 1])


def train_chain(rng: np.random.Generator) -> tiny.Chain:
    """A chain of the training split."""
    while tiny.split_of(chain := tiny.random_chain(rng, bench.OPERATIONS)) != "train":
        pass
    return chain


def plain(rng: np.random.Generator, chain: tiny.Chain) -> Pieces:
    """A solution that does not ask."""
    return [(tiny.solution(chain, slips(rng, chain, Mixture(), attempt=False)) + bench.STOP, 1)]


def asking(rng: np.random.Generator, chain: tiny.Chain) -> Pieces:
    """A solution that asks about the step just written, half-way, and goes on from the answer."""
    written = half(tiny.solution(chain, slips(rng, chain, Mixture(), attempt=False)))
    step = written.count("\n") - 1
    asked = written.splitlines()[-1].split("=")[0]
    answer = teacher(f"{OPENING}{asked}?\n")
    rest = tiny.Chain((int(answer[-2]), *chain.numbers[step + 2 :]), chain.operators[step + 1 :])
    end = plain(rng, rest) if rest.operators else [(f"The answer is \\boxed{{{answer[-2]}}}.{bench.STOP}", 1)]
    return [(written, 1), (OPENING, 0), (f"{asked}?\n", 1), (answer, 0), *end]


def document(lab: Bench, chain: tiny.Chain, pieces: Pieces) -> tuple[list[int], list[int], list[int]]:
    """A prompt, what is written to it, and which of these tokens are the student's own."""
    ids = [(i, own) for text, own in pieces for i in lab.encode(text)]
    prompt = lab.prompt(tiny.TinyProblem("", tiny.question(chain), "", ""))
    return prompt, [i for i, _ in ids], [own for _, own in ids]


def documents(lab: Bench, rng: np.random.Generator) -> Texts:
    """What the base learns asking from, as many that ask as not; the teacher's tokens are only read."""
    chains = [train_chain(rng) for _ in range(DOCUMENTS)]
    rows = [document(lab, chain, (plain, asking)[i % 2](rng, chain)) for i, chain in enumerate(chains)]
    texts = bench.texts_of([(prompt, ids) for prompt, ids, _ in rows], WINDOW)
    weights_BS = np.zeros(texts.weights_BS.shape, np.float32)
    for row, (prompt, ids, own) in zip(weights_BS, rows, strict=True):
        row[len(prompt) : len(prompt) + len(ids)] = own
    return texts._replace(weights_BS=jnp.asarray(weights_BS))


def ask(lab: Bench, params: Params, problems: list[tiny.TinyProblem], key: Array) -> Trajectories:
    """Every problem solved without a question, and from its half on with one."""
    weights, text = bench.decode_weights(lab, params), lab.tokenizer.decode
    prompts = [lab.prompt(problem) for problem in problems]
    alone = bench.write(lab, weights, prompts, jax.random.fold_in(key, 0))
    before = [lab.encode(half(text(ids))) for ids in alone]
    opening, line = lab.encode(OPENING), lab.encode("?\n")[-1]
    heads = [[*p, *b, *opening] for p, b in zip(prompts, before, strict=True)]
    asked = bench.write(lab, weights, heads, jax.random.fold_in(key, 1), limit=6)
    questions = [opening + (ids[: ids.index(line) + 1] if line in ids else ids) for ids in asked]
    told = [q + lab.encode(teacher(text(q))) for q in questions]
    heads = [[*p, *b, *t] for p, b, t in zip(prompts, before, told, strict=True)]
    rest = bench.write(lab, weights, heads, jax.random.fold_in(key, 2))
    right = [np.array([lab.solved(*pair) for pair in zip(problems, rows, strict=True)]) for rows in (alone, rest)]
    return Trajectories(prompts, before, questions, *right)


def hidden_states(config: Qwen3Config, params: Params, texts: Texts) -> Array:
    """The output of every layer at the last token of every text, [L, B, D]."""
    segments = jnp.zeros(texts.tokens_BS.shape, jnp.int32)
    attend = qwen3.attend_to_self(reference_attention, texts.valid_BS, segments)
    last_B = jnp.sum(texts.valid_BS, axis=1) - 1
    hooks = qwen3.LayerHooks(
        lambda _: attend, keep=lambda x_BSD, _: jnp.take_along_axis(x_BSD, last_B[:, None, None], axis=1)[:, 0]
    )
    positions_BS = qwen3.positions_of(texts.valid_BS, segments)
    return qwen3.run_layers(config, params, texts.tokens_BS, positions_BS, hooks)[1]


def fit(x_BE: np.ndarray, y_B: np.ndarray, ridge: float = RIDGE) -> np.ndarray:
    """w of min_w sum_B log(1 + exp(-+ x . w)) + ridge/2 |w|^2, by Newton's method; x has a column of ones."""
    w_E, penalty_EE = np.zeros(x_BE.shape[1]), ridge * np.eye(x_BE.shape[1])
    for _ in range(15):
        p_B = 1 / (1 + np.exp(-x_BE @ w_E))
        gradient_E = x_BE.T @ (p_B - y_B) + ridge * w_E
        w_E = w_E - np.linalg.solve(x_BE.T * (p_B * (1 - p_B)) @ x_BE + penalty_EE, gradient_E)
    return w_E


def predictions(x_BE: np.ndarray, y_B: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Probability of being right, of every row by a probe fitted without its fold."""
    fold_B, predicted_B = rng.permutation(len(y_B)) % FOLDS, np.zeros(len(y_B))
    for fold in range(FOLDS):
        mean_E, scale_E = x_BE[fold_B != fold].mean(axis=0), x_BE[fold_B != fold].std(axis=0) + 1e-6
        z_BE = np.pad((x_BE - mean_E) / scale_E, ((0, 0), (0, 1)), constant_values=1)
        w_E = fit(z_BE[fold_B != fold], y_B[fold_B != fold])
        predicted_B[fold_B == fold] = 1 / (1 + np.exp(-z_BE[fold_B == fold] @ w_E))
    return predicted_B


def auc(score_B: np.ndarray, y_B: np.ndarray) -> float:
    """P(score of a right one > score of a wrong one), ties by half."""
    right = int(y_B.sum())
    return float((rankdata(score_B)[y_B].sum() - right * (right + 1) / 2) / (right * (len(y_B) - right)))


def flips(alone_B: np.ndarray, asked_B: np.ndarray) -> tuple[float, float]:
    """(rescue, harm): share of the wrong that become right, share of the right that become wrong."""
    return float(asked_B[~alone_B].mean()), float((~asked_B[alone_B]).mean())


def measure(lab: Bench, params: Params, problems: list[tiny.TinyProblem], seed: int) -> dict[str, float]:
    """One seed's column of the table."""
    got, rng = ask(lab, params, problems, jax.random.key(seed)), np.random.default_rng(seed)
    parts = list(zip(got.prompts, got.before, got.questions, strict=True))
    seen = {
        "question alone": [(p, ()) for p, _, _ in parts],
        "before asking": [(p, b) for p, b, _ in parts],
        "after asking": [(p, [*b, *q]) for p, b, q in parts],
    }
    states = {name: np.asarray(states_of(lab.config, params, bench.texts_of(x, WINDOW))) for name, x in seen.items()}
    length_BE = np.array([[len(p), len(b)] for p, b, _ in parts], float)
    column = {f"AUC, {LENGTHS}": auc(predictions(length_BE, got.right_asked, rng), got.right_asked)}
    for name, states_LBD in states.items():
        for layer, x_BD in enumerate(states_LBD, 1):
            column[f"AUC, {name}, layer {layer}"] = auc(predictions(x_BD, got.right_asked, rng), got.right_asked)
    alone_B = predictions(states["before asking"][-1], got.right_alone, rng)
    column["AUC of the gate, right without help"] = auc(alone_B, got.right_alone)
    readable = [bool(QUESTION.fullmatch(lab.tokenizer.decode(q))) for q in got.questions]
    column["questions that can be read"] = float(np.mean(readable))
    return column | outcomes(got.right_alone, got.right_asked, alone_B < 0.5, rng)


states_of = jax.jit(hidden_states, static_argnums=0)


def outcomes(
    alone_B: np.ndarray, asked_B: np.ndarray, gate_B: np.ndarray, rng: np.random.Generator
) -> dict[str, float]:
    """What comes of never asking, always, by the gate, and as often at random; and whom asking helps and harms."""
    rescued, harmed = flips(alone_B, asked_B)
    asks = {"never": alone_B & False, "always": alone_B | True, "by the gate": gate_B, RANDOM: rng.permutation(gate_B)}
    return {
        **{f"right, asking {name}": float(np.where(at_B, asked_B, alone_B).mean()) for name, at_B in asks.items()},
        "asked by the gate": float(gate_B.mean()),
        "rescued of the wrong": rescued,
        "harmed of the right": harmed,
        "rescued of all": float((asked_B & ~alone_B).mean()),
        "harmed of all": float((alone_B & ~asked_B).mean()),
    }


def report(columns: list[dict[str, float]]) -> None:
    """The table, and what the seeds show."""
    table = {name: [column[name] for column in columns] for name in columns[0]}
    print()
    for name, values in table.items():
        print(f"{name:40}{bench.spread(values)}")
    top = max(name.rsplit(" ", 1)[1] for name in table if ", layer " in name)
    after = f"AUC, after asking, layer {top}"
    print("\ndifference over the seeds")
    for larger, smaller in (
        (after, f"AUC, {LENGTHS}"),
        (after, f"AUC, question alone, layer {top}"),
        (after, f"AUC, before asking, layer {top}"),
        ("right, asking by the gate", f"right, asking {RANDOM}"),
        ("right, asking always", "right, asking never"),
        ("rescued of all", "harmed of all"),
    ):
        print(bench.verdict(f"{larger}, above {smaller}", table[larger], table[smaller]))


def main() -> None:
    """Teaches the base to ask, then prints what its hidden states know."""
    lab, base = bench.open_bench(prompt_tokens=WINDOW)
    rng, columns = np.random.default_rng(0), []
    params = bench.fine_tune(lab, base, documents(lab, rng), rng, epochs=EPOCHS, rate=RATE)
    for seed in range(bench.SEEDS):
        columns.append(measure(lab, params, bench.problems(ASKED, split="heldout", seed=seed), seed))
        print(f"seed {seed}  " + "  ".join(f"{name}: {value:.3f}" for name, value in columns[-1].items()), flush=True)
    report(columns)


if __name__ == "__main__":
    main()
