"""HumanEval (MIT) and HumanEval+ (Apache-2.0; the hub's rows and EvalPlus's release): all tests are hidden.

A row has task_id, prompt, canonical_solution, entry_point and either `test`, a function check(candidate), or the
inputs themselves (base_input, plus_input). The expected values are what the reference solution returns for the
inputs; they are recorded in a sandbox when an evaluation needs them, so a test here is {"check", "call"}.
"""

import ast
from pathlib import Path

from hsd_jax.data.files import Row, rows
from hsd_jax.data.problems import Problem
from hsd_jax.data.record_files import Rows
from hsd_jax.errors import InputError

_CHECK = "def check(candidate):\n    for given in {inputs}:\n        candidate(*given)\n"


def humaneval(files: list[Path], split: str) -> Rows:
    """HumanEval in file order."""
    return _read(files, split, "humaneval")


def humaneval_plus(files: list[Path], split: str) -> Rows:
    """HumanEval+ in file order, with EvalPlus's further inputs."""
    return _read(files, split, "humaneval_plus")


def _read(files: list[Path], split: str, source: str) -> Rows:
    del split
    for file in files:
        for row in rows(file):
            yield _problem(row, source)


def _problem(row: Row, source: str) -> Problem:
    task, prompt, entry = row.text("task_id"), row.text("prompt"), row.text("entry_point")
    return Problem(
        id=f"{source}-{task.rpartition('/')[2]}",
        source=source,
        kind="code",
        question=f"Complete this Python function.\n\n```python\n{prompt.strip()}\n```",
        answer="",
        solution=prompt + row.text("canonical_solution"),
        hidden=({"check": _check(row), "call": entry},),
        names=(task,),
    )


def _check(row: Row) -> str:
    if row.get("base_input", None) is None:
        test = row.text("test")
        inputs = _inputs_of(row, test)
        return _CHECK.format(inputs=inputs) if inputs else test
    given = [*_list(row, "base_input"), *_list(row, "plus_input")]
    return _CHECK.format(inputs=repr(given))


def _list(row: Row, field: str) -> list[object]:
    given = row.get(field, []) or []
    if not isinstance(given, list):
        raise InputError(f"{row.place}: field {field!r} must be a list of inputs; got {type(given).__name__}")
    return given


def _inputs_of(row: Row, test: str) -> str:
    """The source of `inputs = [...]` in EvalPlus's form of a check, "" in HumanEval's, which holds plain asserts."""
    try:
        tree = ast.parse(test)
    except (SyntaxError, ValueError) as error:
        raise InputError(f"{row.place}: field 'test' is not Python ({error})") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["inputs"]:
            return ast.unparse(node.value)
    return ""
