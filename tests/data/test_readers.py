"""Readers of the public corpora, on files in their exact schemas."""

import base64
import json
import os
import pickle
import zlib

import pytest

from hsd_jax.data.readers.livecodebench import unpacked
from hsd_jax.data.sources import SOURCES, load
from hsd_jax.errors import InputError
from tests.support import corpora

KEPT = {
    "math": {"train": 24, "test": 4},
    "math500": {"test": 4},
    "gsm8k": {"train": 12, "test": 4},
    "numina": {"train": 12},
    "apps": {"train": 7},
    "livecodebench": {"train": 2},
    "lcb": {"test": 2},
    "aime24": {"test": 2},
    "aime25": {"test": 1},
    "humaneval": {"test": 2},
    "humaneval_plus": {"test": 2},
    "jsonl": {"train": 13},
}


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    root = tmp_path_factory.mktemp("corpora")

    def open_one(name):
        directory = root / name
        if not directory.exists():
            corpora.WRITERS[name](directory)
        corpus = load(name, directory, cache=root / "cache")
        return corpus, {split: [rows[i] for i in range(len(rows))] for split, rows in corpus.splits.items()}

    return open_one


@pytest.mark.parametrize("name", sorted(KEPT))
def test_every_source_keeps_the_rows_it_should(read, name):
    corpus, splits = read(name)
    assert {split: len(rows) for split, rows in splits.items()} == KEPT[name]
    for rows in splits.values():
        for problem in rows:
            assert problem.question and (
                problem.answer if problem.kind == "math" else problem.visible or problem.hidden
            )
        assert len({problem.id for problem in rows}) == len(rows)


def test_every_source_has_a_fixture():
    assert set(KEPT) | {"tiny", "tiny_bare", "prepared"} >= set(SOURCES)


def test_math_takes_the_last_box_and_counts_what_has_none(read):
    corpus, splits = read("math")
    assert splits["train"][0].answer == "18" and splits["train"][0].id == "math-train-00000"
    assert corpus.removed["train"]["removed"] == {"no final answer in the solution": 2}
    assert read("math500")[1]["test"][0].id == "math500-test/number_theory/5.json"


def test_numina_counts_every_reason(read, tmp_path):
    corpus, _ = read("numina")
    assert corpus.removed["train"]["removed"] == {
        "proof": 1,
        "multiple choice": 1,
        "no final answer": 1,
        "marked invalid": 1,
        "synthetic": 1,
        "source gsm8k": 1,
        "answer over 200 characters": 1,
    }
    corpora.numina_cot(tmp_path / "cot")
    older = load("numina", tmp_path / "cot", cache=tmp_path / "cache")
    assert len(older.splits["train"]) == 12 and older.splits["train"][0].answer == "9"
    assert older.removed["train"]["removed"] == {"multiple choice": 1, "no final answer": 1}
    assert len(older.splits["test"]) == 2


def test_apps_splits_tests_and_reads_calls(read):
    corpus, splits = read("apps")
    first, call = splits["train"][0], splits["train"][6]
    assert len(first.visible) == len(first.hidden) == 3
    assert sorted(test["input"] for test in (*first.visible, *first.hidden)) == [f"{i}\n" for i in range(1, 7)]
    assert first.names == ("https://example.org/problems/2",) and first.solution.startswith("print")
    assert [test["call"] for test in call.visible] == ["twice"] and "def twice" in call.question
    assert {(test["args"][0], test["output"]) for test in (*call.visible, *call.hidden)} == {(1, 2), (2, 4), (3, 6)}
    reasons = corpus.removed["train"]["removed"]
    assert reasons == {
        "difficulty competition": 1,
        "tests cannot be read: no tests": 1,
        "tests cannot be read: numbers of inputs and outputs differ": 1,
        "tests cannot be read: not JSON": 1,
        "tests cannot be read: input or output is not text": 1,
    }


def test_arguments_of_any_length_are_stored(tmp_path):
    """Python refuses to spell integers of more than 4,300 digits unless it is asked to; contest tests hold them."""
    digits = "7" * 5000
    tests = f'{{"fn_name": "same", "inputs": [[{digits}]], "outputs": [[{digits}]]}}'
    corpora.lines(tmp_path / "train.jsonl", [corpora.apps_row(1, input_output=tests)])
    (test,) = load("apps", tmp_path, cache=tmp_path / "cache").splits["train"][0].visible
    assert test["args"] == [test["output"]] and test["output"] % 10**9 == 777777777


def test_livecodebench_windows_are_disjoint_and_tests_are_unpacked(read):
    train, test = read("livecodebench")[1]["train"], read("lcb")[1]["test"]
    assert [p.id for p in train] == ["livecodebench-abc301_a", "livecodebench-abc302_a"]
    assert [p.id for p in test] == ["livecodebench-abc390_a", "livecodebench-3000"]
    assert len(train[0].visible) == 2 and train[0].hidden[0] == {"input": "2\n", "output": "303\n"}
    assert test[1].hidden == ({"call": "join", "args": [[1, 2], "a"], "output": ["a", 3]},)
    assert read("lcb")[0].removed["test"]["removed"] == {"contest date outside the window": 2}


class Hostile:
    def __reduce__(self):
        return eval, ("__import__('os').environ.update(HSD_JAX_BUILT='yes')",)


def pack(value: object) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(value))).decode()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (pack(Hostile()), "needs no names"),
        (pack([1, 2]), "holds list, not text"),
        (base64.b64encode(b"junk").decode(), "incorrect header"),
        ("?!", "neither JSON nor base64"),
    ],
)
def test_a_pickle_can_build_nothing_but_text(text, said):
    with pytest.raises((ValueError, zlib.error, pickle.UnpicklingError), match=said):
        unpacked(text)
    assert "HSD_JAX_BUILT" not in os.environ
    assert unpacked(pack('[{"a": 1}]')) == '[{"a": 1}]' and unpacked('[{"a": 1}]') == '[{"a": 1}]'


def test_aime_keeps_one_year_and_any_spelling_of_the_columns(read, tmp_path):
    corpus, splits = read("aime24")
    assert [p.answer for p in splits["test"]] == ["168", "195"]
    assert corpus.removed["test"]["removed"] == {"another year": 1}
    corpora.lines(tmp_path / "a" / "x.jsonl", [{"ID": "2024-I-1", "Problem": "How many?", "Answer": 204}])
    assert load("aime24", tmp_path / "a", cache=tmp_path / "c").splits["test"][0].answer == "204"


@pytest.mark.parametrize(
    ("name", "row", "said"),
    [
        ("numina", {"problem": "q", "solution": "s"}, ":1: column 'source' is missing"),
        ("apps", {"problem_id": 1, "question": "q", "difficulty": "interview"}, ":1: column 'input_output'"),
        ("livecodebench", corpora.lcb_row(1, "yesterday"), ":1: field 'contest_date'"),
        ("livecodebench", corpora.lcb_row(1, "2024-01-01", private_test_cases="??"), ":1: field 'private_test_cases'"),
        ("livecodebench", corpora.lcb_row(1, "2024-01-01", private_test_cases=pack(Hostile())), "needs no names"),
        ("math500", {"problem": " ", "answer": "1"}, ":1: field 'problem'"),
        ("aime25", {"problem": "q"}, ":1: one of the fields answer, Answer"),
        ("humaneval", {"task_id": "HumanEval/0", "prompt": "def f(): "}, ":1: field 'entry_point'"),
        ("humaneval", corpora.humaneval_row(1) | {"test": "def ("}, ":1: field 'test' is not Python"),
        ("humaneval_plus", corpora.humaneval_row(1) | {"base_input": 3}, ":1: field 'base_input' must be a list"),
        ("livecodebench", corpora.lcb_row(1, "2024-01-01", metadata="?"), ":1: field 'metadata' is not JSON"),
        ("livecodebench", corpora.lcb_row(1, "2024-01-01", metadata="[1]"), ":1: field 'metadata' must hold an object"),
        ("jsonl", {"question": "half of a character: \ud800", "answer": "1"}, ":1: not JSON"),
    ],
)
def test_a_missing_or_broken_column_is_refused_with_its_row(tmp_path, name, row, said):
    (tmp_path / "x.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(InputError) as error:
        load(name, tmp_path / "x.jsonl", cache=tmp_path / "c")
    assert said in str(error.value) and "x.jsonl" in str(error.value)


def test_files_that_are_not_what_they_are_called_are_refused(tmp_path):
    for name, data in (("x.parquet", b"no"), ("x.jsonl.gz", b"no"), ("x.json", b"{}"), ("x.jsonl", b"\xff\xfe")):
        directory = tmp_path / name.replace(".", "")
        directory.mkdir()
        (directory / name).write_bytes(data)
        with pytest.raises(InputError, match=name):
            load("jsonl", directory, cache=tmp_path / "c")
