"""The tiny model's problems: right answers, disjoint splits, and texts whose pieces tokenize like the whole."""

import re

import numpy as np
import pytest
from transformers import AutoTokenizer

from hsd_jax.data import chat_template, tiny
from tests.support.paths import TINY_MODEL
from tools.tiny_documents import student_pieces, teacher_pieces


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(TINY_MODEL)


@pytest.fixture(scope="module")
def frame(tokenizer):
    return chat_template.load_chat_template(tokenizer)


def evaluated_by_eval(expression: str) -> int:
    """Left to right modulo 10, by parenthesizing the text and letting Python's parser do the arithmetic."""
    numbers = re.split(r"([-+*])", expression)
    text = numbers[0]
    for operator, number in zip(numbers[1::2], numbers[2::2], strict=True):
        text = f"(({text}){operator}{number})"
    return eval(text) % 10


def test_answers_and_every_written_step_are_right():
    for problem in tiny.generate(300, split="train", seed=1):
        expression = problem.question.rsplit(" ", 1)[1]
        assert problem.answer == str(evaluated_by_eval(expression))
        *lines, last = problem.solution.split("\n")
        assert last == f"The answer is \\boxed{{{problem.answer}}}."
        assert all(evaluated_by_eval(left) == int(right) for left, right in (line.split("=") for line in lines))
        assert lines[0].startswith(expression[:3]) and len(lines) == (len(expression) - 1) // 2


def test_a_slip_is_carried_on_and_changes_the_answer():
    rng = np.random.default_rng(0)
    for _ in range(200):
        chain = tiny.random_chain(rng)
        steps = len(chain.operators)
        at, error = int(rng.integers(steps)), int(rng.integers(1, 10))
        wrong = tiny.results(chain, tuple(error if i == at else 0 for i in range(steps)))
        right = tiny.results(chain)
        assert wrong[:at] == right[:at] and all(w != r for w, r in zip(wrong[at:], right[at:], strict=True))


def test_splits_are_disjoint_and_repeatable():
    train = {p.question for p in tiny.generate(4000, split="train", seed=0, operations=(3, 4))}
    held_out = {p.question for p in tiny.generate(300, split="heldout", seed=5, operations=(3, 4))}
    assert len(train) == 4000 and len(held_out) == 300 and not train & held_out
    again = {p.question for p in tiny.generate(4000, split="train", seed=0, operations=(3, 4))}
    assert train == again


def test_operations_range_is_respected():
    counts = {p.solution.count("\n") for p in tiny.generate(200, split="train", seed=0, operations=(3, 6))}
    assert counts == {3, 4, 5, 6}


@pytest.mark.parametrize(("split", "operations"), [("test", (5, 8)), ("train", (6, 5)), ("train", (1, 2))])
def test_bad_arguments_are_refused(split, operations):
    with pytest.raises(ValueError, match="must be"):
        next(tiny.generate(1, split=split, seed=0, operations=operations))


def test_digits_and_operators_are_single_tokens(tokenizer):
    problem = next(tiny.generate(1, split="train", seed=0))
    expression = problem.question.rsplit(" ", 1)[1]
    assert len(tokenizer.encode(expression)) == len(expression)
    steps = problem.solution[: problem.solution.index("The")]
    assert len(tokenizer.encode(steps)) == len(steps)


def test_the_ids_of_the_pieces_are_the_ids_of_the_whole(tokenizer, frame):
    for problem in tiny.generate(50, split="train", seed=2):
        for task in chat_template.INSTRUCTIONS.values():
            whole_pieces = (
                student_pieces(frame, problem.question, task),
                teacher_pieces(frame, problem.question, task, answer=problem.answer, feedback="It is 7."),
                (
                    chat_template.prefix(frame, problem.question),
                    chat_template.block("solution", problem.solution),
                    chat_template.PEER_OPEN,
                ),
                (chat_template.PEER_CLOSE, chat_template.CLOSING, chat_template.suffix(frame, task)),
            )
            for pieces in whole_pieces:
                apart = [i for piece in pieces for i in tokenizer.encode(piece, add_special_tokens=False)]
                assert apart == tokenizer.encode("".join(pieces), add_special_tokens=False)


def test_student_and_teacher_share_the_generation_prompt(tokenizer, frame):
    question, task = "How many?", chat_template.INSTRUCTIONS["math"]
    student = "".join(student_pieces(frame, question, task))
    teacher = "".join(teacher_pieces(frame, question, task, answer="4", peer="2+2=4"))
    generation = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    assert student.endswith(task + generation) and teacher.endswith(task + generation)
    for text in (student, teacher):
        user = text.removeprefix(frame.opening).removesuffix(frame.closing)
        rendered = tokenizer.apply_chat_template(
            [{"role": "user", "content": user}], tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        assert rendered == text


def test_unknown_answers_and_solutions_leave_no_block():
    assert not any(chat_template.block(name, " ") for name in chat_template.BLOCK_LINES)
