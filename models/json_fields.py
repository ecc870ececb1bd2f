"""JSON files of a model directory, field by field: what a field must hold, and one phrase for everything that differs.

The files come from strangers, so sizes are bounded before anything is built from them, and what they say is quoted
short and without control characters.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import InputError
from models.file_paths import remote_or_local, size_of

MAX_BYTES = 64 << 20
QUOTED = 60


@dataclass(frozen=True)
class Kind:
    """What a field may hold, in words and as a test."""

    words: str
    holds: Callable[[Any], bool]


def integer(low: int, high: int) -> Kind:
    """An integer (no boolean) from `low`, 0 or 1, to `high`, both included."""
    return Kind(
        f"a {'positive' if low else 'non-negative'} integer up to {high:,}",
        lambda value: type(value) is int and low <= value <= high,
    )


def number(low: float, high: float) -> Kind:
    """A number above `low`, up to `high`."""
    return Kind(
        f"a number above {low:g}, up to {high:g}", lambda value: type(value) in (int, float) and low < value <= high
    )


def either(*kinds: Kind) -> Kind:
    """One of several kinds."""
    return Kind(" or ".join(kind.words for kind in kinds), lambda value: any(kind.holds(value) for kind in kinds))


def list_of(kind: Kind) -> Kind:
    """A list whose entries are all of one kind."""
    return Kind(
        f"a list whose entries are {kind.words}",
        lambda value: isinstance(value, list) and all(kind.holds(entry) for entry in value),
    )


def one_of(*values: Any) -> Kind:
    """Equal to one of some values, in type as well."""
    words = " or ".join(json.dumps(value) for value in values)
    return Kind(words, lambda given: any(type(given) is type(value) and given == value for value in values))


ABSENT = one_of(None)
BOOLEAN = Kind("true or false", lambda value: isinstance(value, bool))
TEXT = Kind("text", lambda value: isinstance(value, str))
OBJECT = Kind("an object", lambda value: isinstance(value, dict))


def faults(raw: Mapping[str, Any], kinds: Mapping[str, Kind], where: str = "") -> Iterator[str]:
    """One phrase for each field that holds something else; an absent field counts as null."""
    for name, kind in kinds.items():
        if not kind.holds(raw.get(name)):
            yield (
                f"{where}{name} is missing"
                if name not in raw
                else f"{where}{name} = {quoted(raw[name])}, expected {kind.words}"
            )


def quoted(value: Any) -> str:
    """A value as it may stand in a message: short, printable, in one line."""
    text = repr(value)
    return text if len(text) <= QUOTED else f"{text[:QUOTED]}..."


def read_json(directory: str | Path, name: str = "config.json") -> dict[str, Any]:
    """One JSON file of a model directory. Raises: InputError when it is absent, too large or not a JSON object."""
    path = remote_or_local(directory) / name
    try:
        if (size := size_of(path)) > MAX_BYTES:
            raise InputError(f"{path}: has {size:,} bytes, allowed: {MAX_BYTES:,}")
        content = json.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise InputError(f"{path}: cannot be read ({why}); expected a Hugging Face directory") from None
    except (ValueError, RecursionError) as error:
        what = "nested too deeply" if isinstance(error, RecursionError) else error
        raise InputError(f"{path}: not valid JSON ({what})") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content


def refuse_code(directory: str | Path) -> None:
    """Refuses a directory that names Python code of its own for a loader to run.

    Raises: InputError naming file and entry.
    """
    for file in sorted(Path(directory).glob("*config*.json")):
        if auto_map := read_json(directory, file.name).get("auto_map"):
            raise InputError(
                f"{file}: auto_map = {quoted(auto_map)} asks to run code of the directory, which is never done; use a"
                " directory without auto_map"
            )
