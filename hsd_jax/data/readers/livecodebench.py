"""LiveCodeBench (livecodebench/code_generation_lite): contest problems by date; public tests are the visible ones.

Private tests are text made by JSON -> pickle -> zlib -> base64. The unpickler here can build nothing: a pickled
text needs no global name, so any is refused.
"""

import base64
import binascii
import datetime
import io
import pickle
import zlib
from pathlib import Path
from typing import Any

from hsd_jax.data.files import Row, json_value, rows
from hsd_jax.data.problems import Problem, Removed, Test
from hsd_jax.data.readers.common import checked_tests
from hsd_jax.data.record_files import Rows
from hsd_jax.errors import InputError

LONGEST_TESTS_BYTES = 1 << 30
# Known defects, from the benchmark's own list (ERRATA.md): several right outputs, interactive, wrong tests.
ERRATA = {
    **dict.fromkeys(
        (
            *("abc311_c", "abc326_d", "abc327_b", "abc333_e", "abc343_e", "abc362_c", "arc185_c", "abc343_a"),
            *("find-words-containing-character", "find-the-peaks"),
            "generate-binary-strings-without-adjacent-zeros",
        ),
        "errata: several right outputs",
    ),
    **dict.fromkeys(("abc337_e", "abc355_e"), "errata: interactive"),
    "abc350_c": "errata: wrong tests",
}


def livecodebench(files: list[Path], split: str, *, since: str = "", until: str = "", errata: bool = False) -> Rows:
    """The problems with since <= contest_date < until (ISO dates, "" for open), in file order.

    Problems with known defects are removed only if `errata` asks for it: published numbers include them.
    """
    del split
    seen: set[str] = set()
    for file in files:
        for row in rows(file):
            row.require("question_content", "question_id", "contest_date", "public_test_cases", "private_test_cases")
            name = f"livecodebench-{row.words('question_id')}"
            reason = _reason(row, since, until, errata) or ("repeated between releases" if name in seen else "")
            if reason:
                yield Removed(name, "livecodebench", reason, row.words("question_title"))
                continue
            seen.add(name)
            yield _problem(row, name)


def _reason(row: Row, since: str, until: str, errata: bool) -> str:
    date = _date(row)
    if since and date < datetime.date.fromisoformat(since) or until and date >= datetime.date.fromisoformat(until):
        return "contest date outside the window"
    keys = (row.words("question_id"), row.words("question_title").strip().lower().replace(" ", "-"))
    return next((ERRATA[key] for key in keys if key in ERRATA), "") if errata else ""


def _date(row: Row) -> datetime.date:
    value = row.fields["contest_date"]
    if isinstance(value, datetime.datetime):
        return value.date()
    try:
        return datetime.datetime.fromisoformat(str(value)).date()
    except ValueError as error:
        raise InputError(f"{row.place}: field 'contest_date' must be an ISO date; got {value!r}") from error


def _problem(row: Row, name: str) -> Problem:
    call = _function(row)
    visible = _tests(row, "public_test_cases", call)
    hidden = _tests(row, "private_test_cases", call)
    starter = row.words("starter_code").strip()
    question = row.text("question_content").strip()
    shown = f"{question}\n\nUse this starting point:\n\n```python\n{starter}\n```" if starter else question
    names = tuple(row.words(field).strip() for field in ("question_title", "question_id") if row.words(field))
    return Problem(name, "livecodebench", "code", shown, "", "", visible, hidden, names=names)


def _function(row: Row) -> str:
    metadata = row.get("metadata", "{}") or "{}"
    try:
        read = json_value(metadata) if isinstance(metadata, str) else metadata
    except ValueError as error:
        raise InputError(f"{row.place}: field 'metadata' is not JSON ({error})") from error
    if not isinstance(read, dict):
        raise InputError(f"{row.place}: field 'metadata' must hold an object; got {type(read).__name__}")
    return str(read.get("func_name") or "")


def _tests(row: Row, field: str, call: str) -> tuple[Test, ...]:
    try:
        entries = json_value(unpacked(row.words(field, "[]")))
        return checked_tests(_test(entry, call) for entry in entries)
    except (ValueError, KeyError, TypeError, zlib.error, pickle.UnpicklingError, EOFError) as error:
        raise InputError(f"{row.place}: field {field!r} does not hold tests ({error})") from error


def _test(entry: dict[str, Any], call: str) -> Test:
    if entry["testtype"] == "stdin":
        return {"input": entry["input"], "output": entry["output"]}
    if not call:
        raise ValueError("a functional test, but the metadata name no function")
    if not isinstance(entry["input"], str):
        raise TypeError("the input is not text")
    arguments = [json_value(line) for line in entry["input"].split("\n") if line.strip()]
    return {"call": call, "args": arguments, "output": json_value(entry["output"])}


def unpacked(text: str) -> str:
    """JSON text, given as it is or packed (base64 of zlib of a pickled text).

    Raises: ValueError for anything else; nothing that a pickle could build is ever built.
    """
    if text.lstrip().startswith(("[", "{")):
        return text
    try:
        packed = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"neither JSON nor base64: {error}") from error
    inflate = zlib.decompressobj()
    data = inflate.decompress(packed, LONGEST_TESTS_BYTES)
    if inflate.unconsumed_tail:
        raise ValueError(f"more than {LONGEST_TESTS_BYTES} bytes when unpacked")
    value = _TextOnly(io.BytesIO(data)).load()
    if isinstance(value, bytes):
        value = value.decode("utf-8")
    if not isinstance(value, str):
        raise ValueError(f"the pickle holds {type(value).__name__}, not text")
    return value


class _TextOnly(pickle.Unpickler):
    """An unpickler that resolves no name at all, so it can neither import nor call anything."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        raise pickle.UnpicklingError(f"the pickle asks for {module_name}.{global_name}; a text needs no names")

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("the pickle refers to something outside it")
