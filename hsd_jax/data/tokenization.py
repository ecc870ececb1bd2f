"""Problems as token ids: which of them fit the windows, and the `Problems` record of one step."""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import jax
import numpy as np

from hsd_jax.data import chat_template, golds
from hsd_jax.data.batches import ProblemSource
from hsd_jax.data.chat_template import ChatTemplate
from hsd_jax.data.markup import Markup, holds_markup, markup_of
from hsd_jax.data.problems import Problem, Test, id_hash
from hsd_jax.data.sources import Corpus
from hsd_jax.errors import InputError, printable
from hsd_jax.reading.contexts import FixedTexts
from hsd_jax.runtime import files
from hsd_jax.types import Padded, Problems
from hsd_jax.verifiers import failure_text

LOG = logging.getLogger(__name__)
SCAN_BATCH = 512
NAMES_LOGGED = 20
USABLE_VERSION = 3  # goes up when `filter_by_length` decides otherwise


@dataclass(frozen=True)
class Windows:
    """Static widths in tokens: `prompt` holds head and tail, `response` is the limit per kind of problem.

    `solution` 0 leaves reference solutions out, `feedback` 0 what verifiers say. A code problem's answer block holds
    the visible tests that fit whole into `answer`.
    """

    prompt: int
    answer: int
    solution: int
    response: Mapping[str, int]
    feedback: int = 0


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


@dataclass(frozen=True)
class LengthFilter:
    """Row numbers of the problems that can be trained on, per kind, and what became of the others.

    `removed` maps a reason to question ids; `notes` counts pieces that are left out of problems that stay.
    """

    indices: Mapping[str, tuple[int, ...]]
    removed: Mapping[str, tuple[str, ...]]
    notes: Mapping[str, int]


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


def filter_by_length(problems: ProblemSource, tokenizer: Any, frame: ChatTemplate, windows: Windows) -> LengthFilter:
    """Which problems fit the windows; the same on every process, since it depends on nothing else.

    Removed are prompts and mathematical answers over their window (neither may ever be cut), answers that no response
    can match, and rows that hold chat markup anywhere, which would end the user turn.
    """
    tail_ids = tails(tokenizer, frame, tuple(windows.response))
    markup = markup_of(tokenizer)
    indices: dict[str, list[int]] = {kind: [] for kind in windows.response}
    removed: dict[str, list[str]] = {}
    notes: Counter[str] = Counter()
    for index, problem, head, answer in _pieces(problems, tokenizer, frame, windows):
        if problem.kind not in tail_ids:
            raise InputError(f"no response window is set for {problem.kind!r} problems ({problem.id})")
        reason = _reason(problem, head + len(tail_ids[problem.kind]), answer, markup, windows)
        if reason:
            removed.setdefault(reason, []).append(problem.id)
            continue
        indices[problem.kind].append(index)
        notes["no test fits the answer window"] += problem.kind == "code" and not answer
    return _frozen(indices, removed, notes)


def _pieces(
    problems: ProblemSource, tokenizer: Any, frame: ChatTemplate, windows: Windows
) -> Iterator[tuple[int, Problem, int, int]]:
    # Index, problem, tokens of its head, tokens of its answer block.
    for start in range(0, len(problems), SCAN_BATCH):
        chunk = [problems[i] for i in range(start, min(start + SCAN_BATCH, len(problems)))]
        heads = encode(tokenizer, [chat_template.prefix(frame, problem.question) for problem in chunk])
        answers = answer_ids(chunk, tokenizer, windows.answer)
        for offset, problem in enumerate(chunk):
            yield start + offset, problem, len(heads[offset]), len(answers[offset])


def _reason(problem: Problem, prompt: int, answer: int, markup: Markup, windows: Windows) -> str:
    if prompt > windows.prompt:
        return "prompt over the window"
    if answer > windows.answer:
        return "answer over the window"
    tests = (problem.visible, problem.hidden)
    if holds_markup(markup, problem.question, problem.answer, problem.solution, tests):
        return "control token in the text"
    return golds.unmatched(problem.answer) if problem.kind == "math" else ""


def _frozen(
    indices: Mapping[str, list[int]], removed: Mapping[str, list[str]], notes: Mapping[str, int]
) -> LengthFilter:
    return LengthFilter(
        {kind: tuple(rows) for kind, rows in indices.items() if rows},
        {reason: tuple(ids) for reason, ids in removed.items()},
        {note: count for note, count in notes.items() if count},
    )


def usable_cached(corpus: Corpus, split: str, tokenizer: Any, frame: ChatTemplate, windows: Windows) -> LengthFilter:
    """`filter_by_length` of a corpus split, cached beside it under a hash of the tokenizer, template and windows."""
    settings = json.dumps([USABLE_VERSION, split, asdict(frame), asdict(windows), chat_template.INSTRUCTIONS])
    vocabulary = tokenizer.backend_tokenizer.to_str()
    name = hashlib.blake2b((settings + vocabulary).encode(), digest_size=8).hexdigest()
    rows = corpus.splits[split]

    def read(content: bytes) -> LengthFilter:
        found = _frozen(**json.loads(content))
        lists = [np.array(numbers, np.int64) for numbers in found.indices.values()]
        if not all(((0 <= numbers) & (numbers < len(rows))).all() for numbers in lists):
            raise ValueError("rows that are not there")
        return found

    return files.kept(
        corpus.directory / f"filter_by_length-{name}.json",
        lambda: filter_by_length(rows, tokenizer, frame, windows),
        read,
        lambda found: json.dumps(asdict(found)).encode(),
    )


def log_removed(found: LengthFilter, source: str) -> None:
    """Names what was left out, one warning per reason."""
    for reason, ids in found.removed.items():
        more = f" and {len(ids) - NAMES_LOGGED} more" if len(ids) > NAMES_LOGGED else ""
        LOG.warning(
            "%s: skipped %d, %s: %s%s", source, len(ids), reason, printable(", ".join(ids[:NAMES_LOGGED])), more
        )
    for note, count in found.notes.items():
        LOG.warning("%s: %d problems: %s", source, count, note)


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
    )


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
