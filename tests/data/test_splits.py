"""No held-out file becomes training data, nothing is read twice, and `describe` accounts for every file and row."""

import json
import re
from pathlib import Path

import pytest

from hsd_jax import prepare
from hsd_jax.data import splits
from hsd_jax.data.sources import load
from hsd_jax.errors import InputError
from tests.support import corpora

HELD_OUT = (
    "test tests testing testset test_set TestSet test-data val vals valset valid validation dev devset dev-set"
    " development eval evals evaluation eval_set holdout hold_out hold-out held_out heldout HeldOut unseen benchmark"
    " gsm8k_test test1 my.val math-test-00000-of-00001 VAL"
).split()
TRAIN = "train training trainset train_set Train train-00000-of-00002 my_training_data".split()


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HSD_JAX_DATA", str(tmp_path_factory.mktemp("cache")))


def write(file: Path, *rows: dict) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    corpora.lines(file, list(rows))
    return file


def row(text: str, **more: object) -> dict:
    return {"question": f"What is {text}?", "answer": "4"} | more


@pytest.mark.parametrize("name", HELD_OUT)
def test_no_word_for_held_out_data_means_training(name: str, tmp_path: Path):
    (train, other), directory = (tmp_path / "train.jsonl", tmp_path / f"{name}.jsonl"), tmp_path / name / "part.jsonl"
    assert splits.assign([train, other]) == {train: "train", other: "test"}
    assert splits.assign([train, directory]) == {train: "train", directory: "test"}


@pytest.mark.parametrize("name", ["test-set", "Validation Set", "held out", "eval_v2", "HOLD-OUT", "dev.1"])
def test_the_directory_that_holds_all_files_is_known_by_its_whole_name(name: str, tmp_path: Path):
    file = tmp_path / name / "part-0.jsonl"
    assert splits.assign([file]) == {file: "" if name == "eval_v2" else "test"}
    other = tmp_path / "preparing-for-a-test" / "part-0.jsonl"
    assert splits.assign([other]) == {other: ""}


@pytest.mark.parametrize("name", TRAIN)
def test_training_files_are_known_by_name_or_directory(name: str, tmp_path: Path):
    test, other, deep = tmp_path / "test.jsonl", tmp_path / f"{name}.parquet", tmp_path / name / "algebra" / "1.json"
    assert splits.assign([test, other, deep]) == {test: "test", other: "train", deep: "train"}


def test_a_file_of_unknown_split_is_announced_alone_and_refused_beside_others(tmp_path: Path, caplog):
    write(tmp_path / "mine" / "questions.jsonl", row("1+3"))
    assert set(load("jsonl", tmp_path / "mine", cache=tmp_path / "c").splits) == {"train"}
    assert "questions.jsonl: the name says no split; read as train" in caplog.text
    write(tmp_path / "mine" / "train.jsonl", row("2+2"))
    with pytest.raises(InputError, match=r"questions.jsonl says no split, that of train.jsonl says 'train'"):
        load("jsonl", tmp_path / "mine", cache=tmp_path / "c")
    with pytest.raises(InputError, match="both train and test"):
        splits.assign([tmp_path / "train_and_test.jsonl"])


def test_what_is_refused_leaves_nothing_behind(tmp_path: Path):
    write(tmp_path / "mine" / "train.jsonl", row("1+3"), {"question": None})
    with pytest.raises(InputError, match="train.jsonl:2"):
        load("jsonl", tmp_path / "mine", cache=tmp_path / "c")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["mine"]


def test_moving_a_file_into_a_test_directory_is_noticed(tmp_path: Path):
    file = write(tmp_path / "d" / "train" / "a.jsonl", row("1+3"))
    write(tmp_path / "d" / "train" / "b.jsonl", row("2+2"))
    before = load("jsonl", tmp_path / "d", cache=tmp_path / "c")
    (tmp_path / "d" / "test").mkdir()
    file.rename(tmp_path / "d" / "test" / "a.jsonl")
    after = load("jsonl", tmp_path / "d", cache=tmp_path / "c")
    assert before.fingerprint != after.fingerprint
    assert {name: len(rows) for name, rows in after.splits.items()} == {"train": 1, "test": 1}


def test_copies_of_tools_are_left_out_and_named(tmp_path: Path, capsys):
    data = tmp_path / "d"
    write(data / "train.jsonl", row("1+3"), row("2+2"))
    for name in (".ipynb_checkpoints/train-checkpoint.jsonl", ".cache/x/train.jsonl", "__MACOSX/train.jsonl"):
        write(data / name, row("1+3"))
    (data / "._train.jsonl").write_bytes(b"\0\5\26\7")
    (data / "dataset_infos.json").write_text("{}")
    (data / ".~lock.train.jsonl").write_text("")
    corpus = load("jsonl", data, cache=tmp_path / "c")
    assert len(corpus.splits["train"]) == 2
    assert len(corpus.left_out) == 6
    prepare.main(["describe", "--sources", "jsonl", "--path", str(data)])
    said = capsys.readouterr().out
    assert all(f"{name}: left out" in said for name in corpus.left_out)


def test_the_same_data_in_two_formats_is_refused(tmp_path: Path):
    write(tmp_path / "train.jsonl", row("1+3"))
    write(tmp_path / "train.jsonl.gz", row("1+3"))
    with pytest.raises(InputError, match="two formats"):
        load("jsonl", tmp_path, cache=tmp_path / "c")


def test_socratic_files_are_left_out_beside_others_only(tmp_path: Path):
    corpora.gsm8k(tmp_path / "socratic" / "main")
    beside = load("gsm8k", tmp_path / "socratic" / "main", cache=tmp_path / "c")
    assert len(beside.splits["train"]) == 12 and not beside.left_out
    corpora.gsm8k(tmp_path / "socratic" / "socratic")
    both = load("gsm8k", tmp_path / "socratic", cache=tmp_path / "c")
    assert len(both.splits["train"]) == 12 and sorted(both.left_out) == ["socratic/test.jsonl", "socratic/train.jsonl"]


@pytest.mark.parametrize("name", ["gsm8k", "math", "numina", "apps", "livecodebench", "math500", "humaneval"])
def test_describe_accounts_for_every_file_and_row(name: str, tmp_path: Path, capsys):
    corpora.WRITERS[name](tmp_path / "d")
    prepare.main(["describe", "--sources", name, "--path", str(tmp_path / "d")])
    said = capsys.readouterr().out
    rows: dict[str, int] = {}
    for file in (file for file in (tmp_path / "d").rglob("*") if file.is_file()):
        named = file.relative_to(tmp_path / "d").as_posix()
        split, count = re.search(rf"{re.escape(named)}: (\w+), ([\d,]+) rows", said).groups()  # type: ignore[union-attr]
        rows[split] = rows.get(split, 0) + int(count.replace(",", ""))
    for split, total in rows.items():
        parts = re.search(rf"{split}: ([\d,]+) rows = ([\d,]+) problems \+ ([\d,]+) removed", said)
        assert parts is not None
        stated, kept, removed = (int(part.replace(",", "")) for part in parts.groups())
        assert stated == total == kept + removed


def test_answers_that_nothing_can_match_are_counted_and_named(tmp_path: Path, capsys):
    good = [row(f"2+{n}", id=f"good-{n}") for n in range(3)]
    bad = {"nan": float("nan"), "feed": "\frac{1}{2}", "times": "3\times 4", "long": "9" * 700, "open": "\\frac{1}{2"}
    bad |= {"huge": 10**5000}
    file = tmp_path / "train.jsonl"
    lines = [json.dumps(one) for one in good]
    lines += [json.dumps(row(name, id=name, answer=value)) for name, value in bad.items() if name != "huge"]
    lines.append('{"question": "What is huge?", "id": "huge", "answer": 1' + "0" * 5000 + "}")
    file.write_text("\n".join(lines))
    prepare.main(["describe", "--sources", "jsonl", "--path", str(file)])
    told = [line for line in capsys.readouterr().out.splitlines() if "cannot be answered" in line]
    named = {word for line in told for word in line.partition(": ")[2].rpartition(": ")[2].split(", ")}
    assert named == set(bad)
    assert sum(int(re.search(r"(\d+) questions", line)[1]) for line in told) == len(bad)  # type: ignore[index]
    prepare.main(["build", "--sources", "jsonl", "--path", str(file), "--out", str(tmp_path / "out")])
    card = json.loads((tmp_path / "out" / "card.json").read_text())
    assert card["splits"]["train"]["problems"] == 3
    assert sum(card["removed"]["train"]["removed"].values()) == len(bad)
