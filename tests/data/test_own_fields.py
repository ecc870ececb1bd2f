"""One's own data under its own names: maps of fields, questions with choices, directories of the package datasets."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.ipc
import pytest

from hsd_jax import config, prepare
from hsd_jax.data.files import data_files
from hsd_jax.data.readers.field_map import FIELDS, parse_fields
from hsd_jax.data.sources import load
from hsd_jax.errors import InputError
from hsd_jax.verifiers import math
from tests.support import corpora

CHAT = {
    "prompt": [{"role": "user", "content": "1+1?"}],
    "reward_model": {"ground_truth": "2", "style": "rule"},
    "answer": "a long text that is not the answer",
}
CHAT_FIELDS = "question=prompt.0.content, answer=reward_model.ground_truth"


def lines(path: Path, *rows: dict) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def loaded(tmp_path: Path, *rows: dict, fields: str = "") -> list:
    file = lines(tmp_path / "train.jsonl", *rows)
    rows_read = load("jsonl", file, fields=fields, cache=tmp_path / "cache").splits["train"]
    return [rows_read[i] for i in range(len(rows_read))]


def test_fields_are_read_from_where_they_stand(tmp_path: Path):
    (problem,) = loaded(tmp_path, CHAT, fields=CHAT_FIELDS)
    assert (problem.question, problem.answer, problem.kind) == ("1+1?", "2", "math")
    corpora.parquet(tmp_path / "p" / "train.parquet", [CHAT])
    rows = load("jsonl", tmp_path / "p", fields=CHAT_FIELDS, cache=tmp_path / "cache").splits["train"]
    assert (rows[0].question, rows[0].answer) == ("1+1?", "2")


def test_another_map_of_fields_is_another_dataset(tmp_path: Path):
    row = {"q": "1+1?", "a": "2", "b": "3"}
    assert [loaded(tmp_path, row, fields=f"question=q,answer={name}")[0].answer for name in "ab"] == ["2", "3"]


def test_a_field_whose_name_has_a_dot_is_found_by_its_name(tmp_path: Path):
    assert loaded(tmp_path, {"in.put": "1+1?", "answer": "2"}, fields="question=in.put")[0].question == "1+1?"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ("question", "must be pairs"),
        ("question=", "must be pairs"),
        ("prompt=question", "'prompt' is none of our fields"),
        ("question=q,question=r", "'question' is given twice"),
        ("question=prompt.1.content", "train.jsonl:1: data.fields reads 'question' from 'prompt.1.content'"),
        ("answer=nowhere", "which is not there"),
        ("question=reward_model", "field 'question' must hold text"),
    ],
)
def test_a_map_that_cannot_be_followed_is_refused(tmp_path: Path, fields: str, said: str):
    with pytest.raises(InputError) as error:
        loaded(tmp_path, CHAT, fields=fields)
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("source", ["gsm8k", "tiny", "prepared", "gsm8k+math"])
def test_sources_with_known_fields_take_no_map(tmp_path: Path, source: str):
    with pytest.raises(InputError, match="fields of your own"):
        prepare.load_all(source, tmp_path, fields="question=q", cache=tmp_path / "cache")


def test_every_field_of_a_row_can_be_named_otherwise(tmp_path: Path):
    assert parse_fields(",".join(f"{name}=x.{name}" for name in FIELDS)) == {name: f"x.{name}" for name in FIELDS}
    row = {
        "question": "1+1?",
        "answer": "2",
        "solution": "1+1=2",
        "difficulty": 0.5,
        "rubric": "Add.",
        "canonical": "1 + 1?",
    }
    fields = ",".join(f"{name}=x.{name}" for name in row)
    assert loaded(tmp_path / "named", {"x": row}, fields=fields)[0] == loaded(tmp_path / "plain", row)[0]
    assert config.Data().fields == "" and parse_fields(" ") == {}


@pytest.mark.parametrize("answer", ["B", "eleven", "2"])
def test_choices_are_shown_by_letter_and_answered_by_one(tmp_path: Path, answer: object):
    choices = {"text": ["nine", "eleven", "twelve"], "label": ["1", "2", "3"]}
    (problem,) = loaded(tmp_path, {"question": "Which is a prime?", "choices": choices, "answer": answer})
    assert problem.answer == "B" and problem.kind == "math"
    assert problem.question == (
        "Which is a prime?\n\n(A) nine\n(B) eleven\n(C) twelve\n\nAnswer with the letter of the right choice."
    )
    verdicts = [math.grade_easy(f"It is \\boxed{{{letter}}}.", problem.answer) for letter in "ABC"]
    assert [verdict and verdict.reward for verdict in verdicts] == [0, 1, 0]


@pytest.mark.parametrize(
    ("labels", "answer", "letter"),
    [(["A", "B", "C"], 0, "A"), (["A", "B", "C"], 2, "C"), (["0", "1", "2"], 1, "B"), (["1", "2", "3"], 3, "C")],
)
def test_a_number_is_a_place_or_a_label(tmp_path: Path, labels: list[str], answer: int, letter: str):
    row = {"question": "Which?", "choices": {"text": ["nine", "ten", "twelve"], "label": labels}, "answer": answer}
    assert loaded(tmp_path, row)[0].answer == letter


@pytest.mark.parametrize(
    ("choices", "answer", "said"),
    [
        (["9"], "A", "a list of 2 to 26 texts"),
        ("9 or 11", "A", "a list of 2 to 26 texts"),
        ({"text": ["9", "11"], "label": ["A"]}, "A", "a label for each text"),
        (["9", " "], "A", "must hold different texts"),
        (["9", "9"], "A", "must hold different texts"),
        (["9", 11], "A", "must hold different texts"),
        (["9", "11"], "C", "field 'answer' must be one of A, B"),
        (["9", "11"], 2, "field 'answer' must be one of A, B"),
        ({"text": ["9", "11"], "label": ["1", "2"]}, 1, "so is the label of another choice"),
        (["9", "11"], True, "field 'answer' must be one of A, B"),
        (["9", "11"], None, "field 'answer' must be one of A, B"),
    ],
)
def test_choices_that_cannot_be_asked_are_refused(tmp_path: Path, choices: object, answer: object, said: str):
    with pytest.raises(InputError) as error:
        loaded(tmp_path, {"question": "Which?", "choices": choices, "answer": answer})
    assert said in str(error.value) and "train.jsonl:1" in str(error.value)


def arrow(path: Path, rows: list[dict], *, opened: Callable[..., Any] = pyarrow.ipc.new_stream) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pyarrow.Table.from_pylist(rows)
    with pyarrow.OSFile(str(path), "wb") as out, opened(out, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)


@pytest.mark.parametrize("opened", [pyarrow.ipc.new_stream, pyarrow.ipc.new_file])
def test_a_directory_that_the_package_datasets_saved_is_read(tmp_path: Path, opened: Callable[..., Any]):
    rows = [{"question": f"{i}+1?", "answer": str(i + 1)} for i in range(5)]
    for split in ("train", "test"):
        arrow(tmp_path / "set" / split / "data-00000-of-00001.arrow", rows, opened=opened)
        arrow(tmp_path / "set" / split / "cache-0123456789abcdef.arrow", [{"other": 1}], opened=opened)
        for name in ("state.json", "dataset_info.json"):
            (tmp_path / "set" / split / name).write_text("{}")
    (tmp_path / "set" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    assert [file.name for file in data_files(tmp_path / "set")[0]] == ["data-00000-of-00001.arrow"] * 2
    corpus = load("jsonl", tmp_path / "set", cache=tmp_path / "cache")
    answers = {name: [split[i].answer for i in range(len(split))] for name, split in corpus.splits.items()}
    assert answers == {"train": ["1", "2", "3", "4", "5"], "test": ["1", "2", "3", "4", "5"]}


def test_a_file_whose_name_only_begins_as_a_cache_does_is_data(tmp_path: Path):
    for name in ("cached_train.arrow", "cache-0123456789abcdef_00000_of_00002.arrow"):
        arrow(tmp_path / name, [{"question": "1+1?", "answer": "2"}])
    assert [file.name for file in data_files(tmp_path)[0]] == ["cached_train.arrow"]


def test_a_damaged_arrow_file_is_refused_by_name(tmp_path: Path):
    arrow(tmp_path / "train.arrow", [{"question": "1+1?", "answer": "2"}] * 9)
    whole = (tmp_path / "train.arrow").read_bytes()
    for damaged in (b"", b"no", whole[: len(whole) // 2], whole[:40] + b"\xff" * 40 + whole[80:]):
        (tmp_path / "train.arrow").write_bytes(damaged)
        with pytest.raises(InputError, match=r"train\.arrow"):
            load("jsonl", tmp_path / "train.arrow", cache=tmp_path / "cache")
