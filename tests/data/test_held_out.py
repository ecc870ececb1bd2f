"""Held-out questions: in the mixture's shares, from every source, and never among those that are trained on."""

import json
import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hsd_jax.config import Config, Data, Evaluation, Model
from hsd_jax.data import corpora as data_corpora
from hsd_jax.data.curation import overlap
from hsd_jax.data.input_pipeline import read_questions
from hsd_jax.data.problems import Problem
from hsd_jax.data.tokenization import Tokenization
from hsd_jax.errors import InputError
from hsd_jax.setup.tokenizer import load_tokenization
from models.qwen3 import Qwen3Config
from tests.support import corpora
from tests.support.paths import TINY_MODEL

ROOM = Data(source="jsonl", problems_per_step=4, prompt_tokens=512, answer_tokens=128, context_tokens=1024)
TESTS = [{"input": "1", "output": "1"}]


@pytest.fixture(scope="module")
def texts() -> Tokenization:
    config = Config(model=Model(path=str(TINY_MODEL)), data=ROOM)
    return load_tokenization(config, Qwen3Config.from_hf(config.model.path))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HSD_JAX_DATA", str(tmp_path / "cache"))
    return tmp_path / "files"


def math(numbers: range) -> list[dict[str, Any]]:
    return [{"question": f"What is {n} + {n}, said in full?", "answer": str(2 * n)} for n in numbers]


def code(numbers: range) -> list[dict[str, Any]]:
    return [{"question": f"Read a number and print {n} times as much.", "tests": TESTS} for n in numbers]


def asked(texts: Tokenization, path: Path, *, problems: int = 20, **changes: Any) -> list[Problem]:
    config = Config(data=replace(ROOM, path=str(path), **changes), evaluation=Evaluation(problems=problems))
    return [*read_questions(config, texts).held_out]


@pytest.mark.parametrize("mixture", [(4, 1), (1, 1), (2, 3)])
def test_the_mixture_holds_in_the_held_out_set(texts: Tokenization, folder: Path, mixture: tuple[int, int]) -> None:
    corpora.lines(folder / "train.jsonl", math(range(10)) + code(range(10)))
    corpora.lines(folder / "test.jsonl", math(range(10, 40)) + code(range(10, 40)))
    found = asked(texts, folder, mixture=mixture)
    whole = sum(mixture)
    kinds = [problem.kind for problem in found]
    assert len(found) == 20
    for start in range(len(found) - whole + 1):
        assert Counter(kinds[start : start + whole]) == Counter(math=mixture[0], code=mixture[1])
    numbers = [problem.id for problem in found if problem.kind == "math"]
    assert numbers == sorted(numbers), "of each kind the first ones, in their order"


def test_a_kind_with_few_held_out_questions_shortens_the_set_and_that_is_said(
    texts: Tokenization, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    corpora.lines(folder / "train.jsonl", math(range(10)) + code(range(10)))
    corpora.lines(folder / "test.jsonl", math(range(10, 40)) + code(range(10, 12)))
    assert Counter(problem.kind for problem in asked(texts, folder)) == {"math": 8, "code": 2}
    assert "held-out questions: 10" in caplog.text and "30 math and 2 code" in caplog.text


def test_a_kind_without_held_out_questions_is_said(
    texts: Tokenization, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    corpora.lines(folder / "train.jsonl", math(range(10)) + code(range(10)))
    corpora.lines(folder / "test.jsonl", math(range(10, 40)))
    assert {problem.kind for problem in asked(texts, folder)} == {"math"}
    assert "held-out questions: none of code, which is trained on" in caplog.text


def test_every_source_of_a_kind_is_held_out_by_its_size(texts: Tokenization, folder: Path) -> None:
    corpora.WRITERS["math"](folder / "math")
    corpora.WRITERS["gsm8k"](folder / "gsm8k")
    found = asked(texts, folder, problems=4, source="math+gsm8k")
    assert Counter(problem.source for problem in found) == {"math": 2, "gsm8k": 2}


def test_another_bank_of_skills_is_another_dataset_for_a_run_that_goes_on(texts: Tokenization, folder: Path) -> None:
    corpora.lines(folder / "train.jsonl", math(range(10)))
    config = Config(data=replace(ROOM, path=str(folder)))
    banks = [replace(texts.windows, skills=skills) for skills in ((), ("Add.",), ("Add twice.",))]
    seen = [read_questions(config, replace(texts, windows=windows)).identity for windows in banks]
    assert len({json.dumps(one, sort_keys=True) for one in seen}) == 3


def test_members_take_turns_until_one_group_has_no_more() -> None:
    assert data_corpora.spread({"a": "abcdefgh", "b": "xy"}, {"a": 2, "b": 1}) == list("axbcyd")
    assert data_corpora.spread({"a": "abc"}, {"a": 7}) == list("abc")
    assert data_corpora.spread({}, {}) == []


# --- questions that are asked in training and in evaluation


def mixed(folder: Path, copies: list[dict[str, Any]]) -> Path:
    """A corpus with a test split, and a second source that holds some of its test questions."""
    corpora.WRITERS["gsm8k"](folder / "gsm8k")
    corpora.lines(folder / "jsonl" / "train.jsonl", [*math(range(10)), *copies])
    return folder


def held_out_of_gsm8k(folder: Path) -> list[dict[str, Any]]:
    corpora.WRITERS["gsm8k"](folder / "gsm8k")
    lines = (folder / "gsm8k" / "test.jsonl").read_text().splitlines()
    return [{"question": json.loads(line)["question"], "answer": "1"} for line in lines]


@pytest.mark.parametrize("change", [str, str.upper, lambda text: text.replace(" ", "  ").replace("?", ".")])
def test_a_held_out_question_among_the_training_questions_is_refused(
    texts: Tokenization, folder: Path, change: Any, caplog: pytest.LogCaptureFixture
) -> None:
    copies = [row | {"question": change(row["question"])} for row in held_out_of_gsm8k(folder)[:3]]
    path = mixed(folder, copies)
    with pytest.raises(InputError, match="3 of gsm8k .*--data.allow-shared-questions") as refused:
        asked(texts, path, source="gsm8k+jsonl")
    assert "\n" not in str(refused.value)
    with caplog.at_level(logging.WARNING):
        assert asked(texts, path, source="gsm8k+jsonl", allow_shared_questions=True)
    assert "3 of gsm8k" in caplog.text


def test_the_test_split_of_a_benchmark_at_hand_is_one_of_them(texts: Tokenization, folder: Path) -> None:
    copies = held_out_of_gsm8k(folder.parent / "cache" / "raw")[:2]
    corpora.lines(folder / "train.jsonl", [*math(range(10)), *copies])
    with pytest.raises(InputError, match="2 of gsm8k"):
        asked(texts, folder)


def test_a_question_of_an_evaluation_set_at_hand_is_refused(texts: Tokenization, folder: Path) -> None:
    corpora.WRITERS["math500"](folder.parent / "cache" / "raw" / "math500")
    row = json.loads((folder.parent / "cache" / "raw" / "math500" / "test.jsonl").read_text().splitlines()[0])
    corpora.lines(folder / "train.jsonl", [*math(range(10)), {"question": row["problem"], "answer": row["answer"]}])
    with pytest.raises(InputError, match="1 of math500"):
        asked(texts, folder)


def test_other_numbers_or_operators_make_another_question(texts: Tokenization, folder: Path) -> None:
    sums = [{"question": f"Compute for me the value of this: {n} + 3 * {n}", "answer": "1"} for n in range(9)]
    other = [{"question": f"Compute for me the value of this: {n} - 3 * {n}", "answer": "1"} for n in range(9)]
    corpora.lines(folder / "train.jsonl", sums)
    corpora.lines(folder / "test.jsonl", other)
    assert len(asked(texts, folder)) == 9


def test_a_question_that_is_not_trained_on_is_no_fault(texts: Tokenization, folder: Path) -> None:
    """Rows that do not fit their windows are left out of training; so they are here."""
    long = {"question": " ".join(f"word{n}" for n in range(600)), "answer": "1"}
    corpora.lines(folder / "train.jsonl", [*math(range(10)), long])
    corpora.lines(folder / "test.jsonl", [*math(range(10, 20)), long])
    assert len(asked(texts, folder)) == 10


def test_hashes_are_read_once(texts: Tokenization, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpora.lines(folder / "train.jsonl", math(range(10)))
    (corpus,) = data_corpora.load_all("jsonl", folder)
    first = overlap.hashes(corpus, "train")
    monkeypatch.setattr(overlap, "_hash", lambda problem: pytest.fail("read again"))
    assert first.tolist() == overlap.hashes(corpus, "train").tolist() and len(set(first.tolist())) == 10
