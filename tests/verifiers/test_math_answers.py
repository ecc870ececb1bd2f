"""The tables of answers by kind: no wrong or uncommitted one is paid, no right one is lost."""

from collections import Counter

import pytest

from hsd_jax.verifiers import math
from tests.support.answers_math import RIGHT, RIGHT_RESPONSES, WRONG, WRONG_RESPONSES, pairs


def paid(gold: str, given: str) -> bool:
    return math.grade(rf"So we get $\boxed{{{given}}}$.", gold).reward == 1.0


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_answers_are_not_paid(kind: str) -> None:
    assert [(gold, given) for name, gold, given in pairs(WRONG) if name == kind and paid(gold, given)] == []


@pytest.mark.parametrize("kind", RIGHT)
def test_right_answers_are_paid(kind: str) -> None:
    assert [(gold, given) for name, gold, given in pairs(RIGHT) if name == kind and not paid(gold, given)] == []


def test_the_tables_are_large() -> None:
    assert len(pairs(WRONG)) >= 150 and len(pairs(RIGHT)) >= 150
    assert min(Counter(kind for kind, _, _ in pairs(WRONG)).values()) >= 25


@pytest.mark.parametrize(("gold", "response"), RIGHT_RESPONSES)
def test_what_a_response_says_is_found(gold: str, response: str) -> None:
    assert math.grade(response, gold).reason == "correct"


@pytest.mark.parametrize(("gold", "response"), WRONG_RESPONSES)
def test_what_a_response_does_not_say_is_not_paid(gold: str, response: str) -> None:
    assert math.grade(response, gold).reward == 0.0


def test_unknown_words_are_the_reason() -> None:
    for given in ("7 dozen", "7 squared", r"7 \text{ fails}", r"\text{at least } 7"):
        assert math.grade(rf"\boxed{{{given}}}", "7").reason == "unknown words"
