"""Grades an answer to a mathematics question against the reference answer.

Order of decisions: the answer a response commits to (`extraction`), one spelling (`tokens`), a tree (`grammar`),
numbers written out and the parts of lists and tuples (`equality`, in this process, microseconds), and only then algebra
in a worker process that is killed at the limit. What counts as an answer, `policy` decides from the reference.
"""

import functools
import itertools
import time
from typing import NamedTuple

from hsd_jax.types import REASONS as REASONS
from hsd_jax.types import Reason, Verdict
from hsd_jax.verifiers.equivalence import equality, grammar, wording, worker_pool, worker_process
from hsd_jax.verifiers.equivalence.extraction import Extracted, answer_of, closes_a_box
from hsd_jax.verifiers.equivalence.tables import LONGEST_ANSWER
from hsd_jax.verifiers.equivalence.tokens import tokens
from hsd_jax.verifiers.equivalence.trees import Token, Tree, Unread

LIMIT_SECONDS = 5.0
LONGEST_REFERENCE = 20_000
_IDS = itertools.count()
_RESULTS: dict[str, Reason] = {"equal": "correct", "different": "wrong"}  # as workers say it

# what direct calls of `grade` share; no process exists before the first question that needs one
SHARED_WORKERS = worker_pool.open_set(limit_seconds=LIMIT_SECONDS)


def grade(response: str, answer: str) -> Verdict:
    """Reward 1 where the response's final answer equals the reference answer, 0 else, with the reason.

    Reasons: correct, wrong, unknown words (that may change the answer), no_answer, unparsed (no grammar reads the
    answer or the reference), timeout (5 s), crash (a worker was lost twice). Works from any thread; the workers are
    shared by all callers and start with the first question that needs them.

    Raises:
        TypeError: response or answer is not a string.
    """
    return grade_with(SHARED_WORKERS, response, answer)


def grade_with(lender: worker_pool.WorkerPool, response: str, answer: str) -> Verdict:
    """`grade` with the workers of a given set."""
    verdict = grade_easy(response, answer)
    return verdict if verdict is not None else _grade_by_algebra(lender, response, answer)


def grade_easy(response: str, answer: str) -> Verdict | None:
    """The verdict where spelling and numbers decide it, in this process; None: it needs algebra."""
    if not isinstance(response, str) or not isinstance(answer, str):
        got = f"{type(response).__name__} and {type(answer).__name__}"
        raise TypeError(f"response and answer must be strings, got {got}; convert the answer with str()")
    extracted = answer_of(response)
    if extracted is None:
        return Verdict(0.0, "no_answer", None)
    try:
        gold = reference(answer)
        reasons: list[Reason] = [_easy_reason(gold, text) for text in _candidates(extracted)]
    except equality.NeedsAlgebra:
        return None
    return _verdict(reasons, extracted)


def before_a_cut(response: str) -> str:
    """What is graded of a response that was cut at its cap: all of it where its last box is closed, else nothing.

    Its last number may be an intermediate result, or the first digits of one.
    """
    return response if closes_a_box(response) else ""


class _Reference(NamedTuple):
    text: str
    tokens: list[Token]
    tree: Tree | None


@functools.lru_cache(maxsize=4096)
def reference(answer: str) -> _Reference | None:
    """The reference as it is compared; one that is a whole solution is read like a response. None: unreadable."""
    text = answer[-LONGEST_REFERENCE:].rpartition("####")[2].strip()
    if "\\boxed" in text or len(text) > LONGEST_ANSWER:
        found = answer_of(text)
        text = found.text if found else ""
    try:
        return _read(text) if text else None
    except Unread:
        return None


def _read(text: str) -> _Reference:
    found = tokens(text)
    try:
        return _Reference(text, found, grammar.read(found))
    except Unread:
        return _Reference(text, found, None)


def _candidates(extracted: Extracted) -> list[str]:
    """The answer; of several boxes the list of them, and each by itself, for they may all say the same."""
    return [extracted.text, *extracted.parts] if len(extracted.parts) > 1 else [extracted.text]


def _easy_reason(gold: _Reference | None, text: str) -> Reason:
    """Raises: NeedsAlgebra."""
    if gold is None:
        return "unparsed"
    if text.strip() == gold.text:
        return "correct"
    try:
        found = tokens(text)
        if gold.tree and gold.tree[0] == "num" and gold.tree[2] > 0:
            found = _decimal_comma(found)
        if several := wording.choices(gold.tokens):
            return "correct" if wording.same_choices(several, wording.choices(found) or []) else "wrong"
        wanted, said = wording.choice(gold.tokens), wording.choice(found)
        if wanted and said:
            return "correct" if wording.same_choice(wanted, said) else "wrong"
        if gold.tree is None:
            return "correct" if wording.same_text(gold.tokens, found) else _unread(found)
        return "correct" if equality.equal(gold.tree, grammar.read(found), equality.easy) else "wrong"
    except Unread as reason:
        return reason.args[0]


def _decimal_comma(found: list[Token]) -> list[Token]:
    """`1,22` as a decimal, which it is only where the reference is one."""
    if [token.kind for token in found] != ["num", "op", "num"] or found[1].text != "," or found[2].spaced:
        return found
    digits = found[0].text + found[2].text
    return [Token("num", f"{found[0].text}.{found[2].text}")] if digits.isdigit() else found


def _unread(found: list[Token]) -> Reason:
    """The reason where the reference is a text and the answer another one."""
    return "wrong" if any(token.kind == "word" for token in found) else "unparsed"


def _verdict(reasons: list[Reason], extracted: Extracted) -> Verdict:
    """Of several boxes the list counts, or all of them if they say the same."""
    correct = reasons[0] == "correct" or len(reasons) > 1 and set(reasons[1:]) == {"correct"}
    return Verdict(1.0, "correct", extracted.text) if correct else Verdict(0.0, reasons[0], extracted.text)


def same(left: str, right: str) -> bool:
    """Whether two answers are one: either would be right if the other were the reference. Works from any thread.

    Raises:
        TimeoutError: that takes longer than a check may.
    """
    return same_with(SHARED_WORKERS, left, right)


def same_with(lender: worker_pool.WorkerPool, left: str, right: str) -> bool:
    """`same` with the workers of a given set; they are asked only where neither direction is decided without."""
    ways, open_ways = [(reference(left), right), (reference(right), left)], []
    for gold, text in ways:
        try:
            if _easy_reason(gold, text) == "correct":
                return True
        except equality.NeedsAlgebra:
            open_ways.append((gold, text))
    for gold, text in open_ways:
        reason = ask_twice(lender, {"gold": gold.text if gold else "", "given": text})
        if reason == "timeout":
            raise TimeoutError(f"comparing two answers takes more than {lender.limit_seconds:g} s")
        if reason == "correct":
            return True
    return False


def _grade_by_algebra(lender: worker_pool.WorkerPool, response: str, answer: str) -> Verdict:
    extracted, gold = answer_of(response), reference(answer)
    assert extracted is not None and gold is not None
    reasons: list[Reason] = []
    for text in _candidates(extracted):
        try:
            reasons.append(_easy_reason(gold, text))
        except equality.NeedsAlgebra:
            reasons.append(ask_twice(lender, {"gold": gold.text, "given": text}))
        if reasons == ["correct"] or len(reasons) > 1 and reasons[-1] != "correct":
            break
    return _verdict(reasons, extracted)


def ask_twice(lender: worker_pool.WorkerPool, question: dict[str, object]) -> Reason:
    """A worker's result; a check whose worker is lost is repeated once in the time left, then a crash."""
    left, begun = lender.limit_seconds, time.monotonic()
    for _ in range(2):
        try:
            with worker_pool.borrowed(lender) as worker:
                left, worker.waited_seconds = max(0.5 * left, left - worker.waited_seconds), 0.0
                begun = time.monotonic()
                answer = worker_process.ask(worker, {**question, "id": next(_IDS)}, begun + left)
                if answer["result"] == "memory":
                    worker_process.stop(worker)
                    return "unparsed"
                return _RESULTS.get(str(answer["result"]), "unparsed")
        except worker_process.WorkerTimeout:
            return "timeout"
        except worker_process.WorkerDied:
            left = max(0.5, left - (time.monotonic() - begun))
    return "crash"
