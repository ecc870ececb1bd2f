r"""Which questions can be trained on: those that fit their windows, hold no chat markup, and can be answered.

Some reference answers no response can ever match: every rollout of such a question would be unpaid, for no reason.
They are mostly accidents of files: a number that is none (NaN), a LaTeX command whose single backslash JSON read as a
control character ("\frac" became a form feed and "rac"), a brace that never closes, a text longer than what the
verifier reads of an answer.
"""

import hashlib
import json
import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hsd_jax.data import chat_template
from hsd_jax.data.batches import Corpus, ProblemSource
from hsd_jax.data.chat_template import ChatTemplate
from hsd_jax.data.markup import Markup, holds_markup, markup_of
from hsd_jax.data.problems import Problem
from hsd_jax.data.readers.common import LOST_BACKSLASH
from hsd_jax.data.tokenization import Windows, answer_ids, encode, tails
from hsd_jax.errors import InputError, printable
from hsd_jax.runtime import files
from hsd_jax.verifiers import math
from hsd_jax.verifiers.equivalence.extraction import extract
from hsd_jax.verifiers.equivalence.tables import LONGEST_ANSWER

LOG = logging.getLogger(__name__)
SCAN_BATCH = 512
NAMES_LOGGED = 20
USABLE_VERSION = 4  # goes up when `filter_by_length` decides otherwise
NO_NUMBERS = {"nan", "inf"}
_PLAIN = re.compile(r"-?\d{1,99}(?:\.\d{1,99})?")  # most answers; the rest of the tests costs half a millisecond


@dataclass(frozen=True)
class LengthFilter:
    """Row numbers of the problems that can be trained on, per kind, and what became of the others.

    `removed` maps a reason to question ids; `notes` counts pieces that are left out of problems that stay.
    """

    indices: Mapping[str, tuple[int, ...]]
    removed: Mapping[str, tuple[str, ...]]
    notes: Mapping[str, int]


def unmatched(answer: str) -> str:
    """Why no response can match a reference answer, "" if one can."""
    if _PLAIN.fullmatch(answer):
        return ""
    final = answer.rpartition("####")[2].strip(" \n$.,;")
    if final.lower().lstrip("+-") in NO_NUMBERS:
        return "answer is no number (nan, inf)"
    if LOST_BACKSLASH.search(answer):
        return "answer holds a control character (a backslash was lost)"
    if len(final) > LONGEST_ANSWER and "\\boxed" not in final:
        return f"answer over the {LONGEST_ANSWER} characters that are read"
    gold = math.reference(answer)
    if gold is None or not final:
        return "answer holds nothing to compare"
    boxed = f"\\boxed{{{gold.text}}}"
    if extract(boxed) is None:
        return "answer cannot stand in a box (an unclosed brace)"
    verdict = math.grade_easy(boxed, answer)
    return "answer does not equal itself" if verdict is not None and verdict.reward < 1 else ""


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
    if holds_markup(markup, problem.question, problem.answer, problem.solution, tests, *problem.texts.values()):
        return "control token in the text"
    return unmatched(problem.answer) if problem.kind == "math" else ""


def _frozen(
    indices: Mapping[str, list[int]], removed: Mapping[str, list[str]], notes: Mapping[str, int]
) -> LengthFilter:
    return LengthFilter(
        {kind: tuple(rows) for kind, rows in indices.items() if rows},
        {reason: tuple(ids) for reason, ids in removed.items()},
        {note: count for note, count in notes.items() if count},
    )


def usable_cached(corpus: Corpus, split: str, tokenizer: Any, frame: ChatTemplate, windows: Windows) -> LengthFilter:
    """`filter_by_length` of a corpus split, cached next to it under a hash of the tokenizer, template and windows."""
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
