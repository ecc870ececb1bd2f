r"""A user's own problems, one JSON object per line, or one row of a parquet file or of a datasets directory.

    {"question": "What is 6 times 7?", "answer": "42"}
    {"question": "Which is a prime?", "choices": ["9", "11", "15"], "answer": "B"}
    {"question": "Read n, print 2n.", "kind": "code", "tests": [{"input": "3\n", "output": "6\n"}]}

Optional: `id` (unique), `solution`, `hidden_tests`, `difficulty` (pass rate), `rubric`, `canonical` (the question in
the wording that a teacher reads where the student's is a harder one). A test is either {"input", "output"} (standard
input and output) or {"call", "args", "output"} (a function of the program; with a further "rule": "unordered" the
order of the result does not matter). A null field counts as absent, but for a call's `output`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hsd_jax.data.files import Row, rows, shown, stem
from hsd_jax.data.problems import KINDS, Problem, Test
from hsd_jax.data.readers.choices import with_choices
from hsd_jax.data.readers.common import checked_tests
from hsd_jax.data.readers.field_map import renamed
from hsd_jax.data.record_files import Rows
from hsd_jax.errors import InputError

TEST_FORMS = ({"input", "output"}, {"call", "args", "output"}, {"call", "args", "output", "rule"})

FURTHER = ("rubric", "canonical")  # texts that some methods read


def own(files: list[Path], split: str, *, names: Mapping[str, str] | None = None) -> Rows:
    """The problems in file order; a row without an id is named by its split, file and number.

    `names` says where our fields stand in the rows (`field_map.parse_fields`).
    """
    seen: dict[str, str] = {}
    for file in files:
        for number, came in enumerate(rows(file)):
            row = with_choices(renamed(came, names or {}))
            name = row.words("id", f"{split}-{stem(file)}-{number:05d}")
            if name in seen:
                raise InputError(f"{row.place}: the id {name!r} was used before, in {seen[name]}; make ids unique")
            seen[name] = row.place
            yield _problem(row, name)


def _problem(row: Row, name: str) -> Problem:
    question = row.text("question")
    kind = row.get("kind", "code" if row.get("tests") or {"tests"} == row.present & {"tests", "answer"} else "math")
    if kind not in KINDS:
        raise InputError(f"{row.place}: field 'kind' must be one of {', '.join(KINDS)}; got {shown(kind)}")
    visible, hidden = _tests(row, "tests"), _tests(row, "hidden_tests")
    try:
        checked_tests((*visible, *hidden))
    except InputError as error:
        raise InputError(f"{row.place}: fields 'tests' and 'hidden_tests' together: {error}") from error
    if kind == "code" and not visible:
        raise InputError(f"{row.place}: a code problem needs at least one entry in 'tests'")
    return Problem(
        id=name,
        source=row.words("source", "jsonl"),
        kind=kind,
        question=question,
        answer=_answer(row) if kind == "math" else row.words("answer"),
        solution=row.words("solution"),
        visible=visible,
        hidden=hidden,
        difficulty=_difficulty(row),
        texts={name: row.words(name) for name in FURTHER if row.words(name)},
    )


def _answer(row: Row) -> str:
    value = row.fields.get("answer")
    return row.text("answer") if isinstance(value, bool) or not isinstance(value, int | float) else row.words("answer")


def _difficulty(row: Row) -> float | None:
    value = row.fields.get("difficulty")
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
        return float(value)
    raise InputError(f"{row.place}: field 'difficulty' must be a pass rate in [0, 1]; got {shown(value)}")


def _tests(row: Row, field: str) -> tuple[Test, ...]:
    entries = row.get(field, [])
    if not isinstance(entries, list):
        raise InputError(f"{row.place}: field {field!r} must be a list of tests; got {type(entries).__name__}")
    tests = [_test(row, field, entry) for entry in entries]
    try:
        return checked_tests(tests)
    except InputError as error:
        raise InputError(f"{row.place}: field {field!r}: {error}") from error


def _test(row: Row, field: str, entry: Any) -> Test:
    # Parquet gives every struct the union of all fields; those a test does not use are null. An output may be null.
    used = {k: v for k, v in entry.items() if v is not None or k == "output"} if isinstance(entry, dict) else {}
    if set(used) in TEST_FORMS:
        return used
    allowed = " or ".join("{" + ", ".join(sorted(form)) + "}" for form in TEST_FORMS)
    came = sorted(used) if isinstance(entry, dict) else entry
    raise InputError(f"{row.place}: a test in {field!r} must have the fields {allowed}; got {shown(came)}")
