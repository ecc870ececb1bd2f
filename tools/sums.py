"""Short sums and word problems for small language models, as files of problems with a question, an answer and a split.

    python -m tools.sums --out runs/sums          # train.jsonl and test.jsonl

A question is written from a template with small numbers; templates are split with the numbers, by a hash of the text,
so no question is in both files.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from hsd_jax.errors import InputError

NAMES = ("Ann", "Ben", "Eva", "Tom", "Mia", "Sam")
THINGS = ("apples", "books", "coins", "pens", "shells", "stamps")
# text with places for a, b, c, a name and things, and the answer
TEMPLATES: tuple[tuple[str, Callable[[int, int, int], int]], ...] = (
    ("What is {a} + {b}?", lambda a, b, c: a + b),
    ("What is {a} - {b}?", lambda a, b, c: a - b),
    ("What is {b} times {c}?", lambda a, b, c: b * c),
    ("What is {a} + {b} - {c}?", lambda a, b, c: a + b - c),
    ("{name} has {a} {things} and gives away {b}. How many are left?", lambda a, b, c: a - b),
    ("{name} has {b} bags with {c} {things} in each. How many {things} are there?", lambda a, b, c: b * c),
    ("{name} has {a} {things}, finds {b} more and loses {c}. How many are there now?", lambda a, b, c: a + b - c),
)


@dataclass(frozen=True)
class Arguments:
    """How many questions, and where they go."""

    out: Path
    """Directory of train.jsonl and test.jsonl."""
    train: int = 512
    """Questions to train on."""
    test: int = 128
    """Questions held out."""
    seed: int = 0
    """Of the numbers."""


def question(rng: np.random.Generator) -> tuple[str, str]:
    """One question and its answer."""
    text, answer = TEMPLATES[int(rng.integers(len(TEMPLATES)))]
    b, c = (int(n) for n in rng.integers(2, 10, 2))
    a = int(rng.integers(b + c, 40))
    words = {"name": str(rng.choice(NAMES)), "things": str(rng.choice(THINGS))}
    return text.format(a=a, b=b, c=c, **words), str(answer(a, b, c))


def split_of(text: str) -> str:
    """One question in five is held out."""
    return "test" if hashlib.sha256(text.encode()).digest()[0] % 5 == 0 else "train"


def problems(counts: dict[str, int], seed: int) -> dict[str, dict[str, str]]:
    """Split -> question -> answer, as many different ones as are asked for.

    Raises: InputError for fewer than one or more than 2,000.
    """
    if not all(1 <= count <= 2000 for count in counts.values()):
        raise InputError(f"--train and --test must be from 1 to 2,000; got {counts['train']} and {counts['test']}")
    rng, found = np.random.default_rng(seed), {split: dict[str, str]() for split in counts}
    while any(len(found[split]) < count for split, count in counts.items()):
        text, answer = question(rng)
        split = split_of(text)
        if len(found[split]) < counts[split]:
            found[split][text] = answer
    return found


def main(argv: Sequence[str]) -> None:
    """The command."""
    given = tyro.cli(Arguments, args=list(argv), prog="python -m tools.sums", description=__doc__)
    given.out.mkdir(parents=True, exist_ok=True)
    for split, rows in problems({"train": given.train, "test": given.test}, given.seed).items():
        lines = [
            json.dumps({"id": f"{split}-{n}", "question": q, "answer": a}) for n, (q, a) in enumerate(rows.items())
        ]
        (given.out / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
        print(f"wrote {given.out / f'{split}.jsonl'}: {len(rows)} questions")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except InputError as error:
        sys.exit(f"error: {error}")
