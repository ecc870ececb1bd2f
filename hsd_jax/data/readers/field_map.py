"""The fields of a user's rows under the names that the project reads: `question=prompt.0.content,answer=target`."""

from collections.abc import Mapping
from typing import Any

from hsd_jax.data.files import Row, shown
from hsd_jax.errors import InputError

FIELDS = (
    *("id", "source", "question", "answer", "choices", "solution"),
    *("kind", "tests", "hidden_tests", "difficulty", "rubric", "canonical"),
)


def parse_fields(text: str) -> dict[str, str]:
    """Our name -> where it stands in a row: a field, or a path into one (`prompt.0.content`).

    Raises: InputError for what is no pair, a name that is not ours, or one given twice.
    """
    found: dict[str, str] = {}
    for pair in text.split(",") if text.strip() else ():
        ours, equals, theirs = (part.strip() for part in pair.partition("="))
        if not (equals and ours and theirs):
            raise InputError(f"data.fields must be pairs such as question=prompt,answer=target; got {pair!r}")
        if ours not in FIELDS:
            raise InputError(f"data.fields: {ours!r} is none of our fields ({', '.join(FIELDS)}); write ours=theirs")
        if ours in found:
            raise InputError(f"data.fields: {ours!r} is given twice; name one field of the rows for it")
        found[ours] = theirs
    return found


def renamed(row: Row, names: Mapping[str, str]) -> Row:
    """The row under our names; fields that `names` does not mention keep theirs.

    Raises: InputError where a field that is named is missing (one that is null is absent, as everywhere).
    """
    taken = {ours: _at(row, ours, theirs) for ours, theirs in names.items()}
    used = {theirs.partition(".")[0] for theirs in names.values()}
    return Row({name: value for name, value in row.fields.items() if name not in used} | taken, row.place)


def _at(row: Row, ours: str, path: str) -> Any:
    if path in row.fields:
        return row.fields[path]
    value: Any = row.fields
    for step in path.split("."):
        if isinstance(value, Mapping) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            have = ", ".join(sorted(row.fields)) or "none"
            raise InputError(
                f"{row.place}: data.fields reads {ours!r} from {path!r}, which is not there: {shown(value)} has no"
                f" {step!r} (fields of the row: {have})"
            )
    return value
