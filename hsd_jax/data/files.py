"""Rows of local files: JSONL (plain or gzip), JSON arrays and parquet, each with the place it came from."""

import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet

from hsd_jax.errors import InputError

SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".parquet")
HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")  # may be the half of one character that JSON spells in two


@dataclass(frozen=True)
class Row:
    """One record and where it stands (`train.jsonl:17`, counted from 1)."""

    fields: Mapping[str, Any]
    place: str

    def text(self, name: str) -> str:
        """A field that must hold text other than white space.

        Raises: InputError naming file, row and field.
        """
        value = self.fields.get(name)
        if isinstance(value, str) and value.strip():
            return value
        came = "nothing" if name not in self.fields else repr(value)[:60]
        have = ", ".join(sorted(self.fields)) or "none"
        raise InputError(f"{self.place}: field {name!r} must hold text; got {came} (fields of the row: {have})")

    def get(self, name: str, default: Any = "") -> Any:
        """A field that may be absent or null."""
        value = self.fields.get(name)
        return default if value is None else value

    def require(self, *names: str) -> None:
        """Raises: InputError if a column is missing."""
        missing = [name for name in names if name not in self.fields]
        if missing:
            have = ", ".join(sorted(self.fields)) or "none"
            raise InputError(f"{self.place}: column {missing[0]!r} is missing (columns: {have})")


def rows(path: Path) -> Iterator[Row]:
    """All rows of one file, in file order.

    Raises: InputError for a row that is not a JSON object, with file and line.
    """
    if path.name.endswith(".parquet"):
        return _parquet(path)
    if path.name.endswith(".json"):
        return _json_array(path)
    return _jsonl(path)


def _jsonl(path: Path) -> Iterator[Row]:
    opened = gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")
    try:
        with opened as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _row(line, f"{path}:{number}")
    except (UnicodeDecodeError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise InputError(f"{path}: cannot be read as UTF-8 JSON lines ({error})") from error


def json_value(text: str) -> Any:
    """The value of a JSON text. Raises: ValueError also where it is nested too deeply or cannot be stored as UTF-8."""
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if HALF_CHARACTER.search(text):
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _row(line: str, place: str) -> Row:
    try:
        fields = json_value(line)
    except ValueError as error:
        raise InputError(f"{place}: not JSON ({error}); every line must be one JSON object") from error
    return _checked(fields, place)


def _checked(fields: Any, place: str) -> Row:
    if not isinstance(fields, dict):
        raise InputError(f"{place}: must be a JSON object with named fields; got {type(fields).__name__}")
    return Row(fields, place)


def _json_array(path: Path) -> Iterator[Row]:
    try:
        entries = json_value(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error})") from error
    if not isinstance(entries, list):
        raise InputError(f"{path}: must be a JSON array of objects; got {type(entries).__name__}")
    for number, entry in enumerate(entries, 1):
        yield _checked(entry, f"{path}:{number}")


def _parquet(path: Path) -> Iterator[Row]:
    try:
        table = pyarrow.parquet.ParquetFile(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a parquet file ({error})") from error
    number = 0
    for batch in table.iter_batches(batch_size=512):
        for fields in batch.to_pylist():
            number += 1
            yield Row(fields, f"{path}:{number}")


def data_files(path: Path) -> list[Path]:
    """The data files under a directory, or the file itself, sorted by their path (a listing has no order).

    Raises: InputError if there is none.
    """
    if path.is_file():
        return [path]
    if not path.exists():
        raise InputError(f"data.path: {path} does not exist")
    found = [file for file in path.rglob("*") if file.is_file() and file.name.endswith(SUFFIXES)]
    if not found:
        raise InputError(f"data.path: {path} holds no {', '.join(SUFFIXES)} file")
    return sorted(found, key=lambda file: file.relative_to(path).as_posix())


def content_hash(files: Iterable[Path], *parts: str) -> str:
    """A fingerprint (16 hex digits) of files' names and bytes, in the order given, and of further texts."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(f"{part}\0".encode())
    for file in files:
        digest.update(f"{file.name}\0".encode())
        with file.open("rb") as opened:
            while block := opened.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def settings_hash(settings: Any) -> str:
    """A short fingerprint (8 hex digits) of settings that JSON can hold."""
    return hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=4).hexdigest()
