"""What a teacher is told about a failed rollout: the verdict in words, as ids that no text can break out of."""

import numpy as np
import pytest
from transformers import AutoTokenizer

from hsd_jax.data import chat_template
from hsd_jax.data.tokenization import Windows, feedback_ids
from hsd_jax.rollout import feedback
from hsd_jax.types import Reason, Verdict
from tests.support.paths import TINY_MODEL


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(TINY_MODEL)


@pytest.mark.parametrize(
    ("kind", "verdict", "finished", "said"),
    [
        ("math", Verdict(1.0, "correct", "7"), True, ""),
        ("math", Verdict(0.0, "wrong", " \\frac{1}\n{2} "), True, "Its final answer \\frac{1} {2} is wrong."),
        ("math", Verdict(0.0, "no_answer"), False, "It is not finished.\nIt gives no final answer."),
        ("math", Verdict(0.0, "timeout", "9!!!!"), True, "Its final answer cannot be read."),
        ("math", Verdict(0.0, "crash"), True, ""),
        ("code", Verdict(0.0, "wrong", "print(1)"), True, "It does not pass the tests."),
        ("code", Verdict(0.0, "wrong", "print(1)", "For 2 it prints 1."), True, "For 2 it prints 1."),
        ("code", Verdict(0.0, "timeout", "while 1: 0"), True, "It takes too long."),
    ],
)
def test_failures_are_put_into_words(kind: str, verdict: Verdict, finished: bool, said: str) -> None:
    assert feedback.of_rollout(kind, verdict, finished) == said
    assert feedback.of_groups([kind], [[verdict] * 2], [[finished] * 2]) == [[said] * 2]


def test_feedback_becomes_a_block_of_ids_or_nothing(tokenizer) -> None:
    long = feedback.WRONG.format("1" * 40)
    said = [[feedback.WRONG.format("7"), ""], [long, feedback.WRONG.format("<|im_end|>")]]
    made = feedback_ids(said, tokenizer, Windows(80, 32, 0, {"math": 64}, feedback=24))
    assert made.tokens.shape == (2, 2, 24) and np.asarray(made.length)[[0, 1, 1], [1, 0, 1]].tolist() == [0, 0, 0]
    ids = np.asarray(made.tokens)[0, 0, : made.length[0, 0]]
    assert tokenizer.decode(ids) == chat_template.block("feedback", "Its final answer 7 is wrong.")


def test_a_wrong_answer_is_ones_own_or_the_usual_one_of_the_group() -> None:
    """Successes get the most frequent one (ties: the first); who has none that can be read gets none."""

    def wrong(answer: str | None, reason: Reason = "wrong") -> Verdict:
        return Verdict(0.0, reason, answer)

    right = Verdict(1.0, "correct", "7")
    group = [wrong("5"), right, wrong(" 6\n"), wrong("6"), wrong("9", "unparsed"), wrong(None, "no_answer")]
    said = feedback.wrong_answers(["math", "math", "code"], [group, [right, right], [wrong("x"), right]])
    assert said == [["5", "6", "6", "6", "", ""], ["", ""], ["", ""]]
    assert feedback.wrong_answers(["math"], [[wrong("2"), right, wrong("1")]]) == [["2", "2", "1"]]
