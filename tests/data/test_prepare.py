"""The prepare command: raw files of every corpus become one training set with a card, and batches of it."""

import hashlib
import json
import shutil

import pytest
from rich.console import Console
from transformers import AutoTokenizer

from hsd_jax import evaluate, prepare
from hsd_jax.data import batches, chat_template
from hsd_jax.data import difficulty as rates
from hsd_jax.data.corpora import load_all, pool
from hsd_jax.data.curation import download, filters, overlap
from hsd_jax.data.problems import Problem, Removed
from hsd_jax.data.sources import load
from hsd_jax.data.tokenization import Windows, tokenize
from hsd_jax.errors import InputError
from hsd_jax.evaluation import difficulty
from hsd_jax.evaluation.generate import Samples
from hsd_jax.evaluation.settings import EvalConfig
from tests.support import corpora
from tests.support.paths import TINY_MODEL

TRAIN = ("jsonl", "math", "gsm8k", "numina", "apps", "livecodebench")
EVALUATION = ("math500", "aime24", "lcb", "humaneval")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    root = tmp_path_factory.mktemp("prepare")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HSD_JAX_DATA", str(root / "cache"))
        for name in (*TRAIN, *EVALUATION):
            corpora.WRITERS[name](root / "raw" / name)
        leak = json.loads((root / "raw" / "math500" / "test.jsonl").read_text().splitlines()[0])
        long = {"question": "word " * 400, "answer": "1"}
        again = {"question": "WHAT is 3 squared ?", "answer": "9"}
        mine = [{"question": leak["problem"].replace("\\dfrac", "\\frac"), "answer": "1"}, long, again]
        with (root / "raw" / "jsonl" / "train.jsonl").open("a") as out:
            out.writelines(json.dumps(row) + "\n" for row in mine)
        flags = ["--sources", "+".join(TRAIN), "--path", str(root / "raw"), "--out", str(root / "out")]
        flags += ["--against", "+".join(EVALUATION), "--against-path", str(root / "raw")]
        prepare.main(["build", *flags, "--tokenizer", str(TINY_MODEL), "--prompt-tokens", "400", "--workers", "1"])
    return root


def test_every_row_is_kept_or_counted(built):
    card = json.loads((built / "out" / "card.json").read_text())
    read = sum(told["read"]["train"]["kept"] for told in card["sources"])
    removed = card["removed"]["train"]["removed"]
    assert card["splits"]["train"]["problems"] + sum(removed.values()) == read
    assert removed.get("in math500 (13-gram)", 0) + removed.get("in math500 (stem)", 0) == 1
    assert removed["prompt over the window"] == 1 and removed["duplicate"] == 1
    assert {told["source"]: told["license"] for told in card["sources"]}["gsm8k"] == "MIT"
    assert sum(row["removed"] for row in card["contamination"]["matches"]) == 1
    matches = [json.loads(line) for line in (built / "out" / "contamination.jsonl").read_text().splitlines()]
    assert [match["item_id"] for match in matches] == ["math500-test/number_theory/5.json"]
    page = (built / "out" / "README.md").read_text()
    for said in ("| gsm8k | MIT | train | 12 |", "in math500", "prompt over the window", "tensorflow-datasets"):
        assert said in page


def test_a_prepared_set_shares_no_question_with_what_it_was_built_against(built, monkeypatch):
    """The check that every run does at its start; the raw files fail it."""
    cache = built / "cache"
    monkeypatch.setenv("HSD_JAX_DATA", str(cache))
    (cache / "raw").mkdir(parents=True, exist_ok=True)
    for name in EVALUATION:
        shutil.copytree(built / "raw" / name, cache / "raw" / name, dirs_exist_ok=True)
    prepared = load_all("prepared", built / "out")
    overlap.check(prepared, {"prepared": range(len(prepared[0].splits["train"]))})
    raw = load_all("+".join(TRAIN), built / "raw")
    with pytest.raises(InputError, match="1 of math500 .math500-test/number_theory/5"):
        overlap.check(
            raw, {corpus.source: range(len(corpus.splits["train"])) for corpus in raw if "train" in corpus.splits}
        )


def test_the_prepared_set_trains_in_an_exact_mixture(built):
    tokenizer = AutoTokenizer.from_pretrained(TINY_MODEL)
    frame, windows = chat_template.load_chat_template(tokenizer), Windows(400, 200, 100, {"math": 32, "code": 64})
    found = pool(load_all("prepared", built / "out"), "train", tokenizer, frame, windows)
    assert set(found.problems) == {"math", "code"} and not any(u.removed for u in found.left_out.values())
    steps = batches.step_batches(found.problems, problems_per_step=10, seed=0, weights={"math": 4, "code": 1})
    for step in range(3):
        batch = steps[step]
        assert [problem.kind for problem in batch].count("code") == 2
        assert all(problem.visible for problem in batch if problem.kind == "code")
        record = tokenize(batch, tokenizer, frame, windows)
        assert record.prefix.tokens.shape == (10, 400 - min(record.suffix.length)) and record.answer.length.min() > 0


def test_building_twice_gives_the_same_bytes(built, monkeypatch):
    monkeypatch.setenv("HSD_JAX_DATA", str(built / "cache"))
    flags = ["--sources", "gsm8k+math", "--path", str(built / "raw"), "--workers", "1"]
    cards = []
    for name in ("one", "two"):
        prepare.main(["build", *flags, "--out", str(built / name)])
        cards.append(json.loads((built / name / "card.json").read_text()))
    assert cards[0]["fingerprint"] == cards[1]["fingerprint"]
    with pytest.raises(InputError, match="exists"):
        prepare.main(["build", *flags, "--out", str(built / "one")])


def test_decontaminate_only_reports(built, monkeypatch, capsys):
    monkeypatch.setenv("HSD_JAX_DATA", str(built / "cache"))
    out = built / "matches.jsonl"
    flags = ["--sources", "jsonl", "--path", str(built / "raw" / "jsonl"), "--out", str(out), "--workers", "1"]
    prepare.main(["decontaminate", *flags, "--against", "math500", "--against-path", str(built / "raw" / "math500")])
    assert len(out.read_text().splitlines()) == 1
    assert "1 of 16 training questions" in capsys.readouterr().out
    with pytest.raises(InputError, match="has no test split"):
        prepare.main(["decontaminate", *flags, "--against", "jsonl", "--against-path", str(built / "raw" / "jsonl")])


def test_describe_shows_what_was_removed(built, monkeypatch, capsys):
    monkeypatch.setenv("HSD_JAX_DATA", str(built / "cache"))
    prepare.main(["describe", "--sources", "prepared", "--path", str(built / "out")])
    said = capsys.readouterr().out
    assert "prompt over the window" in said and "numina" in said


DAMAGES = {
    "problems-train.array_record-00000-of-00001": [b"", b"riegeli", "cut", "flipped", None],
    "problems-test_tests.array_record-00000-of-00001": [b"", None],
    "removed.json": [b"[3]", b'{"train": 0}', b"[" * 10**5, b"\xff"],
    "sources.json": [b"NaN", b"3", b'"/etc/passwd"', b"\xff"],
    "card.json": [b"{}", b"[]", b'{"fingerprint": 3, "sources": 3, "removed": {}, "splits": {}}', None],
    "difficulty.json": [b"[]", b'{"samples": 0, "correct": {"a": 1}}'],
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_dataset_is_refused_in_one_line(built, tmp_path, name):
    for damage in DAMAGES[name]:
        shutil.copytree(built / "out", tmp_path / "set", dirs_exist_ok=True)
        file = tmp_path / "set" / name
        content = file.read_bytes() if file.exists() else b""
        middle = len(content) // 2
        changed = {"cut": content[:middle], "flipped": content[:middle] + b"\x5a" * 9 + content[middle + 9 :]}
        file.unlink() if damage is None else file.write_bytes(changed.get(damage, damage))
        with pytest.raises(InputError) as refused:
            prepare.main(["describe", "--sources", "prepared", "--path", str(tmp_path / "set")])
        assert str(tmp_path / "set") in str(refused.value) and "\n" not in str(refused.value)


def test_what_a_dataset_says_to_other_readers_is_not_believed(built, tmp_path):
    shutil.copytree(built / "out", tmp_path / "set")
    for name in ("features.json", "dataset_info.json"):
        (tmp_path / "set" / name).write_text('{"pythonClassName": "antigravity.X"}')
    rows, wanted = (load_all("prepared", path)[0].splits["train"] for path in (tmp_path / "set", built / "out"))
    assert [rows[i] for i in range(len(rows))] == [wanted[i] for i in range(len(wanted))]


def test_duplicates_are_kept_once_and_told_apart():
    rows = [
        Problem("a", "one", "math", "What is $\\dfrac12+x$?", "1"),
        Problem("b", "two", "math", "what is \\(\\frac{1}{2} + x\\)", "1"),
        Problem("c", "two", "math", "What is $\\frac12 + x$ ?", "2"),
        Problem("d", "two", "math", "What is $\\frac12 - x$?", "1"),
        Problem("e", "two", "code", "Echo.", "", names=("u/1",)),
        Problem("f", "two", "code", "Another text.", "", names=("U/1",)),
    ]
    found = list(filters.chain(iter(rows), [filters.without_duplicates]))
    assert [row.id for row in found] == ["a", "b", "c", "d", "e", "f"]
    reasons = [row.reason if isinstance(row, Removed) else "" for row in found]
    assert reasons == ["", "duplicate", "duplicate with another answer", "", "", "duplicate"]


def test_difficulty_is_joined_when_problems_are_read(tmp_path, monkeypatch):
    corpora.gsm8k(tmp_path / "raw")
    corpus = load("gsm8k", tmp_path / "raw", cache=tmp_path / "cache")
    assert corpus.splits["train"][0].difficulty is None

    def asked(examinee, problems, asking, submit, log_file):
        right = (1.0, 1.0, 1.0, 0.0)
        return [Samples(p.id, right, ("correct",) * 4, ("1",) * 4, (3,) * 4, (True,) * 4, ("",) * 4) for p in problems]

    monkeypatch.setattr(difficulty, "ask_and_save", asked)
    asking = EvalConfig(
        str(TINY_MODEL), samples=4, prompt_tokens=200, response_tokens=32, code_response_tokens=32, workers=1
    )
    difficulty.measure(asking, [corpus], "train", Console(quiet=True), first=5)
    again = load("gsm8k", tmp_path / "raw", cache=tmp_path / "cache")
    assert [again.splits["train"][i].difficulty for i in (0, 4, 5)] == [0.75, 0.75, None]
    assert again.fingerprint == corpus.fingerprint
    with pytest.raises(InputError, match="5 right answers of 4"):
        rates.write(corpus.directory, {"gsm8k-train-00000": 5}, samples=4, settings={})
    (corpus.directory / rates.FILE).write_text("[]")
    with pytest.raises(InputError, match="not a difficulty file"):
        load("gsm8k", tmp_path / "raw", cache=tmp_path / "cache")


DATA = b'{"question": "1+1?", "answer": "2 #### 2"}\n'


def served(data: bytes, stated: str = ""):
    def open_address(address: str) -> download.Transfer:
        blocks = [data, b""]
        return download.Transfer(lambda size: blocks.pop(0), stated, lambda: None)

    return open_address


def test_downloads_are_checked_and_pinned(tmp_path, monkeypatch):
    monkeypatch.setitem(download.REMOTES, "gsm8k", download.Remote("https://example.org/", {"a/train.jsonl": ""}))
    right = hashlib.sha256(DATA).hexdigest()
    with pytest.raises(InputError, match="expected 00"):
        download.fetch("gsm8k", tmp_path, open_address=served(DATA, "00"))
    assert not list(tmp_path.rglob("train.jsonl*")), "a file with a wrong checksum is not kept"
    (file,) = download.fetch("gsm8k", tmp_path, open_address=served(DATA, right))
    assert file.read_bytes() == DATA and json.loads((tmp_path / "pins.json").read_text()) == {"a/train.jsonl": right}
    download.fetch("gsm8k", tmp_path, open_address=served(b"never asked"))
    file.write_bytes(DATA + DATA)
    with pytest.raises(InputError, match="SHA-256"):
        download.fetch("gsm8k", tmp_path, open_address=served(DATA))
    assert len(load("gsm8k", tmp_path, cache=tmp_path / "c").splits["train"]) == 2, "pins are no data"

    def unreachable(address: str) -> download.Transfer:
        raise OSError("no route")

    with pytest.raises(InputError, match="cannot be downloaded.*--path"):
        download.fetch("gsm8k", tmp_path / "new", open_address=unreachable)
    with pytest.raises(InputError, match="--source must be one of"):
        download.fetch("nothing", tmp_path)


def test_pinned_revisions_are_whole():
    for name, remote in download.REMOTES.items():
        assert remote.files and remote.prefix.startswith("https://"), name
        assert all(len(known) in (0, 64) for known in remote.files.values())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["bild"], "first word must be one of"),
        (["build", "--sources", "gsm8k"], "--out"),
        (["build", "--sources", "gsm9k", "--out", "x"], "did you mean 'gsm8k'"),
        (["describe", "--sources", "jsonl", "--path", "gs://bucket/x"], "--path gs://bucket/x: must be a local path"),
        (["describe", "--sources", "gsm8k", "--path", "nowhere"], "does not exist"),
        (["describe", "--sources", "prepared", "--path", "nowhere"], "holds no dataset"),
        (["difficulty", "--checkpoint", "c", "--sources", "tiny", "--samples", "0"], "--samples"),
        (["fetch", "--sorce", "gsm8k"], "--source"),
    ],
)
def test_bad_input_is_refused(words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HSD_JAX_DATA", str(tmp_path / "cache"))
    with pytest.raises(InputError, match=said):
        prepare.main(words)


def test_help_names_every_command(capsys):
    assert prepare.main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in prepare.COMMANDS) and evaluate.__doc__
