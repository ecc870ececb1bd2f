r"""A user's own problems, one JSON object per line.

    {"question": "What is 6 times 7?", "answer": "42"}
    {"question": "Read n, print 2n.", "kind": "code", "tests": [{"input": "3\n", "output": "6\n"}]}

Optional: `id` (unique), `solution`, `hidden_tests`, `difficulty` (pass rate). A test is either {"input", "output"}
(standard input and output) or {"call", "args", "output"} (a function of the program; with a further "rule":
"unordered" the order of the result does not matter).
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hsd_jax.data.files import Row, rows
from hsd_jax.data.problems import KINDS, Problem, Test
from hsd_jax.data.record_files import Rows
from hsd_jax.errors import InputError

TEST_FORMS = ({"input", "output"}, {"call", "args", "output"}, {"call", "args", "output", "rule"})


def own(files: list[Path], split: str) -> Rows:
    """The problems in file order; a row without an id is named by its split, file and number."""
    seen: dict[str, str] = {}
    for file in files:
        for number, row in enumerate(rows(file)):
            name = str(row.get("id", f"{split}-{file.name.split('.')[0]}-{number:05d}"))
            if name in seen:
                raise InputError(f"{row.place}: the id {name!r} was used before, in {seen[name]}; make ids unique")
            seen[name] = row.place
            yield _problem(row, name)


def _problem(row: Row, name: str) -> Problem:
    question = row.text("question")
    kind = row.get("kind", "code" if "tests" in row.fields else "math")
    if kind not in KINDS:
        raise InputError(f"{row.place}: field 'kind' must be one of {', '.join(KINDS)}; got {kind!r}")
    visible, hidden = _tests(row, "tests"), _tests(row, "hidden_tests")
    if kind == "code" and not visible:
        raise InputError(f"{row.place}: a code problem needs at least one entry in 'tests'")
    return Problem(
        id=name,
        source=str(row.get("source", "jsonl")),
        kind=kind,
        question=question,
        answer=_answer(row) if kind == "math" else str(row.get("answer")),
        solution=str(row.get("solution")),
        visible=visible,
        hidden=hidden,
        difficulty=_difficulty(row),
    )


def _answer(row: Row) -> str:
    value = row.fields.get("answer")
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return row.text("answer")


def _difficulty(row: Row) -> float | None:
    value = row.fields.get("difficulty")
    if value is None:
        return None
    if isinstance(value, int | float) and 0 <= value <= 1:
        return float(value)
    raise InputError(f"{row.place}: field 'difficulty' must be a pass rate in [0, 1]; got {value!r}")


def _tests(row: Row, field: str) -> tuple[Test, ...]:
    entries = row.get(field, [])
    if not isinstance(entries, list):
        raise InputError(f"{row.place}: field {field!r} must be a list of tests; got {type(entries).__name__}")
    return tuple(_test(row, field, entry) for entry in _plain(entries))


def _plain(entries: Iterable[Any]) -> Iterable[Any]:
    # Parquet gives every struct the union of all fields; those that a row does not use are null.
    return ({k: v for k, v in e.items() if v is not None} if isinstance(e, dict) else e for e in entries)


def _test(row: Row, field: str, entry: Any) -> Test:
    if isinstance(entry, dict) and set(entry) in TEST_FORMS:
        return entry
    allowed = " or ".join("{" + ", ".join(sorted(form)) + "}" for form in TEST_FORMS)
    came = sorted(entry) if isinstance(entry, dict) else entry
    raise InputError(f"{row.place}: a test in {field!r} must have the fields {allowed}; got {came!r:.80}")
