"""APPS (codeparrot/apps; MIT): programs read from standard input, or functions, with tests held as JSON text.

Fields: problem_id, question, solutions, input_output, difficulty, url, starter_code. The corpus is known to be
dirty: rows without usable tests are removed and counted.
"""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hsd_jax.data.files import Row, json_value, rows
from hsd_jax.data.problems import Problem, Removed, Test, id_hash
from hsd_jax.data.readers.common import checked_tests
from hsd_jax.data.record_files import Rows
from hsd_jax.errors import InputError

LEVELS, OTHER_LEVELS = ("introductory", "interview"), ("competition",)
VISIBLE_SHARE = 0.5


def apps(files: list[Path], split: str) -> Rows:
    """The introductory and interview problems in file order; half of the tests, at least one, are visible."""
    for file in files:
        for row in rows(file):
            row.require("problem_id", "question", "input_output", "difficulty")
            yield _problem(row, f"apps-{split}-{row.words('problem_id')}")


def _problem(row: Row, name: str) -> Problem | Removed:
    question, level = row.words("question").strip(), row.words("difficulty")
    if level not in LEVELS:
        return Removed(name, "apps", f"difficulty {level if level in OTHER_LEVELS else 'unknown'}", question)
    if not question:
        return Removed(name, "apps", "empty question")
    try:
        tests = read_tests(row.words("input_output"))
    except ValueError as error:
        return Removed(name, "apps", f"tests cannot be read: {error}", question)
    visible, hidden = halves(tests, name)
    starter = row.words("starter_code").strip()
    shown = f"{question}\n\nUse this starting point:\n\n```python\n{starter}\n```" if starter else question
    url = row.words("url").strip()
    names = (url,) if url else ()
    return Problem(name, "apps", "code", shown, "", _solution(row), visible, hidden, names=names)


def _solution(row: Row) -> str:
    try:
        written = json_value(row.words("solutions") or "[]")
    except ValueError:
        return ""
    return str(written[0]) if isinstance(written, list) and written else ""


def read_tests(text: str) -> tuple[Test, ...]:
    """The tests of an `input_output` text: {"inputs": [...], "outputs": [...], "fn_name"?: str}.

    Lists of lines are joined. Results of functions are often, but not always, wrapped in one more list; they are
    unwrapped where that holds for every test of the problem.
    Raises: ValueError saying what is wrong.
    """
    try:
        read = json_value(text) if text.strip() else {}
    except ValueError as error:
        raise ValueError("not JSON") from error
    inputs, outputs = (read.get("inputs"), read.get("outputs")) if isinstance(read, dict) else (None, None)
    if not isinstance(inputs, list) or not isinstance(outputs, list) or not inputs:
        raise ValueError("no tests")
    if len(inputs) != len(outputs):
        raise ValueError("numbers of inputs and outputs differ")
    if not read.get("fn_name"):
        return tuple({"input": _lines(i), "output": _lines(o)} for i, o in zip(inputs, outputs, strict=True))
    if not all(isinstance(arguments, list) for arguments in inputs):
        raise ValueError("arguments are not a list")
    calls = zip(inputs, _unwrapped(outputs), strict=True)
    try:
        return checked_tests({"call": read["fn_name"], "args": i, "output": o} for i, o in calls)
    except InputError as error:
        raise ValueError("no verifier can run them") from error


def _lines(text: Any) -> str:
    if isinstance(text, list):
        return "\n".join(str(line) for line in text)
    if not isinstance(text, str):
        raise ValueError("input or output is not text")
    return text


def _unwrapped(outputs: list[Any]) -> list[Any]:
    wrapped = all(isinstance(value, list) and len(value) == 1 for value in outputs)
    return [value[0] for value in outputs] if wrapped else outputs


def halves(tests: Sequence[Test], name: str) -> tuple[tuple[Test, ...], tuple[Test, ...]]:
    """(visible, hidden): a draw by the hash of the problem's id, in the order of the corpus; at least one visible."""
    count = max(1, int(len(tests) * VISIBLE_SHARE))
    chosen = set(random.Random(id_hash(name)).sample(range(len(tests)), count))
    visible = tuple(test for i, test in enumerate(tests) if i in chosen)
    return visible, tuple(test for i, test in enumerate(tests) if i not in chosen)
