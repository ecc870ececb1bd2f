"""Sources: rows become problems through array_record, and bad rows are refused with their place."""

import json
import sys
from pathlib import Path

import pytest

from hsd_jax.data import files, record_files
from hsd_jax.data.corpora import load_all
from hsd_jax.data.problems import Problem, Removed, id_hash
from hsd_jax.data.sources import SOURCES, load
from hsd_jax.errors import InputError
from tests.support.paths import CORPORA


def write_lines(path: Path, *rows: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def all_of(corpus, split="train"):
    return [corpus.splits[split][i] for i in range(len(corpus.splits[split]))]


def test_problems_survive_array_record_unchanged(tmp_path):
    problems = (
        Problem("a", "x", "math", "Frage: ∑ 1/n²?\n", "\\frac{\\pi^2}{6}", "weil", difficulty=0.25),
        Problem("b", "x", "code", "print", "", "print(1)", ({"input": "", "output": "1"},), names=("url",)),
    )
    hidden = ({"call": "f", "args": [[1, 2.5], None, {"k": True}], "output": 10**30},)
    both = (*problems, Problem("c", "x", "code", "f", "", "", (), hidden))
    record_files.write(tmp_path / "d", {"train": lambda: both, "test": lambda: problems[:1]}, with_tests=True)
    read = record_files.read(tmp_path / "d", "train")
    assert [read[i] for i in range(3)] == list(both)
    assert set(record_files.splits_of(tmp_path / "d")) == {"test", "train"}
    assert record_files.read(tmp_path / "d", "test")[0] == problems[0]
    assert record_files.read_questions(tmp_path / "d", "train")[2].hidden == ()


def test_no_tensorflow_is_imported(tmp_path):
    load("jsonl", write_lines(tmp_path / "a.jsonl", {"question": "1+1?", "answer": "2"}), cache=tmp_path / "c")
    assert "tensorflow" not in sys.modules


def test_removed_rows_are_counted_with_examples(tmp_path):
    rows = [Problem("0", "x", "math", "q", "1"), *(Removed(str(i), "x", "proof", "t" * 999) for i in range(1, 9))]
    record_files.write(tmp_path / "d", {"train": lambda: rows}, with_tests=False)
    report = record_files.removed_rows(tmp_path / "d")["train"]
    assert report["kept"] == 1 and report["removed"] == {"proof": 8}
    assert [e["id"] for e in report["examples"]["proof"]] == ["1", "2", "3", "4", "5"]


def test_second_load_reads_what_the_first_wrote_and_a_change_is_noticed(tmp_path):
    data = write_lines(tmp_path / "data" / "train.jsonl", {"question": "1+1?", "answer": "2"})
    first = load("jsonl", data.parent, cache=tmp_path / "c")
    before = {file: file.stat().st_mtime_ns for file in first.directory.iterdir()}
    second = load("jsonl", data.parent, cache=tmp_path / "c")
    assert second.directory == first.directory
    assert {file: file.stat().st_mtime_ns for file in first.directory.iterdir()} == before
    write_lines(data, {"question": "1+1?", "answer": "3"})
    third = load("jsonl", data.parent, cache=tmp_path / "c")
    assert third.fingerprint != first.fingerprint and all_of(third)[0].answer == "3"


def test_the_order_of_a_directory_listing_changes_nothing(tmp_path, monkeypatch):
    for name in ("b-train", "a-train", "c-test"):
        write_lines(tmp_path / "data" / f"{name}.jsonl", {"question": name, "answer": "1"})
    first = load("jsonl", tmp_path / "data", cache=tmp_path / "c1")
    listing = Path.rglob
    monkeypatch.setattr(Path, "rglob", lambda self, pattern: reversed(list(listing(self, pattern))))
    second = load("jsonl", tmp_path / "data", cache=tmp_path / "c2")
    assert second.fingerprint == first.fingerprint
    assert all_of(second) == all_of(first) and [p.question for p in all_of(first)] == ["a-train", "b-train"]
    assert all_of(second, "test") == all_of(first, "test")


GOOD = {"question": "1+1?", "answer": "2"}


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([json.dumps(GOOD), '{"question": "1+1?"}'], ":2: field 'answer' must hold text"),
        ([json.dumps(GOOD), '{"answer": "1"}'], ":2: field 'question' must hold text"),
        (['{"question": "  ", "answer": "1"}'], ":1: field 'question' must hold text"),
        (["", "not json"], ":2: not JSON"),
        (["[1, 2]"], ":1: must be a JSON object"),
        ([json.dumps(GOOD | {"id": "same"})] * 2, ":2: the id 'same' was used before"),
        ([json.dumps(GOOD | {"difficulty": 3})], ":1: field 'difficulty'"),
        ([json.dumps(GOOD | {"kind": "poem"})], ":1: field 'kind'"),
        (['{"question": "q", "tests": []}'], ":1: a code problem needs"),
        (['{"question": "q", "tests": [{"input": "1"}]}'], ":1: a test in 'tests'"),
        ([""], "no problem"),
    ],
)
def test_bad_rows_are_refused_with_file_and_line(tmp_path, lines, said):
    path = tmp_path / "train.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(InputError) as error:
        load("jsonl", path, cache=tmp_path / "c")
    assert said in str(error.value) and "\n" not in str(error.value)
    assert not [d for d in (tmp_path / "c").glob("*")], "a refused source leaves nothing behind"


def test_unknown_sources_and_missing_paths_are_refused(tmp_path):
    with pytest.raises(InputError, match="did you mean 'gsm8k'"):
        load("gsm8", tmp_path)
    with pytest.raises(InputError, match="--data.path"):
        load("gsm8k")
    with pytest.raises(InputError, match="does not exist"):
        load("gsm8k", tmp_path / "nowhere")
    with pytest.raises(InputError, match="holds no"):
        load("gsm8k", tmp_path)
    with pytest.raises(InputError, match="is generated"):
        load("tiny", tmp_path)
    with pytest.raises(InputError, match="named twice"):
        load_all("jsonl+jsonl", tmp_path)


def test_gsm8k_reads_the_answer_behind_the_marks(tmp_path):
    row = {"question": "How much?", "answer": "He has 2*600=<<2*600=1200>>1200 dollars.\n#### 1,200"}
    path = write_lines(tmp_path / "train.jsonl", row)
    problem = all_of(load("gsm8k", path, cache=tmp_path / "c"))[0]
    assert problem.answer == "1200"
    assert problem.solution == "He has 2*600=1200 dollars.\nThe answer is \\boxed{1200}."
    write_lines(path, row, {"question": "q", "answer": "no mark"})
    with pytest.raises(InputError, match="train.jsonl:2: field 'answer' must end in"):
        load("gsm8k", path, cache=tmp_path / "c")


@pytest.mark.skipif(not (CORPORA / "gsm8k").is_dir(), reason=f"GSM8K is not in {CORPORA}")
def test_gsm8k_goes_through_whole(tmp_path):
    corpus = load("gsm8k", CORPORA / "gsm8k", cache=tmp_path)
    assert {name: len(rows) for name, rows in corpus.splits.items()} == {"train": 7473, "test": 1319}
    for name in ("train", "test"):
        raw = [row.fields for row in files.rows(CORPORA / "gsm8k" / f"{name}.jsonl")]
        read = all_of(corpus, name)
        assert [p.question for p in read] == [row["question"] for row in raw]
        assert all(p.answer.lstrip("-").replace(".", "").isdigit() for p in read)
        assert len({p.id for p in read}) == len(read)


def test_tiny_is_generated_with_disjoint_splits(tmp_path):
    corpus = load("tiny", cache=tmp_path)
    train, test = all_of(corpus, "train"), all_of(corpus, "test")
    assert not {p.question for p in train} & {p.question for p in test}
    assert all(f"\\boxed{{{p.answer}}}" in p.solution for p in train[:50])


def test_the_hash_of_an_id_is_stable():
    assert id_hash("123456789") == 0xCBF43926, "the check value of CRC-32"


def test_every_source_states_a_license():
    assert all(source.license for source in SOURCES.values())
