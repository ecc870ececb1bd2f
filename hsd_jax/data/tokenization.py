"""Problems as token ids: the pieces of prompts and contexts, and the `Problems` record of one step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import jax
import numpy as np

from hsd_jax.data import chat_template
from hsd_jax.data.chat_template import ChatTemplate
from hsd_jax.data.markup import holds_markup, markup_of
from hsd_jax.data.problems import Problem, Test, id_hash
from hsd_jax.errors import InputError
from hsd_jax.reading.contexts import FixedTexts
from hsd_jax.types import Padded, Problems
from hsd_jax.verifiers import failure_text


@dataclass(frozen=True)
class Windows:
    """Static widths in tokens: `prompt` holds head and tail, `response` is the limit per kind of problem.

    `solution` 0 leaves reference solutions out, `feedback` 0 what verifiers say. A code problem's answer block holds
    the visible tests that fit whole into `answer`. `further` has the texts that a method reads besides, by name
    (`methods.further_texts`), `skills` the bank of those that are found for a question.
    """

    prompt: int
    answer: int
    solution: int
    response: Mapping[str, int]
    feedback: int = 0
    further: Mapping[str, int] = field(default_factory=dict)
    skills: tuple[str, ...] = ()


@dataclass(frozen=True)
class Tokenization:
    """How text becomes ids: tokenizer, chat frame, fixed pieces, windows, the ids that end a response or pad it.

    A response that holds one of `control_ids` before its end is shown to no teacher.
    """

    tokenizer: Any
    chat: ChatTemplate
    frame: FixedTexts
    windows: Windows
    stop_ids: tuple[int, ...]
    pad_id: int
    control_ids: tuple[int, ...] = ()


def tests_text(tests: Sequence[Test]) -> str:
    """Tests as a reader sees them: input and output, or a call and its value."""
    return "".join(_test_text(test) for test in tests)


def _test_text(test: Test) -> str:
    if "input" in test:
        return f"Input:\n{test['input'].rstrip()}\nOutput:\n{test['output'].rstrip()}\n"
    return f"{failure_text.call(test['call'], test['args'])} == {failure_text.shown(test['output'])}\n"


def encode(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """The ids of each text, with nothing added before or after."""
    if not texts:
        return []
    # verbose: a text longer than the model's context is no mistake here, it is counted and left out
    return tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"]


def answer_ids(problems: Sequence[Problem], tokenizer: Any, window: int) -> list[list[int]]:
    """The ids of each answer block; for code, of as many visible tests as fit whole, from the first on."""
    blocks = encode(tokenizer, [chat_template.block("answer", p.answer if p.kind == "math" else "") for p in problems])
    pairs = zip(problems, blocks, strict=True)
    return [ids if p.kind == "math" else _tests_ids(p.visible, tokenizer, window) for p, ids in pairs]


def _tests_ids(tests: Sequence[Test], tokenizer: Any, window: int) -> list[int]:
    lengths = np.cumsum([len(ids) for ids in encode(tokenizer, [_test_text(test) for test in tests])])
    count = int(np.searchsorted(lengths, window, side="right"))
    while count:
        ids = encode(tokenizer, [chat_template.block("answer", tests_text(tests[:count]))])[0]
        if len(ids) <= window:
            return ids
        count -= 1
    return []


def tails(tokenizer: Any, frame: ChatTemplate, kinds: Sequence[str]) -> dict[str, list[int]]:
    """The ids of the tail of each kind of problem: its instruction, the generation prompt."""
    texts = [chat_template.suffix(frame, chat_template.INSTRUCTIONS[kind]) for kind in kinds]
    return dict(zip(kinds, encode(tokenizer, texts), strict=True))


def tokenize(problems: Sequence[Problem], tokenizer: Any, frame: ChatTemplate, windows: Windows) -> Problems:
    """The record of one step's problems, as NumPy arrays right-padded to static widths.

    The head is as wide as the prompt window less the shortest tail. A solution over its window counts as unknown. There
    is no feedback yet (`feedback_ids`).
    Raises: InputError for a problem that `filter_by_length` would have removed.
    """
    tail_ids = tails(tokenizer, frame, tuple(windows.response))
    shortest, longest = min(map(len, tail_ids.values())), max(map(len, tail_ids.values()))
    heads = encode(tokenizer, [chat_template.prefix(frame, problem.question) for problem in problems])
    answers = answer_ids(problems, tokenizer, windows.answer)
    solutions = encode(tokenizer, [chat_template.block("solution", problem.solution) for problem in problems])
    shown = [ids if len(ids) <= windows.solution else [] for ids in solutions]
    return Problems(
        id_P=cast(jax.Array, np.array([id_hash(problem.id) for problem in problems], np.uint32)),
        prefix=pad(heads, windows.prompt - shortest, "prompt"),
        answer=pad(answers, windows.answer, "answer"),
        solution=pad(shown, windows.solution, "solution"),
        feedback=pad_groups([[] for _ in problems], 0, "feedback"),
        wrong_answer=pad_groups([[] for _ in problems], 0, "wrong answer"),
        suffix=pad([tail_ids[problem.kind] for problem in problems], longest, "tail"),
        limit_P=cast(jax.Array, np.array([windows.response[problem.kind] for problem in problems], np.int32)),
        further=further_ids(problems, tokenizer, frame, windows),
    )


def further_ids(
    problems: Sequence[Problem], tokenizer: Any, frame: ChatTemplate, windows: Windows
) -> dict[str, Padded]:
    """What a method reads besides, by name; a text over its window counts as unknown."""
    found: dict[str, Padded] = {}
    for name, width in windows.further.items():
        rows = encode(tokenizer, [further_text(name, problem, frame, windows.skills) for problem in problems])
        end = [tokenizer.eos_token_id] if name == "golden" else []
        rows = [ids + end if ids else [] for ids in rows]
        found[name] = pad([ids if len(ids) <= width else [] for ids in rows], width, name)
    if frame.teacher_closing:
        own = tails(tokenizer, replace(frame, closing=frame.teacher_closing), tuple(windows.response))
        rows = [own[problem.kind] for problem in problems]
        found["teacher_tail"] = pad(rows, max(map(len, own.values())), "teacher's tail")
    return found


def further_text(name: str, problem: Problem, frame: ChatTemplate, skills: Sequence[str]) -> str:
    """A text that a method reads besides, as it stands in a prompt; "golden" is a response. Empty where unknown."""
    if name == "golden":
        return problem.solution.strip()
    if name == "canonical":
        canonical = problem.texts.get(name, "")
        return chat_template.prefix(frame, canonical) if canonical else ""
    if name.startswith("skill"):
        return chat_template.block("skill", nearest_skill(problem, skills, int(name.removeprefix("skill"))))
    return chat_template.block(name, problem.texts.get(name, ""))


def nearest_skill(problem: Problem, skills: Sequence[str], place: int) -> str:
    """The skill at this place when they are ranked by the words they share with the question; ties by the question."""
    words = set(problem.question.lower().split())

    def rank(number: int) -> tuple[int, int]:
        return -len(words & set(skills[number].lower().split())), id_hash(f"{problem.id} {number}")

    return skills[sorted(range(len(skills)), key=rank)[place]] if place < len(skills) else ""


def prompts_of(problems: Problems, window: int) -> Padded:
    """The student's prompts, as NumPy arrays: those of `contexts.student_contexts`, where the sampler needs them."""
    pieces = [
        [tokens[:n].tolist() for tokens, n in zip(piece.tokens, piece.length, strict=True)]
        for piece in (problems.prefix, problems.suffix)
    ]
    return pad([prefix + suffix for prefix, suffix in zip(*pieces, strict=True)], window, "prompt")


def feedback_ids(said: Sequence[Sequence[str]], tokenizer: Any, windows: Windows) -> Padded:
    """The feedback block of every rollout [P, G], as NumPy arrays.

    It quotes what a model wrote: one with chat markup, which would end the user turn, counts as unknown, as does one
    over the window.
    """
    return _written_ids(said, tokenizer, "feedback", windows.feedback, "feedback")


def wrong_answer_ids(wrong: Sequence[Sequence[str]], tokenizer: Any, windows: Windows) -> Padded:
    """A wrong answer for every rollout [P, G] in the answer's own words, as `feedback_ids` has feedback."""
    return _written_ids(wrong, tokenizer, "answer", windows.answer, "wrong answer")


def _written_ids(groups: Sequence[Sequence[str]], tokenizer: Any, block: str, width: int, name: str) -> Padded:
    markup = markup_of(tokenizer)

    def shown(texts: Sequence[str]) -> list[list[int]]:
        plain = ["" if holds_markup(markup, text) else text for text in texts]
        blocks = encode(tokenizer, [chat_template.block(block, text) for text in plain])
        return [ids if len(ids) <= width else [] for ids in blocks]

    return pad_groups([shown(texts) for texts in groups], width, name)


def pad_groups(groups: Sequence[Sequence[Sequence[int]]], width: int, name: str) -> Padded:
    """`pad` for groups of equal size: tokens [P, G, width], length [P, G]."""
    rows = pad([ids for group in groups for ids in group], width, name)
    shape = (len(groups), len(groups[0]) if groups else 0)
    return Padded(rows.tokens.reshape(*shape, width), rows.length.reshape(shape))


def pad(sequences: Sequence[Sequence[int]], width: int, name: str) -> Padded:
    """Ids in one window, padded on the right with 0; raises InputError if one is longer than the window."""
    length = np.array([len(ids) for ids in sequences], np.int32)
    if length.size and length.max() > width:
        raise InputError(f"the {name} window holds {width} tokens; one needs {length.max()}")
    tokens = np.zeros((len(sequences), width), np.int32)
    for row, ids in zip(tokens, sequences, strict=True):
        row[: len(ids)] = ids
    return Padded(cast(jax.Array, tokens), cast(jax.Array, length))
