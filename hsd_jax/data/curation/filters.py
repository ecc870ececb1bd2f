"""From corpora to one training set: duplicates out, contamination out, over-long prompts out; every loss is counted."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from hsd_jax.data.chat_template import ChatTemplate
from hsd_jax.data.curation import ngrams
from hsd_jax.data.curation.decontamination import Index, Match, SameAnswer, find, read
from hsd_jax.data.problems import Problem, Removed
from hsd_jax.data.record_files import Rows
from hsd_jax.data.tokenization import Windows
from hsd_jax.data.usable import filter_by_length, unmatched

Stage = Callable[[Iterable[Problem]], Rows]
SCAN = 512


@dataclass(frozen=True)
class Ledger:
    """What the stages noted while they ran: every match, and the first removed rows of each reason."""

    matches: list[Match] = field(default_factory=list)


def chain(rows: Rows, stages: Sequence[Stage]) -> Rows:
    """Runs problems through the stages in order; what a stage removes is passed on as it is."""
    for stage in stages:
        rows = _through(rows, stage)
    return rows


def _through(rows: Rows, stage: Stage) -> Rows:
    # The stage sees problems only; removals before it are set aside and come out where they stood.
    aside: list[Removed] = []

    def problems() -> Iterator[Problem]:
        for row in rows:
            if isinstance(row, Removed):
                aside.append(row)
            else:
                yield row

    for row in stage(problems()):
        yield from aside
        aside.clear()
        yield row
    yield from aside


def without_duplicates(problems: Iterable[Problem]) -> Rows:
    """The first of all problems with the same words, numbers and operators, or with a common name, stays.

    Corpora given first have priority. Samples and constraints of programming problems are not compared.
    """
    seen: dict[object, Problem] = {}
    for problem in problems:
        keys = [read(problem).tokens, *(f"name:{name.lower()}" for name in problem.names)]
        earlier = next((seen[key] for key in keys if key in seen), None)
        if earlier is None:
            seen |= dict.fromkeys(keys, problem)
            yield problem
        else:
            differs = problem.kind == "math" and ngrams.tokens(problem.answer) != ngrams.tokens(earlier.answer)
            reason = "duplicate with another answer" if differs else "duplicate"
            yield Removed(problem.id, problem.source, reason, f"of {earlier.id}: {problem.question}")


def decontaminated(index: Index, same_answer: SameAnswer, ledger: Ledger) -> Stage:
    """A stage that removes problems found in the evaluation sets of `index` and notes every match."""

    def stage(problems: Iterable[Problem]) -> Rows:
        for problem in problems:
            match = find(index, problem, same_answer)
            if match is None:
                yield problem
            else:
                ledger.matches.append(match)
                what = f"{match.item_id}: {problem.question}"
                yield Removed(problem.id, problem.source, f"in {match.item_source} ({match.rule})", what)

    return stage


def payable(problems: Iterable[Problem]) -> Rows:
    """A stage that removes mathematical questions whose reference answer no response can match."""
    for problem in problems:
        reason = unmatched(problem.answer) if problem.kind == "math" else ""
        yield Removed(problem.id, problem.source, reason, f"{problem.answer!r:.200}") if reason else problem


def fitting(tokenizer: Any, frame: ChatTemplate, windows: Windows) -> Stage:
    """A stage that removes prompts and answers over their window, and texts with control tokens."""

    def stage(problems: Iterable[Problem]) -> Rows:
        waiting: list[Problem] = []
        for problem in problems:
            waiting.append(problem)
            if len(waiting) == SCAN:
                yield from _judged(waiting, tokenizer, frame, windows)
                waiting.clear()
        yield from _judged(waiting, tokenizer, frame, windows)

    return stage


def _judged(problems: list[Problem], tokenizer: Any, frame: ChatTemplate, windows: Windows) -> Rows:
    found = filter_by_length(problems, tokenizer, frame, windows)
    reasons = {problem_id: reason for reason, ids in found.removed.items() for problem_id in ids}
    for problem in problems:
        reason = reasons.get(problem.id)
        yield Removed(problem.id, problem.source, reason, problem.question) if reason else problem
