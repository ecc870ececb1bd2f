"""What several corpora share: final answers of written solutions, tests that can be run."""

import re
from collections.abc import Iterable

from hsd_jax.data.files import Row
from hsd_jax.data.problems import Test
from hsd_jax.errors import InputError
from hsd_jax.verifiers import cases
from hsd_jax.verifiers.equivalence.extraction import extract

LONGEST_ANSWER = 200
# \b and \f never occur in an answer; \t, \n and \r may stand between its parts, but not before the rest of a command.
LOST_BACKSLASH = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
    r"|\t(?:imes|ext(?:bf|it|rm|tt|degree)?|[bf]rac|heta|au|anh?|op|riangle[a-z]*|ilde|herefore|binom)(?![a-z])"
    r"|\n(?:eq|eg|abla|otin|mid|ot|leq|geq|less|gtr|cong|prec|succ|subseteq|parallel|exists|earrow|warrow)(?![a-z])"
    r"|\r(?:ho|ight[a-z]*|angle|ceil|floor|vert|m|oot|brace|brack|times)(?![a-z])"
    r"|\A\n[eiu](?![a-z])"
)


def tidy(answer: str) -> str:
    """The answer without white space around it, unless that is what became of a lost backslash."""
    return answer if LOST_BACKSLASH.search(answer) else answer.strip()


def boxed(solution: str) -> str:
    """The content of the last box of a written solution, "" if it has none."""
    if "\\boxed" not in solution and "\\fbox" not in solution:
        return ""
    return tidy(extract(solution) or "")


def first_text(row: Row, *names: str) -> str:
    """The first of several fields that is present and holds something; numbers become text.

    Raises: InputError if none of them does, or one is of another kind.
    """
    for name in names:
        if row.words(name).strip():
            return row.words(name)
    have = ", ".join(sorted(row.fields)) or "none"
    raise InputError(f"{row.place}: one of the fields {', '.join(names)} must hold text (fields of the row: {have})")


def checked_tests(tests: Iterable[Test]) -> tuple[Test, ...]:
    """The tests of one problem, which a verifier must be able to run. Raises: InputError saying what is wrong."""
    found = tuple(tests)
    if found:
        cases.cases_of(found)
    return found
