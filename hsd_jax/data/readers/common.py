"""What several corpora share: final answers of written solutions, tests held as JSON text."""

from typing import Any

from hsd_jax.data.files import Row, json_value
from hsd_jax.data.problems import long_integers
from hsd_jax.errors import InputError
from hsd_jax.verifiers.equivalence.extraction import extract

LONGEST_ANSWER = 200


def boxed(solution: str) -> str:
    """The content of the last box of a written solution, "" if it has none."""
    if "\\boxed" not in solution and "\\fbox" not in solution:
        return ""
    return (extract(solution) or "").strip()


def first_text(row: Row, *names: str) -> str:
    """The first of several fields that is present and holds something; numbers become text.

    Raises: InputError if none of them does.
    """
    for name in names:
        value = row.fields.get(name)
        if value is not None and not isinstance(value, bool) and str(value).strip():
            return str(value)
    have = ", ".join(sorted(row.fields)) or "none"
    raise InputError(f"{row.place}: one of the fields {', '.join(names)} must hold text (fields of the row: {have})")


def json_text(text: str) -> Any:
    """The value of a JSON text with integers of any length. Raises: ValueError as `json_value`."""
    with long_integers():
        return json_value(text)
