r"""NuminaMath-CoT and NuminaMath-1.5 (AI-MO; Apache-2.0), reduced to questions that can be graded.

CoT has source, problem, solution, messages; 1.5 adds answer, problem_type, question_type, problem_is_valid,
solution_is_valid, synthetic. The corpus is known to be dirty, so rows are removed and counted, not refused.
"""

import re
from pathlib import Path

from hsd_jax.data.files import Row, rows
from hsd_jax.data.problems import Problem, Removed
from hsd_jax.data.readers.common import LONGEST_ANSWER, boxed, tidy
from hsd_jax.data.record_files import Rows

# Model-written questions and answers, and the sources that are corpora of their own here.
LEFT_OUT = frozenset({"synthetic_math", "synthetic_amc", "orca_math", "gsm8k", "math"})
_CHOICES = re.compile(r"\(\s*A\s*\).{0,400}\(\s*B\s*\)|\bA[.)]\s.{0,400}\bB[.)]\s|\\text(?:bf)?\{\s*\(?A\)?", re.DOTALL)
_LETTER = re.compile(r"(?:\\text(?:bf)?\{)?\(?\s*[A-F]\s*\)?\}?")
_NO_ANSWER = frozenset({"", "proof", "notfound", "not found", "none", "n/a"})


def numina(files: list[Path], split: str) -> Rows:
    """The gradable questions of either edition, in file order; the first reason that fits removes a row."""
    index = 0
    for file in files:
        for row in rows(file):
            row.require("problem", "solution", "source")
            name = f"numina-{split}-{index:06d}"
            index += 1
            reason = _reason(row)
            question = row.words("problem")
            if reason:
                yield Removed(name, "numina", reason, question)
            else:
                yield Problem(name, "numina", "math", question, _answer(row), row.words("solution"))


def _answer(row: Row) -> str:
    given = tidy(row.words("answer"))
    return given or boxed(row.words("solution"))


def _reason(row: Row) -> str:
    answer = _answer(row)
    checks = (
        (not row.words("problem").strip(), "empty question"),
        (row.words("source") in LEFT_OUT, f"source {row.words('source')}"),
        (str(row.get("synthetic")).lower() == "true", "synthetic"),
        (_invalid(row, "problem_is_valid") or _invalid(row, "solution_is_valid"), "marked invalid"),
        (row.get("question_type") == "proof" or answer.lower() == "proof", "proof"),
        (row.get("question_type") == "MCQ", "multiple choice"),
        (answer.lower() in _NO_ANSWER, "no final answer"),
        (bool(_LETTER.fullmatch(answer)) and bool(_CHOICES.search(row.words("problem"))), "multiple choice"),
        (len(answer) > LONGEST_ANSWER, f"answer over {LONGEST_ANSWER} characters"),
    )
    return next((reason for holds, reason in checks if holds), "")


def _invalid(row: Row, field: str) -> bool:
    return str(row.get(field, "Yes")).lower() not in ("yes", "true")
