"""What a rollout's end says about its answer: one that was cut at its cap commits to what it has boxed, and no more."""

from typing import Any

import numpy as np
import pytest

from hsd_jax.data.problems import Problem
from hsd_jax.rollout.grading import start_grading, submit_to
from hsd_jax.rollout.test_suites import submit_all_tests
from hsd_jax.types import Rollouts, Verdict
from hsd_jax.verifiers import pool

STOP = 0
PROBLEM = Problem(id="q-1", source="here", kind="math", question="3*4-7?", answer="12")


class Tokenizer:
    """One character a token."""

    def decode(self, ids: list[int], **_: Any) -> str:
        return "".join(map(chr, ids))


def verdict(response: str, finished: bool, submit: Any) -> Verdict:
    tokens = [ord(letter) for letter in response] + [STOP] * finished
    pending = start_grading([PROBLEM], submit, Tokenizer(), [STOP])
    pending.submit_rollout(0, 0, np.array(tokens))
    lengths_PG = np.array([[len(tokens)]], np.int32)
    rollouts = Rollouts(np.array([[tokens]]), lengths_PG, np.array([[finished]]), np.zeros((1, 1, len(tokens))))
    graded = pending.collect(rollouts)
    assert graded.texts == [[response]], "the log shows the response as it is"
    return graded.verdicts[0][0]


@pytest.fixture(scope="module", params=["training", "evaluation"])
def submit(request: pytest.FixtureRequest) -> Any:
    with pool.start(workers=1) as graders:
        yield submit_to(graders, lambda _: None) if request.param == "training" else submit_all_tests(graders)


@pytest.mark.parametrize(
    "response",
    [
        "3*4=12\n",  # an intermediate result
        "3*4-7 = 12",  # half of 125
        "The answer is 12",
        "#### 12",
        "12",
        r"so \boxed{12",
        r"\boxed{12}, but that is not all: \boxed{5",
        r"<think>\boxed{12}",
    ],
)
def test_a_cut_response_without_a_closed_box_has_no_answer(response: str, submit: Any) -> None:
    assert verdict(response, False, submit) == Verdict(0.0, "no_answer", None)


@pytest.mark.parametrize("response", [r"so \boxed{12} and", r"\boxed{7}. No, a slip. \boxed{12}"])
def test_a_cut_response_commits_to_its_last_closed_box(response: str, submit: Any) -> None:
    assert verdict(response, False, submit).reason == "correct"


@pytest.mark.parametrize("response", ["3*4=12\n", "The answer is 12", "#### 12", r"\boxed{12}"])
def test_a_finished_response_is_read_whole(response: str, submit: Any) -> None:
    assert verdict(response, True, submit).reason == "correct"
