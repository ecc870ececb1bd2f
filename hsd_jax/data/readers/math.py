"""Contest mathematics: MATH and its mirrors, MATH-500, AIME.

MATH (EleutherAI/hendrycks_math and others; problem, solution, level, type; in some mirrors also answer, unique_id)
is distributed by third parties; its license is contested, so nothing of it is in this repository.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from hsd_jax.data.files import Row, rows
from hsd_jax.data.problems import Problem, Removed
from hsd_jax.data.readers.common import boxed, first_text, tidy
from hsd_jax.data.record_files import Rows

AIME_LINK = re.compile(r"(20\d\d)_AIME", re.IGNORECASE)


def math(files: list[Path], split: str) -> Rows:
    """MATH in file order. A row whose solution boxes no answer is removed and counted."""
    return _worked(files, "math", split)


def math500(files: list[Path], split: str) -> Rows:
    """MATH-500 (HuggingFaceH4/MATH-500): as MATH, with `answer` and `unique_id`."""
    return _worked(files, "math500", split)


def _worked(files: list[Path], source: str, split: str) -> Rows:
    for index, row in enumerate(_all(files)):
        question, solution = row.text("problem"), row.words("solution")
        name = row.words("unique_id") or f"{split}-{index:05d}"
        answer = tidy(row.words("answer")) or boxed(solution)
        if not answer:
            yield Removed(f"{source}-{name}", source, "no final answer in the solution", question)
            continue
        yield Problem(f"{source}-{name}", source, "math", question, answer, solution)


def aime(files: list[Path], split: str, *, year: int) -> Rows:
    """One year of AIME from any of its mirrors: problem and answer under the names that they use.

    Where rows carry links to several years (AI-MO/aimo-validation-aime), other years are removed and counted.
    """
    del split
    source = f"aime{year % 100}"
    for index, row in enumerate(_all(files)):
        link = AIME_LINK.search(row.words("url"))
        question = first_text(row, "problem", "Problem", "question")
        if link and int(link.group(1)) != year:
            yield Removed(f"{source}-{index:03d}", source, "another year", question)
            continue
        answer = tidy(first_text(row, "answer", "Answer"))
        solution = row.words("solution") or row.words("Solution")
        url = (row.words("url"),) if link else ()
        yield Problem(f"{source}-{index:03d}", source, "math", question, answer, solution, names=url)


def _all(files: list[Path]) -> Iterator[Row]:
    for file in files:
        yield from rows(file)
