"""Files as people and tools really leave them: read as they were meant, or refused in one line with file and row."""

import json
import threading
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from hsd_jax.data import files, usable
from hsd_jax.data.markup import control_ids, holds_markup, markup_of
from hsd_jax.data.problems import MOST_DIGITS, Problem, long_integers, read_json
from hsd_jax.data.sources import SOURCES
from hsd_jax.errors import InputError
from tests.support import corpora

MATH = {"question": "1+1?", "answer": "2"}
STDIN = {"question": "Double n.", "tests": [{"input": "1\n", "output": "2\n"}]}
CALL = {"question": "Do nothing.", "tests": [{"call": "f", "args": [1], "output": None}]}


def taken(file: Path, source: str = "jsonl") -> list:
    return [row for read in SOURCES[source].splits([file]).values() for row in read()]


def refused(file: Path, source: str = "jsonl") -> str:
    with pytest.raises(InputError) as error:
        taken(file, source)
    assert "\n" not in str(error.value) and str(file) in str(error.value)
    return str(error.value)


def text_file(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_parquet_file_may_mix_mathematics_and_programs(tmp_path: Path):
    none = dict.fromkeys(("answer", "solution", "tests"))
    rows = [none | MATH, none | STDIN, none | MATH | {"tests": []}]
    corpora.parquet(tmp_path / "train.parquet", rows)
    kinds = [(p.kind, p.answer, len(p.visible)) for p in taken(tmp_path / "train.parquet")]
    assert kinds == [("math", "2", 0), ("code", "", 1), ("math", "2", 0)]


def test_null_is_an_absent_column_but_a_value_as_output(tmp_path: Path):
    nothing = dict.fromkeys(("id", "kind", "solution", "difficulty", "hidden_tests", "source", "tests"))
    found = taken(text_file(tmp_path / "a.jsonl", MATH | nothing, CALL | {"answer": None}))
    assert found[0] == Problem("train-a-00000", "jsonl", "math", "1+1?", "2")
    assert found[1].visible == ({"call": "f", "args": [1], "output": None},)
    assert "'answer' must hold text; got None" in refused(text_file(tmp_path / "a.jsonl", MATH | {"answer": None}))


@pytest.mark.parametrize(
    ("tests", "said"),
    [
        ([{"input": "1\n", "output": 2}], "tests[0] must hold"),
        ([{"input": 1, "output": "2"}], "tests[0] must hold"),
        ([{"input": "1", "output": None}], "tests[0] must hold"),
        ([{"call": 3, "args": [], "output": 2}], "tests[0] must hold"),
        ([{"call": "f", "args": {"a": 1}, "output": 2}], "must be a list"),
        ([{"call": "f", "args": [1], "output": 2, "rule": "loose"}], "must be one of"),
        ([{"call": "f", "args": [1], "output": 2, "rule": 10**4000}], "must be one of"),
        ([{"call": "", "args": [1], "output": 2}], "must name a function"),
        ([{"call": "import os; f", "args": [1], "output": 2}], "must name a function"),
        ([{"call": "Solution().class", "args": [1], "output": 2}], "must name a function"),
        ([{"call": "f", "args": [1], "output": 2, "rule": ["equal"]}], "must be one of"),
        ([{"input": "1", "output": "2"}, {"call": "f", "args": [1], "output": 2}], "mix"),
        ([{"input": "1", "output": "2", "why": 1}], "must have the fields"),
        (["x"], "must have the fields"),
        ("x", "must be a list"),
    ],
)
def test_tests_that_no_verifier_can_run_are_refused_where_they_enter(tmp_path: Path, tests: object, said: str):
    for name in ("tests", "hidden_tests"):
        assert said in refused(text_file(tmp_path / "a.jsonl", MATH, STDIN | {name: tests}))
    both = STDIN | {"hidden_tests": [{"call": "f", "args": [1], "output": 2}]}
    assert ":1: fields 'tests' and 'hidden_tests' together" in refused(text_file(tmp_path / "a.jsonl", both))


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_a_byte_order_mark_is_no_part_of_the_data(tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + json.dumps(MATH).encode() + b"\n")
    assert taken(tmp_path / name)[0].answer == "2"


def test_json_holds_an_array_one_row_or_lines(tmp_path: Path):
    file = tmp_path / "a.json"
    for text in (json.dumps([MATH]), json.dumps(MATH, indent=2), json.dumps(MATH) + "\n"):
        file.write_text(text)
        assert [p.answer for p in taken(file)] == ["2"]
    assert len(taken(text_file(file, MATH, MATH | {"question": "0+2?"}))) == 2
    file.write_text(json.dumps(MATH) + "\n{broken")
    assert f"{file}:2: not JSON" in refused(file)
    for text in ("3", '[{"a": 1}] x', "", "[1]"):
        file.write_text(text)
        refused(file)


@pytest.mark.parametrize("damage", range(8))
def test_a_damaged_parquet_file_is_refused_or_read(tmp_path: Path, damage: int):
    file = tmp_path / "a.parquet"
    rows = [MATH | {"question": f"{n}+{n} of " + "lorem ipsum " * 50} for n in range(2000)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file, compression="zstd", row_group_size=100)
    data = bytearray(file.read_bytes())
    start = len(data) * damage // 8
    data[start : start + 40] = bytes(byte ^ 0x5A for byte in data[start : start + 40])
    file.write_bytes(data)
    try:
        assert len(taken(file)) == 2000
    except InputError as error:
        assert str(file) in str(error) and "\n" not in str(error)


def test_integers_of_any_reasonable_length_in_answers_and_tests(tmp_path: Path):
    file, digits = tmp_path / "a.jsonl", "7" * 20_000
    file.write_text(
        f'{{"question": "Big?", "answer": {digits}}}\n'
        f'{{"question": "f", "tests": [{{"call": "f", "args": [-{digits}], "output": {digits}}}]}}\n'
    )
    math, code = taken(file)
    assert math.answer == digits
    with long_integers():
        assert str(code.visible[0]["output"]) == digits and str(code.visible[0]["args"][0]) == f"-{digits}"
    file.write_text(f'{{"question": "Too big?", "answer": {"7" * (MOST_DIGITS + 1)}}}\n')
    assert "digits" in refused(file)


def test_long_integers_are_read_by_several_threads_at_once():
    text, failed = "[" + ",".join(["9" * 6000] * 20) + "]", []

    def read() -> None:
        for _ in range(10):
            try:
                read_json(text)
                with long_integers():
                    assert json.dumps(10**5000)
            except ValueError as error:
                failed.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not failed


@pytest.mark.parametrize("value", [True, [1], {"a": 1}])
@pytest.mark.parametrize("name", ["id", "solution", "source"])
def test_text_fields_of_another_kind_are_refused(tmp_path: Path, name: str, value: object):
    assert f":1: field {name!r} must hold text" in refused(text_file(tmp_path / "a.jsonl", MATH | {name: value}))


def test_escape_codes_of_rows_are_quoted_in_refusals(tmp_path: Path):
    row = {"question": "q", "\x1b[2J": 1, "answer": "\x1b]0;evil\x07" * 3, "kind": "\x1b[31mred"}
    assert "\x1b" not in refused(text_file(tmp_path / "a.jsonl", row))
    assert "\x1b" not in refused(text_file(tmp_path / "a.jsonl", {"\x1b[2J": 1}))


class Tokenizer:
    def get_added_vocab(self) -> dict[str, int]:
        return {"<|box_end|>": 7, " ": 8}

    def get_vocab(self) -> dict[str, int]:
        return {"a": 0, "</think>": 3, "<|im_start|>": 5, "<think>": 4, **self.get_added_vocab()}


@pytest.mark.parametrize(
    "value",
    [
        "a <|im_end|> b",
        "<|box_end|>",
        "</think>",
        "<｜im_end｜>",
        ("x", {"args": ["y", {"<|im_start|>": 1}]}),
        [{"input": "1", "output": "<|endoftext|>"}],
    ],
)
def test_chat_markup_is_found_wherever_it_stands(value: object):
    assert holds_markup(markup_of(Tokenizer()), "harmless", value)
    assert not holds_markup(markup_of(Tokenizer()), "a < b | c > d", {"x": ["think", 3, None]})


def test_every_other_file_is_left_out_by_name(tmp_path: Path):
    text_file(tmp_path / "train.jsonl", MATH)
    text_file(tmp_path / "test.JSONL", MATH)
    for name in ("val.csv", "LICENSE", "train.jsonl.bak"):
        (tmp_path / name).write_text("x")
    (tmp_path / "test.jsonl").symlink_to(tmp_path / "nowhere")
    (tmp_path / "more").symlink_to(tmp_path)
    found, left_out = files.data_files(tmp_path)
    assert found == [tmp_path / "train.jsonl"]
    assert {file.name for file in left_out} == {
        "test.JSONL",
        "val.csv",
        "LICENSE",
        "train.jsonl.bak",
        "test.jsonl",
        "more",
    }
    assert left_out[tmp_path / "test.jsonl"].startswith("no regular file")


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path):
    text_file(tmp_path / "train-\udcff.jsonl", MATH)
    with pytest.raises(InputError, match=r"the name of .*train-\\udcff.jsonl is not UTF-8"):
        files.data_files(tmp_path)


@pytest.mark.parametrize("source", ["gsm8k", "math500", "aime24", "numina", "jsonl"])
def test_a_lost_backslash_is_not_taken_for_white_space(tmp_path: Path, source: str):
    lost = "\frac{1}{2}"
    row = {"question": "q", "problem": "q", "answer": lost, "solution": "s", "source": "s"}
    rows = taken(
        text_file(tmp_path / "test.jsonl", row | ({"answer": f"#### {lost}"} if source == "gsm8k" else {})), source
    )
    assert "backslash was lost" in usable.unmatched(rows[0].answer)


@pytest.mark.parametrize("answer", ["\textdegree", "\nearrow", "\nu", "\rightarrow 2", "\tbinom{5}{2}", "-NaN", "+inf"])
def test_more_answers_that_nothing_can_match(answer: str):
    assert usable.unmatched(answer)


@pytest.mark.parametrize("answer", ["x = 1\nu = 2", "\n42\n", "4\tor 5", "1\r\n2", "\n\\frac{1}{2}"])
def test_white_space_of_answers_is_no_lost_backslash(answer: str):
    assert not usable.unmatched(answer)


def test_the_ids_of_chat_markup_are_those_of_its_words_in_the_vocabulary():
    assert control_ids(Tokenizer(), thinking=False) == (3, 4, 5, 7)
    assert control_ids(Tokenizer(), thinking=True) == (5, 7)


def test_the_name_of_a_file_without_its_suffix():
    assert [files.stem(Path(name)) for name in ("a.b.jsonl.gz", "a.json", "a.b")] == ["a.b", "a", "a.b"]
