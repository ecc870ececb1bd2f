"""Rows of local files: JSONL (plain or gzip), JSON, parquet and arrow, each with the place it came from."""

import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.ipc
import pyarrow.parquet

from hsd_jax.data.problems import long_integers, read_json
from hsd_jax.errors import InputError

SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".parquet", ".arrow")
# Files next to data that are not data, by name; hidden files and directories (.cache, ._train.jsonl) are another.
NO_ROWS = re.compile(
    r"pins\.json|dataset_infos?\.json|dataset_dict\.json|state\.json|cache-[0-9a-f]+(_\d+_of_\d+)?\.arrow"
)
NO_ROWS_DIRECTORY = re.compile(r"\..*|__MACOSX|__pycache__", re.IGNORECASE)
# The library raises of its own kinds and several of Python's.
TABLE_ERRORS = (OSError, ValueError, TypeError, KeyError, OverflowError, NotImplementedError, pyarrow.ArrowException)
HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")  # may be the half of one character that JSON spells in two


@dataclass(frozen=True)
class Row:
    """One record and where it stands (`train.jsonl:17`, counted from 1)."""

    fields: Mapping[str, Any]
    place: str

    @property
    def present(self) -> set[str]:
        """The fields that hold something: null is an absent column."""
        return {name for name, value in self.fields.items() if value is not None}

    def text(self, name: str) -> str:
        """A field that must hold text other than white space.

        Raises: InputError naming file, row and field.
        """
        value = self.fields.get(name)
        if isinstance(value, str) and value.strip():
            return value
        came = "nothing" if name not in self.fields else shown(value)
        have = ", ".join(sorted(self.fields)) or "none"
        raise InputError(f"{self.place}: field {name!r} must hold text; got {came} (fields of the row: {have})")

    def get(self, name: str, default: Any = "") -> Any:
        """A field that may be absent or null, which is the same."""
        value = self.fields.get(name)
        return default if value is None else value

    def words(self, name: str, default: str = "") -> str:
        """A field that may be absent or null, or hold text or a number. Raises: InputError for anything else."""
        value = self.get(name, default)
        if isinstance(value, str):
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            with long_integers():
                return str(value)
        raise InputError(f"{self.place}: field {name!r} must hold text; got {shown(value)}")

    def require(self, *names: str) -> None:
        """Raises: InputError if a column is missing."""
        missing = [name for name in names if name not in self.fields]
        if missing:
            have = ", ".join(sorted(self.fields)) or "none"
            raise InputError(f"{self.place}: column {missing[0]!r} is missing (columns: {have})")


def shown(value: Any) -> str:
    """A value of a row as a message quotes it."""
    with long_integers():
        text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def rows(path: Path) -> Iterator[Row]:
    """All rows of one file, in file order.

    Raises: InputError for a file that cannot be read and for a row that is not a JSON object, with file and line.
    """
    if path.name.endswith((".parquet", ".arrow")):
        return _table(path)
    if path.name.endswith(".json"):
        return _json(path)
    return _jsonl(path)


def _jsonl(path: Path) -> Iterator[Row]:
    try:
        # utf-8-sig: some editors begin a file with a byte order mark
        opened = (
            gzip.open(path, "rt", encoding="utf-8-sig") if path.suffix == ".gz" else path.open(encoding="utf-8-sig")
        )
        with opened as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _row(line, f"{path}:{number}")
    except (UnicodeDecodeError, OSError, zlib.error, EOFError) as error:
        raise InputError(f"{path}: cannot be read as UTF-8 JSON lines ({error})") from error


def json_value(text: str) -> Any:
    """`read_json`. Raises: ValueError also where the text is nested too deeply or cannot be stored as UTF-8."""
    try:
        value = read_json(text)
        if HALF_CHARACTER.search(text):
            with long_integers():
                json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
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


def _json(path: Path) -> Iterator[Row]:
    """An array of rows, one row, or JSON lines under another name."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        entries = json_value(text)
    except json.JSONDecodeError as error:
        if error.msg != "Extra data" or not text.lstrip().startswith("{"):
            raise InputError(f"{path}: not JSON ({error})") from error
        yield from _jsonl(path)
        return
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not JSON ({error})") from error
    if not isinstance(entries, list | dict):
        raise InputError(f"{path}: must be a JSON array of objects; got {type(entries).__name__}")
    for number, entry in enumerate([entries] if isinstance(entries, dict) else entries, 1):
        yield _checked(entry, f"{path}:{number}")


def _table(path: Path) -> Iterator[Row]:
    number = 0
    for batch in _batches(path):
        for fields in batch:
            number += 1
            yield Row(fields, f"{path}:{number}")


def _batches(path: Path) -> Iterator[list[dict[str, Any]]]:
    kind = path.suffix.removeprefix(".")
    try:
        yield from _parquet(path) if kind == "parquet" else _arrow(path)
    except TABLE_ERRORS as error:
        raise InputError(f"{path}: not a {kind} file, or a damaged one ({error})") from error


def _parquet(path: Path) -> Iterator[list[dict[str, Any]]]:
    with pyarrow.parquet.ParquetFile(path, page_checksum_verification=True) as table:
        for batch in table.iter_batches(batch_size=512):
            yield batch.to_pylist()


def _arrow(path: Path) -> Iterator[list[dict[str, Any]]]:
    # The package datasets writes streams; other tools write files, which begin with these six bytes.
    with pyarrow.OSFile(str(path)) as opened:
        is_file = opened.read(6) == b"ARROW1"
        opened.seek(0)
        table = pyarrow.ipc.open_file(opened) if is_file else pyarrow.ipc.open_stream(opened)
        for batch in map(table.get_batch, range(table.num_record_batches)) if is_file else table:
            batch.validate(full=True)
            for start in range(0, batch.num_rows, 512):
                yield batch.slice(start, 512).to_pylist()


def data_files(path: Path) -> tuple[list[Path], dict[Path, str]]:
    """The data files under a directory, or the file itself, and every other file that is there, with a reason.

    Both are sorted by path (a listing has no order).
    Raises: InputError if there is no data file, the same one in two formats, or one whose name is not UTF-8.
    """
    if path.is_file():
        return [path], {}
    if not path.exists():
        raise InputError(f"data.path: {path} does not exist")
    listed = [file for file in path.rglob("*") if not file.is_dir() or file.is_symlink()]
    listed.sort(key=lambda file: file.relative_to(path).as_posix())
    left_out = {file: reason for file in listed if (reason := _no_data(file, file.relative_to(path)))}
    found = [file for file in listed if file not in left_out]
    if unnamed := next((file for file in found if not _is_utf8(file.name)), None):
        raise InputError(f"data.path: the name of {unnamed} is not UTF-8; rename the file")
    if not found:
        why = "".join(f"; {file.name} is left out ({reason})" for file, reason in [*left_out.items()][:3])
        raise InputError(f"data.path: {path} holds no {', '.join(SUFFIXES)} file{why}")
    by_stem: dict[Path, Path] = {}
    for file in found:
        twin = by_stem.setdefault(file.with_name(stem(file)), file)
        if twin != file:
            raise InputError(f"data.path: {twin} and {file.name} are the same data in two formats; move one away")
    return found, left_out


def stem(file: Path) -> str:
    """The name of a data file without its suffix."""
    return next(file.name.removesuffix(suffix) for suffix in (*SUFFIXES, "") if file.name.endswith(suffix))


def looks_like_data(name: str) -> bool:
    """Whether a file's name ends as those of data do."""
    return name.lower().endswith(SUFFIXES)


def _no_data(file: Path, within: Path) -> str:
    if any(NO_ROWS_DIRECTORY.fullmatch(part) for part in within.parts):
        return "hidden, or the cache of a tool"
    if not file.is_file():
        return "no regular file; linked directories are not followed"
    if not file.name.endswith(SUFFIXES):
        return f"not one of {', '.join(SUFFIXES)}"
    return "describes data, holds no rows" if NO_ROWS.fullmatch(file.name) else ""


def _is_utf8(name: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in name)


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
