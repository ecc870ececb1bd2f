"""One training set from several corpora: what stays is decided on the questions, then written with tests and card."""

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hsd_jax.data import files, record_files
from hsd_jax.data.batches import Corpus
from hsd_jax.data.curation import card, filters
from hsd_jax.data.curation.decontamination import Index, Match, SameAnswer
from hsd_jax.data.problems import Problem, Removed
from hsd_jax.data.record_files import Rows
from hsd_jax.errors import InputError
from hsd_jax.verifiers import pool

Place = tuple[Corpus, str, int]


@contextmanager
def compared_answers(workers: int) -> Iterator[SameAnswer]:
    """A function that says by the math verifier whether a training answer equals an evaluation answer."""
    with pool.start(workers=workers) as graders:

        def same(gold: str, given: str) -> bool:
            return graders.submit_math(f"\\boxed{{{given}}}", gold).result().reward >= 1

        yield same


def questions(corpora: Sequence[Corpus], split: str) -> Iterator[tuple[Problem, Place]]:
    """The problems of a split of all corpora without their tests, and the place of each."""
    for corpus in corpora:
        if split in corpus.splits:
            rows = record_files.read_questions(corpus.directory, split)
            yield from ((rows[i], (corpus, split, i)) for i in range(len(rows)))


def problems(corpora: Sequence[Corpus], split: str) -> Iterator[Problem]:
    """As `questions`, the problems alone."""
    return (problem for problem, _ in questions(corpora, split))


def decide(corpora: Sequence[Corpus], split: str, stages: Sequence[filters.Stage]) -> list[Place | Removed]:
    """Which rows stay (as places) and which do not, in order. Raises: InputError if two corpora share an id."""
    places: dict[str, Place] = {}

    def read() -> Iterator[Problem]:
        for problem, place in questions(corpora, split):
            if problem.id in places:
                raise InputError(f"{problem.source}: the id {problem.id!r} occurs twice among the sources")
            places[problem.id] = place
            yield problem

    return [row if isinstance(row, Removed) else places[row.id] for row in filters.chain(read(), stages)]


def rows_at(decided: Iterable[Place | Removed]) -> Rows:
    """The decided rows, now with their tests."""
    for row in decided:
        yield row if isinstance(row, Removed) else row[0].splits[row[1]][row[2]]


def write(
    out: Path,
    corpora: Sequence[Corpus],
    stages: Sequence[filters.Stage],
    *,
    index: Index,
    ledger: filters.Ledger,
    facts: dict[str, Any],
) -> dict[str, Any]:
    """Writes the dataset, its card and all matches; returns the card.

    The training split goes through all `stages`, a test split (where a source has one) only loses its duplicates.
    """
    decided = {"train": decide(corpora, "train", stages)}
    if any("test" in corpus.splits for corpus in corpora):
        decided["test"] = decide(corpora, "test", [filters.without_duplicates])
    kinds = {problem.kind for split in decided for problem in problems(corpora, split)}
    reading: dict[str, Callable[[], Rows]] = {name: lambda rows=rows: rows_at(rows) for name, rows in decided.items()}
    record_files.write(out, reading, with_tests="code" in kinds)
    page = facts | _page(out, corpora)
    if index.items:
        page["contamination"] = card.of_contamination(index, ledger.matches)
        write_matches(out / "contamination.jsonl", ledger.matches)
    card.write(out, page)
    return page


def _page(out: Path, corpora: Sequence[Corpus]) -> dict[str, Any]:
    splits = {name: record_files.read_questions(out, name) for name in record_files.splits_of(out)}
    return {
        "fingerprint": files.content_hash(record_files.record_paths(out)),
        "splits": {name: card.of_problems(rows[i] for i in range(len(rows))) for name, rows in splits.items()},
        "sources": card.of_sources(corpora),
        "removed": record_files.removed_rows(out),
        "versions": card.versions(),
    }


def write_matches(file: Path, matches: Sequence[Match]) -> None:
    """All matches, one JSON object per line."""
    file.write_text("".join(json.dumps(dataclasses.asdict(match)) + "\n" for match in matches), encoding="utf-8")
