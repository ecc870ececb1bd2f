"""Random rows and files of every corpus become problems that can be stored, or the documented refusal.

30 inputs by default (10 rows of each corpus); HSD_JAX_FUZZ_EXAMPLES=10000 runs the long campaign, 22,000 rows.
"""

import functools
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hsd_jax.data import files
from hsd_jax.data.problems import Problem, Removed, from_example, to_example, to_tests
from hsd_jax.data.sources import SOURCES
from hsd_jax.errors import InputError
from tests.support import corpora

EXAMPLES = int(os.environ.get("HSD_JAX_FUZZ_EXAMPLES", "30"))
fuzz = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
fuzz_rows = settings(fuzz, max_examples=max(EXAMPLES // 5, 10))  # of each corpus
NAMES = sorted(set(SOURCES) & set(corpora.WRITERS))

DEEP = "[" * 100_000
texts = st.text(max_size=20) | st.sampled_from(
    ["\ud800", "\0", "[1]", "{}", '{"inputs": 3}', DEEP, "9" * 5000, "#### 4", "\\boxed{7}", "2024-01-01", "e30="]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@functools.cache
def good_rows(name: str) -> list[dict[str, Any]]:
    """Rows of a small corpus in its exact schema."""
    with tempfile.TemporaryDirectory() as folder:
        corpora.WRITERS[name](Path(folder))
        return [dict(row.fields) for file in files.data_files(Path(folder))[0] for row in files.rows(file)]


@st.composite
def harmed(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """A row of a corpus in which some fields are missing or hold something else, at any depth of their JSON."""
    row = dict(draw(st.sampled_from(good_rows(name))))
    for field in draw(st.lists(st.sampled_from(sorted(row)), max_size=3, unique=True)):
        action = draw(st.sampled_from(["replace", "inside", "delete"]))
        if action == "delete":
            del row[field]
        elif action == "replace" or not isinstance(row[field], str):
            row[field] = draw(values)
        else:
            row[field] = draw(inside(row[field]))
    return row | draw(st.dictionaries(st.text(max_size=8), values, max_size=1))


@st.composite
def inside(draw: st.DrawFn, text: str) -> str:
    """A text that holds JSON with one of its values replaced; any other with a piece cut out or put in."""
    try:
        read = json.loads(text)
    except ValueError:
        read = None
    if isinstance(read, (dict, list)) and read:
        holder: Any = read
        while True:
            key = draw(st.sampled_from(sorted(holder) if isinstance(holder, dict) else range(len(holder))))
            if not isinstance(holder[key], (dict, list)) or not holder[key] or draw(st.booleans()):
                holder[key] = draw(values)
                return json.dumps(read)
            holder = holder[key]
    start, end = sorted(draw(st.tuples(*[st.integers(0, len(text))] * 2)))
    return text[:start] + draw(texts) + text[end:]


def taken(name: str, file: Path) -> list[Problem | Removed]:
    """What a source makes of one file, all splits together."""
    return [row for read in SOURCES[name].splits([file]).values() for row in read()]


@pytest.mark.parametrize("name", NAMES)
def test_any_row_is_a_problem_that_can_be_stored_or_refused_by_file_and_line(name: str, tmp_path: Path) -> None:
    file = tmp_path / "train.jsonl"

    @fuzz_rows
    @given(harmed(name))
    def check(row: dict[str, Any]) -> None:
        file.write_text(json.dumps(row) + "\n")
        try:
            made = taken(name, file)
        except InputError as refused:
            assert f"{file}:1: " in str(refused)
            return
        for problem in made:
            if isinstance(problem, Problem):
                assert_storable(problem)

    check()


def assert_storable(problem: Problem) -> None:
    """What is stored is UTF-8 and gives the same problem back."""
    stored = {k: v.encode() if isinstance(v, str) else v for k, v in to_example(problem).items()}
    again = from_example(stored, to_tests(problem).encode())
    for name in ("id", "question", "answer", "solution", "names"):
        assert getattr(again, name) == getattr(problem, name)
    assert to_tests(again) == to_tests(problem)  # as JSON, since NaN is not equal to itself
    assert problem.difficulty is None or np.float32(problem.difficulty) == again.difficulty


@fuzz
@given(
    st.sampled_from(["x.jsonl", "x.jsonl.gz", "x.json", "x.parquet"]),
    st.binary(max_size=60)
    | texts.map(lambda text: text.encode("utf-8", "surrogatepass"))
    | st.sampled_from([b"PAR1" * 4, b"\x1f\x8b\x08" + b"\0" * 12]),
)
def test_any_file_is_read_or_refused_by_its_name(name: str, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / name
        file.write_bytes(content)
        try:
            assert all(isinstance(row.fields, dict) for row in files.rows(file))
        except InputError as refused:
            assert str(file) in str(refused)
