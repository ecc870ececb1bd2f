"""GSM8K (openai/gsm8k, config main; MIT): `question`, and `answer` = worked text, then "#### 42"."""

import re
from pathlib import Path

from hsd_jax.data.files import Row, rows
from hsd_jax.data.problems import Problem
from hsd_jax.data.readers.common import tidy
from hsd_jax.data.record_files import Rows
from hsd_jax.errors import InputError

# The corpus carries calculator calls such as <<48/2=24>> inside the prose.
_CALCULATION = re.compile(r"<<[^<>]*>>")


def gsm8k(files: list[Path], split: str) -> Rows:
    """The problems in file order."""
    index = 0
    for file in files:
        for row in rows(file):
            yield _problem(row, f"gsm8k-{split}-{index:05d}")
            index += 1


def _problem(row: Row, name: str) -> Problem:
    question, worked = row.text("question"), row.text("answer")
    text, mark, final = worked.rpartition("####")
    answer = tidy(final).replace(",", "")
    if not mark or not answer:
        raise InputError(f"{row.place}: field 'answer' must end in '#### <answer>'; got ...{worked[-40:]!r}")
    prose = _CALCULATION.sub("", text).strip()
    solution = f"{prose}\nThe answer is \\boxed{{{answer}}}."
    return Problem(name, "gsm8k", "math", question, answer, solution)
