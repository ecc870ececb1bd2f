"""One question with everything needed to grade it, as it travels on the host."""

import contextlib
import json
import sys
import threading
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

KINDS = ("math", "code")
Test = Mapping[str, Any]
MOST_DIGITS = 100_000
_LIMIT = threading.RLock()


@dataclass(frozen=True)
class Problem:
    """A question and its reference.

    `answer` is the final answer (math; "" for code); `solution` a worked reference or program, "" when none is known.
    `visible` tests may be shown to the policy and give the reward in training, `hidden` ones grade evaluations only.
    `difficulty` is a pass rate in [0, 1], None when it was never measured. `names` are further names under which
    other corpora know the question (address, title, contest number); decontamination compares them. `repeat` counts
    how many times the question stands before in the same training step. `texts` are what else is known
    of it, by name: a "rubric", a "canonical" wording of a question that is asked in a harder one.
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
    repeat: int = 0
    texts: Mapping[str, str] = field(default_factory=dict)


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
    """The stored row without its tests (they may be many MB and are in a separate split)."""
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
    """Lets integers of more than 4,300 digits, which contest tests hold, become text."""
    with _LIMIT:  # the limit is the process's: two threads would restore each other's
        limit = sys.get_int_max_str_digits()
        sys.set_int_max_str_digits(0)
        try:
            yield
        finally:
            sys.set_int_max_str_digits(limit)


def read_json(text: str | bytes) -> Any:
    """The value of a JSON text, with integers of up to `MOST_DIGITS` digits. Raises: ValueError."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except ValueError:  # an integer beyond Python's limit, or bytes that are not UTF-8
        return json.loads(text, parse_int=_long_integer)


def _long_integer(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"an integer of more than {MOST_DIGITS:,} digits")
    if len(digits) <= 4000:
        return int(digits)
    half = len(digits) // 2  # int() takes quadratic time and refuses more than 4,300 digits
    sign = -1 if digits.startswith("-") else 1
    return sign * (abs(_long_integer(digits[:-half])) * 10**half + _long_integer(digits[-half:]))


def to_tests(problem: Problem) -> str:
    """The tests of a problem as JSON; the inverse of the `tests` argument of `from_example`."""
    with long_integers():
        return json.dumps({"visible": list(problem.visible), "hidden": list(problem.hidden)}, ensure_ascii=False)


def to_texts(problem: Problem) -> str:
    """The further texts of a problem as JSON: a stored row has them in its field of tests, which are elsewhere."""
    return json.dumps({"texts": dict(problem.texts)}, ensure_ascii=False) if problem.texts else ""


def from_example(example: Mapping[str, Any], tests: bytes = b"{}") -> Problem:
    """The problem of a stored row (text fields are UTF-8 bytes, as tensorflow-datasets returns them)."""
    text = {name: value.decode("utf-8") for name, value in example.items() if isinstance(value, bytes)}
    read = read_json(tests)
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
        texts=json.loads(text.get("tests") or "{}").get("texts", {}),
    )
