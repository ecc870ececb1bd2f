"""One question with everything needed to grade it, as it travels on the host."""

import contextlib
import json
import sys
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

KINDS = ("math", "code")
Test = Mapping[str, Any]


@dataclass(frozen=True)
class Problem:
    """A question and its reference.

    `answer` is the final answer (math; "" for code); `solution` a worked reference or program, "" when none is known.
    `visible` tests may be shown to the policy and give the reward in training, `hidden` ones grade evaluations only.
    `difficulty` is a pass rate in [0, 1], None when it was never measured. `names` are further names under which
    other corpora know the question (address, title, contest number); decontamination compares them.
    """

    id: str
    source: str
    kind: str
    question: str
    answer: str
    solution: str = ""
    visible: tuple[Test, ...] = ()
    hidden: tuple[Test, ...] = ()
    difficulty: float | None = None
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Removed:
    """A row that does not become a problem: why (a short phrase, which is counted) and what it was."""

    id: str
    source: str
    reason: str
    text: str = ""


def id_hash(problem_id: str) -> int:
    """Stable uint32 of a question id (CRC-32 of its UTF-8 bytes): the address of all randomness of the question."""
    return zlib.crc32(problem_id.encode("utf-8"))


def to_example(problem: Problem) -> dict[str, Any]:
    """The stored row without its tests (they may be many MB and lie in a split of their own)."""
    difficulty = np.nan if problem.difficulty is None else problem.difficulty
    return {
        "id": problem.id,
        "source": problem.source,
        "kind": problem.kind,
        "question": problem.question,
        "answer": problem.answer,
        "solution": problem.solution,
        "difficulty": np.float32(difficulty),
        "names": json.dumps(list(problem.names), ensure_ascii=False),
    }


@contextlib.contextmanager
def long_integers() -> Iterator[None]:
    """Lets trusted JSON hold integers of more than 4,300 digits, which contest tests do."""
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        yield
    finally:
        sys.set_int_max_str_digits(limit)


def to_tests(problem: Problem) -> str:
    """The tests of a problem as JSON; the inverse of the `tests` argument of `from_example`."""
    with long_integers():
        return json.dumps({"visible": list(problem.visible), "hidden": list(problem.hidden)}, ensure_ascii=False)


def from_example(example: Mapping[str, Any], tests: bytes = b"{}") -> Problem:
    """The problem of a stored row (text fields are UTF-8 bytes, as tensorflow-datasets returns them)."""
    text = {name: value.decode("utf-8") for name, value in example.items() if isinstance(value, bytes)}
    with long_integers():
        read = json.loads(tests)
    difficulty = float(example["difficulty"])
    return Problem(
        id=text["id"],
        source=text["source"],
        kind=text["kind"],
        question=text["question"],
        answer=text["answer"],
        solution=text["solution"],
        visible=tuple(read.get("visible", ())),
        hidden=tuple(read.get("hidden", ())),
        difficulty=None if np.isnan(difficulty) else difficulty,
        names=tuple(json.loads(text["names"])),
    )
