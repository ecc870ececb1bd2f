"""Grades an answer to a mathematics question against the reference answer.

Order of decisions: the answer a response commits to (`extraction`), one spelling (`normalization`), literal match,
exact numbers and the parts of lists and tuples (`structure`, in this process, microseconds), and only then algebra
in a worker process that is killed at the limit. On a timeout or a crash the literal comparison stands.
"""

import functools
import itertools
import re
import time

from hsd_jax.types import Verdict
from hsd_jax.verifiers.equivalence import rational, structure, worker_pool, worker_process
from hsd_jax.verifiers.equivalence.extraction import extract
from hsd_jax.verifiers.equivalence.normalization import compact, normalize

LIMIT_SECONDS = 5.0
LONGEST_NESTING = 60
LONGEST_REFERENCE = 400
_IDS = itertools.count()

# what direct calls of `grade` share; no process exists before the first question that needs one
SHARED_WORKERS = worker_pool.open_set(limit_seconds=LIMIT_SECONDS)


def grade(response: str, answer: str) -> Verdict:
    """Reward 1 where the response's final answer equals the reference answer, 0 else, with the reason.

    Reasons: correct, wrong, no_answer, unparsed (no grammar reads the answer), timeout (5 s), crash (a worker was
    lost twice). Works from any thread; the workers are shared by all callers and start with the first question
    that needs them.

    Raises:
        TypeError: response or answer is not a string.
    """
    return grade_with(SHARED_WORKERS, response, answer)


def grade_with(lender: worker_pool.WorkerSet, response: str, answer: str) -> Verdict:
    """`grade` with the workers of a given set."""
    verdict = grade_easy(response, answer)
    return verdict if verdict is not None else _grade_by_algebra(lender, response, answer)


def grade_easy(response: str, answer: str) -> Verdict | None:
    """The verdict where spelling and exact numbers decide it, in this process; None: it needs algebra."""
    if not isinstance(response, str) or not isinstance(answer, str):
        got = f"{type(response).__name__} and {type(answer).__name__}"
        raise TypeError(f"response and answer must be strings, got {got}; convert the answer with str()")
    extracted = extract(response)
    if extracted is None:
        return Verdict(0.0, "no_answer", None)
    if not answer.strip():
        return Verdict(0.0, "unparsed", extracted)
    gold, given = reference(answer), normalize(extracted)
    if max(_depth(gold), _depth(given)) > LONGEST_NESTING:
        return _verdict(compact(gold) == compact(given), extracted, "unparsed")
    try:
        return _verdict(structure.equal(gold, given, _easy_part), extracted, "wrong")
    except structure.NeedsAlgebra:
        return None


@functools.lru_cache(maxsize=4096)
def reference(answer: str) -> str:
    """The normalised reference answer; a reference that is a whole solution is read like a response."""
    answer = answer.rpartition("####")[2]
    if "\\boxed" in answer or len(answer) > LONGEST_REFERENCE:
        answer = extract(answer) or re.sub(r"\\+boxed\{", "", answer)
    return normalize(answer)


def _easy_part(gold: str, given: str) -> bool:
    if compact(gold) == compact(given):
        return True
    numbers = rational.read(gold), rational.read(given)
    if numbers[0] is not None and numbers[1] is not None:
        return rational.same(numbers[0], numbers[1])
    raise structure.NeedsAlgebra


def _grade_by_algebra(lender: worker_pool.WorkerSet, response: str, answer: str) -> Verdict:
    extracted = extract(response) or ""
    gold, given = reference(answer), normalize(extracted)
    question: dict[str, object] = {"gold": gold, "given": given}
    result = ask_twice(lender, question)
    if result == "equal":
        return Verdict(1.0, "correct", extracted)
    return _verdict(compact(gold) == compact(given), extracted, "wrong" if result == "different" else result)


def ask_twice(lender: worker_pool.WorkerSet, question: dict[str, object]) -> str:
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
                return str(answer["result"])
        except worker_process.WorkerTimeout:
            return "timeout"
        except worker_process.WorkerDied:
            left = max(0.5, left - (time.monotonic() - begun))
    return "crash"


def _verdict(correct: bool, extracted: str, reason: str) -> Verdict:
    return Verdict(1.0, "correct", extracted) if correct else Verdict(0.0, reason, extracted)


def _depth(text: str) -> int:
    depth = deepest = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    return deepest
