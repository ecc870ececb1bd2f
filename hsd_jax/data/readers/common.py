"""What several corpora share: final answers of written solutions, tests that can be run."""

from collections.abc import Iterable

from hsd_jax.data import golds
from hsd_jax.data.files import Row
from hsd_jax.data.problems import Test
from hsd_jax.errors import InputError
from hsd_jax.verifiers import cases
from hsd_jax.verifiers.equivalence.extraction import extract

LONGEST_ANSWER = 200


def boxed(solution: str) -> str:
    """The content of the last box of a written solution, "" if it has none."""
    if "\\boxed" not in solution and "\\fbox" not in solution:
        return ""
    return golds.tidy(extract(solution) or "")


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
