"""TESSY, data written by teacher and student together (arXiv:2604.14164), on the tiny model.

    python -m examples.related.tessy

Training texts of a stronger teacher are written in its style, and a student that learns the style may lose more than it
gains. So both write at one text: the student its style, the teacher what has to be right.

    1. control starts with the student; who has it proposes a chunk (student 5 tokens, teacher 10)
    2. a boundary predictor of that model reads the chunk: p(next token is style | text so far) = sigmoid(w . h + b).
       The teacher's chunk is cut before the first token of style, the student's before the first that is none;
       where a chunk was cut, control changes
    3. when the stop id stands, the text ends; the student is fine-tuned on it, cross-entropy, unfiltered

Teacher and student are the same tiny model, one pair for all seeds: the student as it is, with its habitual errors; the
teacher fine-tuned on right solutions in other words (", then " between steps), in every other one a share of them in
the student's, so that it can go on from them. Texts are sampled at temperature .7, without the paper's limits on
nucleus and number. What is style is labeled by a rule where the paper asks a large model: all but the steps and the
digit in the box. A predictor is a logistic regression on the last hidden state of its own model (the paper fine-tunes
a 0.6B classifier), trained on texts that this model wrote. Control changes at once where a chunk is cut at its first
token; if the other model also cuts at its first token, that token is kept, or nobody would ever write. The paper
extends cuts to the next whitespace; here no boundary falls into a word.

Compared with texts that the teacher writes alone, and texts of the student alone, by pass@1 after the same number of
updates, by how surprising the texts are to the student before (nats per token), and by the form it writes in after.

Measured (commit ddfd4f1, 2-core CPU, 4 min 7 s user and 1 min 8 s system time; mean over 3 seeds, lowest to highest):

    written by      texts right              surprise, nats           pass@1 after             own form after
    nobody                                                            0.354 (0.328 to 0.367)   0.990
    student alone   0.484 (0.422 to 0.562)   0.029 (0.027 to 0.034)   0.400 (0.375 to 0.445)   0.988
    teacher alone   0.922 (0.906 to 0.953)   6.336 (6.140 to 6.521)   0.077 (0.059 to 0.086)   0.038
    interleaved     0.953 (0.953 to 0.953)   0.053 (0.052 to 0.056)   0.891 (0.863 to 0.910)   0.977

The paper's effect appears: pass@1 after is .814 (.722 to .906, 95 % over the seeds) above that of the teacher's texts,
which hurt (.277 below the student before, .194 to .360). 20 updates leave the student between the styles; how much of
the difference more updates would undo was not tried. A teacher that had seen less of the student's words spoiled the
interleaved texts (.14 right, pass@1 .125 after, one seed).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jax import Array

from examples.related import bench
from examples.related.bench import Bench
from examples.related.question_probe import fit
from hsd_jax.data.tiny import TinyProblem
from hsd_jax.sampler.sampler import DecodeParams
from models import qwen3
from models.qwen3 import Params

TEXTS, HELD_OUT, LESSONS = 64, 256, 1024
CHUNK = {"student": 5, "teacher": 10}
ROOM, TURNS = 64, 60  # tokens of a text, turns of both
WINDOW = bench.PROMPT + ROOM + CHUNK["teacher"]
TEMPERATURE, EPOCHS, RATE = 0.7, 5, 5e-4
CONTENT = re.compile(r"\d[-+*]\d=\d|(?<=boxed\{)\d")
OWN_FORM = re.compile(r"(\d[-+*]\d=\d\n)+The answer is \\boxed\{\d\}\.")


@dataclass(frozen=True)
class Writer:
    """A model that takes part: its weights in both forms, and its boundary predictor [D + 1]."""

    params: Params
    weights: DecodeParams
    boundary_E: np.ndarray


def is_style(lab: Bench, text: str) -> np.ndarray:
    """Of every token of a text whether it is style: no part of a step or of the boxed digit."""
    content = np.zeros(len(text) + 1, bool)
    for found in CONTENT.finditer(text):
        content[found.start() : found.end()] = True
    encoded = lab.tokenizer.encode(text, add_special_tokens=False)
    return np.array([not content[start:end].any() for start, end in encoded.offsets], bool)


def hidden(lab: Bench, params: Params, rows: Sequence[Sequence[int]]) -> np.ndarray:
    """Final hidden states of whole texts, [B, S, D]."""
    filled = [*rows, *[()] * (-len(rows) % TEXTS)]  # one shape, so that it is compiled once
    texts = bench.texts_of([(row, ()) for row in filled], WINDOW)
    return np.asarray(_forward(lab.config, params, texts.tokens_BS, texts.valid_BS))[: len(rows)]


_forward = jax.jit(qwen3.forward, static_argnums=0)


def fit_boundary(lab: Bench, params: Params, prompts: list[list[int]], responses: list[list[int]]) -> np.ndarray:
    """The predictor: from the hidden state at a token, whether the next one is style; on labels made by the rule."""
    rows = [[*p, *r] for p, r in zip(prompts, responses, strict=True)]
    features, labels = [], []
    for states, prompt, response in zip(hidden(lab, params, rows), prompts, responses, strict=True):
        style = is_style(lab, lab.tokenizer.decode(response, skip_special_tokens=False))
        if len(style) == len(response):  # a text that is not encoded as it was sampled has no labels
            features.append(states[len(prompt) - 1 : len(prompt) - 1 + len(response)])
            labels.append(style)
    x_BE = np.pad(np.concatenate(features), ((0, 0), (0, 1)), constant_values=1).astype(np.float64)
    return fit(x_BE, np.concatenate(labels).astype(np.float64), ridge=1.0)


def cut(style: Sequence[bool], who: str) -> int:
    """How many tokens of a chunk stay: the student's before the first that is no style, the teacher's before style."""
    return next((t for t, styled in enumerate(style) if styled != (who == "student")), len(style))


def turn(lab: Bench, writer: Writer, who: str, texts: list[list[int]], key: Array) -> list[tuple[list[int], int]]:
    """For every text a chunk and how many of its tokens stay."""
    chunks = bench.write(lab, writer.weights, texts, key, limit=CHUNK[who], temperature=TEMPERATURE)
    states_BSD = hidden(lab, writer.params, [[*t, *c] for t, c in zip(texts, chunks, strict=True)])
    kept = []
    for states, text, chunk in zip(states_BSD, texts, chunks, strict=True):
        before = states[len(text) - 1 : len(text) - 1 + len(chunk)]  # the state that each token of the chunk follows
        kept.append((chunk, cut(before @ writer.boundary_E[:-1] + writer.boundary_E[-1] > 0, who)))
    return kept


def interleave(lab: Bench, writers: dict[str, Writer], prompts: list[list[int]], key: Array) -> list[list[int]]:
    """One text to every prompt, by both writers."""
    responses: list[list[int]] = [[] for _ in prompts]
    control, refused = ["student"] * len(prompts), [False] * len(prompts)
    for number in range(TURNS):
        for who, writer in writers.items():
            rows = [i for i, r in enumerate(responses) if control[i] == who and lab.stop not in r and len(r) < ROOM]
            texts = [prompts[i] + responses[i] for i in rows]
            chunks = turn(lab, writer, who, texts, jax.random.fold_in(key, number)) if rows else []
            for i, (chunk, kept) in zip(rows, chunks, strict=True):
                changes = kept < len(chunk)
                kept = max(kept, 1) if refused[i] else kept
                responses[i] += chunk[:kept]
                refused[i] = kept == 0
                if changes:
                    control[i] = "teacher" if who == "student" else "student"
    return responses


def lesson(lab: Bench, problem: TinyProblem, rng: np.random.Generator) -> tuple[list[int], list[int]]:
    """A right solution in the teacher's words; in every other one, a share of its pieces is in the student's."""
    *steps, last = problem.solution.split("\n")
    own = rng.random(len(steps) + 1) < (rng.random() if rng.random() < 0.5 else 0.0)
    text = "".join(step + ("\n" if mine else ", then ") for step, mine in zip(steps, own[1:], strict=True))
    end = last if own[0] else last.replace("The answer is", "so it is")
    return lab.prompt(problem), lab.encode(text + end + bench.STOP)


def make_teacher(lab: Bench, base: Params) -> Params:
    """The base, fine-tuned on right solutions in the teacher's style."""
    rng = np.random.default_rng(0)
    lessons = [lesson(lab, problem, rng) for problem in bench.problems(LESSONS, split="train", seed=1000)]
    return bench.fine_tune(lab, base, bench.texts_of(lessons, WINDOW), rng, epochs=3, rate=1e-3)


def make_writer(lab: Bench, params: Params, key: Array) -> Writer:
    """A model with a boundary predictor that is trained on its own texts."""
    prompts = [lab.prompt(p) for p in bench.problems(TEXTS, split="train", seed=500)]
    weights = bench.decode_weights(lab, params)
    written = bench.write(lab, weights, prompts, key, temperature=TEMPERATURE)
    return Writer(params, weights, fit_boundary(lab, params, prompts, written))


def outcome(lab: Bench, params: Params, held_out: list[TinyProblem], key: Array) -> tuple[float, float]:
    """(pass@1, share of responses in the student's own form)."""
    answers = bench.write(lab, bench.decode_weights(lab, params), [lab.prompt(p) for p in held_out], key)
    right = [lab.solved(*pair) for pair in zip(held_out, answers, strict=True)]
    return float(np.mean(right)), float(np.mean([bool(OWN_FORM.fullmatch(lab.tokenizer.decode(y))) for y in answers]))


def compare(lab: Bench, writers: dict[str, Writer], seed: int) -> dict[str, tuple[float, ...]]:
    """One seed's table: (texts right, surprise, pass@1 after, own form after) by who wrote the texts."""
    key, student = jax.random.key(seed), writers["student"]
    held_out = bench.problems(HELD_OUT, split="heldout", seed=0)
    problems = bench.problems(TEXTS, split="train", seed=seed)
    prompts = [lab.prompt(p) for p in problems]
    ways = {
        f"{who} alone": bench.write(lab, writer.weights, prompts, key, temperature=TEMPERATURE)
        for who, writer in writers.items()
    }
    ways["interleaved"] = interleave(lab, writers, prompts, key)
    table = {"nobody": (np.nan, np.nan, *outcome(lab, student.params, held_out, key))}
    for name, written in ways.items():
        texts = bench.texts_of(zip(prompts, written, strict=True), WINDOW)
        surprise = float(_cross_entropy(lab.config, student.params, texts))
        tuned = bench.fine_tune(lab, student.params, texts, np.random.default_rng(seed), epochs=EPOCHS, rate=RATE)
        right = np.mean([lab.solved(*pair) for pair in zip(problems, written, strict=True)])
        table[name] = (float(right), surprise, *outcome(lab, tuned, held_out, key))
        print(f"seed {seed}  {name:15}" + "".join(f"{value:8.3f}" for value in table[name]), flush=True)
    print(f"seed {seed}  an interleaved text: {lab.tokenizer.decode(ways['interleaved'][0])!r}", flush=True)
    return table


_cross_entropy = jax.jit(bench.cross_entropy, static_argnums=0)


def main() -> None:
    """Prints the comparison over the seeds."""
    lab, base = bench.open_bench(prompt_tokens=bench.PROMPT + ROOM, response_tokens=ROOM, slots=TEXTS)
    parts = {"student": base, "teacher": make_teacher(lab, base)}
    writers = {who: make_writer(lab, params, jax.random.key(7)) for who, params in parts.items()}
    tables = [compare(lab, writers, seed) for seed in range(bench.SEEDS)]
    columns = {name: tuple(zip(*(table[name] for table in tables), strict=True)) for name in tables[0]}
    heads = "texts right", "surprise, nats", "pass@1 after", "own form after"
    print(f"\n{'written by':16}" + "".join(f"{head:26}" for head in heads))
    for name, column in columns.items():
        print(f"{name:16}" + "".join(f"{bench.spread(values):26}" for values in column))
    print("\ndifference over the seeds")
    mixed, alone, before = columns["interleaved"], columns["teacher alone"], columns["nobody"]
    print(bench.verdict("pass@1 after, interleaved above teacher alone", mixed[2], alone[2]))
    print(bench.verdict("pass@1 after, interleaved above before", mixed[2], before[2]))
    print(bench.verdict("pass@1, before above teacher alone (the teacher's texts hurt)", before[2], alone[2]))
    print(bench.verdict("surprise, teacher alone above interleaved", alone[1], mixed[1]))


if __name__ == "__main__":
    main()
