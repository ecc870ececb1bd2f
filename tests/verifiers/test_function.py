"""A reward function of the user's own: what it may return, and what becomes of one that misbehaves."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hsd_jax.config import Verifier
from hsd_jax.data.problems import Problem
from hsd_jax.errors import InputError
from hsd_jax.rollout.feedback import of_rollout
from hsd_jax.rollout.graders import open_graders, submit_in_training
from hsd_jax.types import Verdict
from hsd_jax.verifiers import function as own

REWARDS = """
import json, os, sys, time
from hsd_jax.types import Verdict

def judge(question, response, record):
    print("to nobody"); print("nor here", file=sys.stderr); os.write(1, b'{"id": 0, "verdict": {"reward": 1}}\\n')
    if response == "raise": raise ValueError("no\\nnumber")
    if response == "hang": time.sleep(60)
    if response == "exit": sys.exit(3)
    if response == "leave": os._exit(3)
    if response == "fork": os.fork()
    if response == "nan": return float("nan")
    if response == "much": return 1.5
    if response == "text": return "1"
    if response == "none": return None
    if response == "reason": return Verdict(1.0, "fine")
    if response == "full": return Verdict(0.25, "wrong", "x", "It is dull.")
    if response == "record": return Verdict(1.0, "correct", json.dumps([question, sorted(record), os.getcwd()]))
    if response == "yes": return True
    return len(response) / 10
"""
PROBLEM = Problem("q-1", "mine", "math", "Why?", "42", hidden=({"input": "", "output": "secret"},))


@pytest.fixture(scope="module")
def submit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("package")
    (folder / "mine").mkdir()
    (folder / "mine" / "rewards.py").write_text(REWARDS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        settings = Verifier(function="mine.rewards:judge", seconds=2.0, workers=1)
        with open_graders(settings, programs=True) as graders:
            assert graders.tier == "not probed", "no program is run"
            ask = submit_in_training(graders, settings)
            yield lambda response: ask(PROBLEM, response, True).result()


@pytest.mark.parametrize(
    ("response", "verdict"),
    [
        ("12345678", Verdict(0.8, "correct")),
        ("12345", Verdict(0.5, "wrong")),
        ("yes", Verdict(1.0, "correct")),
        ("full", Verdict(0.25, "wrong", "x", "It is dull.")),
        ("fork", Verdict(0.4, "wrong")),
    ],
)
def test_numbers_and_verdicts_are_taken_as_they_are(submit: Any, response: str, verdict: Verdict) -> None:
    assert submit(response) == verdict


def test_the_function_reads_the_row_but_for_hidden_tests_where_the_command_runs(submit: Any) -> None:
    said = submit("record").extracted
    assert "Why?" in said and '"answer"' in said and '"visible"' in said and "hidden" not in said
    assert str(Path.cwd()) in said


@pytest.mark.parametrize(
    ("response", "reason", "said"),
    [
        ("raise", "crash", "ValueError: no number"),
        ("exit", "crash", "SystemExit: 3"),
        ("leave", "crash", "it ended its process"),
        ("hang", "timeout", "no answer within 2 s"),
        ("nan", "crash", "it returned nan; allowed are a number from 0 to 1"),
        ("much", "crash", "it returned 1.5"),
        ("text", "crash", "it returned '1'"),
        ("none", "crash", "it returned None"),
        ("reason", "crash", "reason='fine'"),
    ],
)
def test_what_goes_wrong_is_counted_and_named_once(
    submit: Any, caplog: pytest.LogCaptureFixture, response: str, reason: str, said: str
) -> None:
    with caplog.at_level(logging.WARNING):
        assert [submit(response) for _ in range(2)] == [Verdict(0.0, reason)] * 2  # type: ignore[arg-type]
    (line,) = [record.getMessage() for record in caplog.records]
    assert said in line and "mine.rewards:judge on q-1" in line and "\n" not in line
    assert submit("yes").reward == 1, "the next response is judged"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("rewards", "package.module:function"),
        ("rewards:a b", "package.module:function"),
        ("no_such_module:f", "ModuleNotFoundError"),
        ("math:no_such_function", "AttributeError"),
        ("math:pi", "is a float and no function"),
    ],
)
def test_a_function_that_cannot_be_used_is_refused_in_one_line(name: str, said: str) -> None:
    with pytest.raises(InputError, match="verifier.function") as refused:
        own.start(name, 1.0)
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_a_teacher_is_told_what_the_function_says() -> None:
    assert of_rollout("math", Verdict(0.2, "wrong", None, "It is dull."), finished=True) == "It is dull."
    assert of_rollout("math", Verdict(0.2, "wrong"), finished=True) == "It is not right."
    assert of_rollout("math", Verdict(0.2, "wrong", "7"), finished=True) == "Its final answer 7 is wrong."
