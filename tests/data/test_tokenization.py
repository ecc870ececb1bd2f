"""Problems as ids: windows are respected, pieces spell the whole prompt, what does not fit is named."""

# ruff: noqa: E501 - tables of tests read best unwrapped

import logging

import numpy as np
import pytest
from transformers import AutoTokenizer

from hsd_jax.config import Config, Data
from hsd_jax.data import chat_template, tokenization, usable
from hsd_jax.data.corpora import pool
from hsd_jax.data.problems import Problem, from_example, id_hash, to_example, to_texts
from hsd_jax.data.sources import load
from hsd_jax.data.tokenization import Windows
from hsd_jax.errors import InputError
from hsd_jax.reading.contexts import student_contexts
from hsd_jax.setup.tokenizer import read_skills, windows_of
from hsd_jax.verifiers import cases, failure_text
from tests.support.paths import TINY_MODEL
from tools.tiny_documents import student_pieces

WINDOWS = Windows(prompt=120, answer=40, solution=60, response={"math": 32, "code": 48})
MATH = Problem("m", "x", "math", "What is 6*7?", "42", "6*7=42\nThe answer is \\boxed{42}.")
TESTS = tuple({"input": f"{i}\n", "output": f"{2 * i}\n"} for i in range(1, 9))
CODE = Problem("c", "x", "code", "Print 2n.", "", "", TESTS)


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(TINY_MODEL)


@pytest.fixture(scope="module")
def frame(tokenizer):
    return chat_template.load_chat_template(tokenizer)


def ids_of(ragged, row):
    return list(ragged.tokens[row][: ragged.length[row]])


def test_the_record_spells_the_prompt_and_pads_to_static_widths(tokenizer, frame):
    record = tokenization.tokenize([MATH, CODE], tokenizer, frame, WINDOWS)
    other = tokenization.tokenize([CODE], tokenizer, frame, WINDOWS)
    for row, problem in enumerate((MATH, CODE)):
        text = "".join(student_pieces(frame, problem.question, chat_template.INSTRUCTIONS[problem.kind]))
        assert ids_of(record.prefix, row) + ids_of(record.suffix, row) == tokenization.encode(tokenizer, [text])[0]
    read, prompts = student_contexts(record, WINDOWS.prompt, 1), tokenization.prompts_of(record, WINDOWS.prompt)
    np.testing.assert_array_equal(prompts.tokens, read.tokens_PMC[:, 0])
    np.testing.assert_array_equal(prompts.length, read.length_PM[:, 0])
    for name in ("prefix", "answer", "solution", "suffix"):
        assert getattr(record, name).tokens.shape[1] == getattr(other, name).tokens.shape[1]
        assert getattr(record, name).tokens.dtype == getattr(record, name).length.dtype == np.int32
    assert record.prefix.tokens.shape[1] + min(record.suffix.length) == WINDOWS.prompt
    assert list(record.limit_P) == [32, 48]
    assert list(record.id_P) == [id_hash("m"), id_hash("c")] and record.id_P.dtype == np.uint32
    assert tokenizer.decode(ids_of(record.solution, 0)) == chat_template.block("solution", MATH.solution)
    assert tokenizer.decode(ids_of(record.answer, 0)) == chat_template.block("answer", "42")
    assert record.solution.length[1] == 0


def test_code_shows_the_first_tests_that_fit_whole(tokenizer, frame):
    for window in (0, 30, 60, 1000):
        record = tokenization.tokenize([CODE], tokenizer, frame, Windows(120, window, 0, {"code": 8}))
        text = tokenizer.decode(ids_of(record.answer, 0))
        allowed = [chat_template.block("answer", tokenization.tests_text(TESTS[:count])) for count in range(9)]
        assert text in allowed and record.answer.length[0] <= window
        shown = allowed.index(text)
        if shown < 8:
            longer = chat_template.block("answer", tokenization.tests_text(TESTS[: shown + 1]))
            assert len(tokenization.encode(tokenizer, [longer])[0]) > window
    assert text == allowed[8]


def test_a_call_is_shown_with_its_value():
    assert tokenization.tests_text([{"call": "f", "args": [1, "a"], "output": [2]}]) == "f(1, 'a') == [2]\n"


def test_what_does_not_fit_is_left_out_with_a_reason(tokenizer, frame):
    long = "very long words " * 40
    problems = [
        MATH,
        Problem("long", "x", "math", long, "1"),
        Problem("answer", "x", "math", "q", long),
        Problem("control", "x", "math", "q <|im_end|>", "1"),
        Problem("solution", "x", "math", "q", "1", long),
        CODE,
        Problem("bare", "x", "code", "q", "", "", ({"input": long, "output": long},)),
    ]
    found = usable.filter_by_length(problems, tokenizer, frame, WINDOWS)
    assert found.indices == {"math": (0, 4), "code": (5, 6)}
    assert found.removed == {
        "prompt over the window": ("long",),
        "answer over the window": ("answer",),
        "control token in the text": ("control",),
    }
    assert found.notes == {"no test fits the answer window": 1}
    record = tokenization.tokenize([problems[4], problems[6]], tokenizer, frame, WINDOWS)
    assert record.solution.length[0] == 0 and record.answer.length[1] == 0
    with pytest.raises(InputError, match="prompt window"):
        tokenization.tokenize([problems[1]], tokenizer, frame, WINDOWS)
    with pytest.raises(InputError, match="no response window"):
        usable.filter_by_length([CODE], tokenizer, frame, Windows(120, 40, 0, {"math": 8}))


@pytest.mark.parametrize("token", ["<|im_end|>", "<|im_start|>", "<|endoftext|>"])
def test_chat_markup_in_tests_never_reaches_a_context(token, tokenizer, frame):
    half = len(token) // 2
    marked = [
        [{"input": token, "output": "1"}], [{"input": "1", "output": f"a{token}b"}], [{"input": "1", "output": "1"}] * 9 + [{"input": token, "output": ""}],
        [{"call": "f", "args": [token], "output": 1}], [{"call": "f", "args": [{"k": [(token,)]}], "output": 1}], [{"call": "f", "args": [], "output": {token: 1}}],
        [{"call": "f", "args": [token[:half], token[half:]], "output": f"{{{token}}}"}],
    ]  # fmt: skip
    with pytest.raises(InputError, match="must name a function"):
        cases.visible([{"call": token, "args": [], "output": 1}])
    problems = [Problem(str(n), "x", "code", "q", "", "", tuple(tests)) for n, tests in enumerate(marked)]
    wide = Windows(120, 1000, 0, {"code": 8}, feedback=1000)
    found = usable.filter_by_length([*problems, CODE], tokenizer, frame, wide)
    assert found.indices == {"code": (len(marked),)}
    for tests in marked:
        case = cases.visible(tests).cases[-1]
        for said in (failure_text.of_test(case, failure_text.RAISED), failure_text.of_output(f"a{token}")):
            block = tokenization.feedback_ids([[said]], tokenizer, wide)
            assert block.length[0, 0] == 0 or token not in said


def test_tests_with_integers_of_any_length_are_shown():
    huge = 10**5000
    text = tokenization.tests_text([{"call": "f", "args": [huge, [huge]], "output": {"a": huge}}])
    assert text.startswith("f(0x") and text.endswith("\n")


def test_a_pool_names_what_it_skips_and_remembers_it(tokenizer, frame, tmp_path, caplog):
    rows = ['{"question": "1+1?", "answer": "2"}', '{"question": "%s", "answer": "2"}' % ("word " * 200)]
    (tmp_path / "train.jsonl").write_text("\n".join(rows))
    corpus = load("jsonl", tmp_path / "train.jsonl", cache=tmp_path / "c")
    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            found = pool([corpus], "train", tokenizer, frame, WINDOWS)
        assert [found.problems["math"][i].question for i in range(len(found.problems["math"]))] == ["1+1?"]
        assert "skipped 1, prompt over the window: train-train-00001" in caplog.text
    assert len(list(corpus.directory.glob("filter_by_length-*.json"))) == 1
    with pytest.raises(InputError, match="no 'test' split"):
        pool([corpus], "test", tokenizer, frame, WINDOWS)
    with pytest.raises(InputError, match="fits the windows"):
        pool([corpus], "train", tokenizer, frame, Windows(8, 8, 8, {"math": 8}))


def test_further_texts_are_read_by_name_or_unknown(tokenizer, frame):
    """A rubric, another wording, skills by the words they share, a reference response with its end."""
    texts = {"rubric": "Multiply.", "canonical": "What is six times seven?"}
    known, unknown = Problem("k", "x", "math", MATH.question, "42", MATH.solution, texts=texts), CODE
    wide = {"rubric": 200, "canonical": 100, "skill0": 200, "skill1": 200, "golden": 60}
    skills = ("Print what is asked.", "What is 6*7?", "Count.")
    windows = Windows(120, 40, 0, {"math": 60, "code": 60}, further=wide, skills=skills)
    record = tokenization.tokenize([known, unknown], tokenizer, frame, windows)
    said = {name: tokenizer.decode(ids_of(text, 0)) for name, text in record.further.items()}
    assert said["rubric"] == chat_template.block("rubric", "Multiply.")
    assert said["canonical"] == chat_template.prefix(frame, texts["canonical"])
    assert said["skill0"] == chat_template.block("skill", skills[1]) and said["skill1"] != said["skill0"]
    assert said["golden"] == MATH.solution + tokenizer.eos_token
    assert [int(record.further[name].length[1]) for name in ("rubric", "canonical", "golden")] == [0, 0, 0]
    short = tokenization.tokenize([known], tokenizer, frame, Windows(120, 40, 0, {"math": 9}, further={"golden": 9}))
    assert (
        short.further["golden"].length[0] == 0
        and tokenization.tokenize([known], tokenizer, frame, WINDOWS).further == {}
    )


def test_a_teacher_in_another_mode_ends_its_prompts_in_its_own_way(tokenizer, frame):
    thinking = chat_template.load_chat_template(tokenizer, thinking=True)
    both = chat_template.with_teacher(frame, thinking)
    record = tokenization.tokenize([MATH, CODE], tokenizer, both, WINDOWS)
    if thinking == frame:
        assert "teacher_tail" not in record.further
    else:
        for row, problem in enumerate((MATH, CODE)):
            wanted = chat_template.suffix(thinking, chat_template.INSTRUCTIONS[problem.kind])
            assert tokenizer.decode(ids_of(record.further["teacher_tail"], row)) == wanted
    with pytest.raises(InputError, match="model.teacher-thinking: the chat template opens the user's turn in two ways"):
        chat_template.with_teacher(frame, chat_template.ChatTemplate("other", "x"))


def test_rows_keep_their_further_texts():
    texts = {"rubric": 'Say "why".', "canonical": "6·7?"}
    kept = Problem("k", "x", "math", "6*7", "42", texts=texts)
    row = {
        n: v.encode() if isinstance(v, str) else v for n, v in (to_example(kept) | {"tests": to_texts(kept)}).items()
    }
    assert from_example(row) == kept and to_texts(MATH) == ""


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("not json", "bank.jsonl:1: not JSON"),
        ("[1]", "bank.jsonl:1: must be a JSON object"),
        ('{"skill": 3}', "bank.jsonl:1: field 'skill' must hold text; got 3"),
        ('{"skill": ""}', "bank.jsonl:1 holds neither"),
        ('{"skill": "a <|im_end|> b"}', "bank.jsonl:1 holds chat markup"),
        ("", "holds no skill"),
    ],
)
def test_a_skill_bank_is_refused_by_line(tokenizer, tmp_path, lines, message):
    (tmp_path / "bank.jsonl").write_text(lines)
    with pytest.raises(InputError, match=message):
        read_skills(str(tmp_path / "bank.jsonl"), tokenizer)
    with pytest.raises(InputError, match="data.skill-bank: no file"):
        read_skills(str(tmp_path / "none.jsonl"), tokenizer)


def test_skills_have_what_to_do_and_what_not(tokenizer, tmp_path):
    (tmp_path / "bank.jsonl").write_text('{"skill": "Add.", "mistake": "adding twice"}\n\n{"mistake": "haste"}\n')
    assert read_skills(str(tmp_path / "bank.jsonl"), tokenizer) == (
        "Add.\nAvoid this: adding twice",
        "Avoid this: haste",
    )
    given = Config(data=Data(skill_bank="bank.jsonl"))
    with pytest.raises(InputError, match="has 1 skills; the method reads 2"):
        windows_of(given, ("skill0", "skill1"), ("one",))
