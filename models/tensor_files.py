"""Safetensors files: every fault of a header told by name before the library maps the file and reads slices of it.

The library refuses a faulty file as a whole; a directory of many files wants to know which tensors are cut off,
misplaced or of a wrong type, all at once.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy

from models.errors import InputError
from models.file_paths import read_span, size_of
from models.json_fields import TEXT, Kind, faults, integer, list_of, quoted

DTYPES: dict[str, Any] = {"F32": np.dtype("float32"), "BF16": np.dtype(ml_dtypes.bfloat16), "F16": np.dtype("float16")}
CODES = {dtype.name: code for code, dtype in DTYPES.items()}
MAX_HEADER_BYTES = 100 << 20  # the library's own limit
SIZE = integer(0, 1 << 48)
ENTRY = {
    "dtype": TEXT,
    "shape": Kind("at most 8 sizes from 0 on", lambda shape: list_of(SIZE).holds(shape) and len(shape) <= 8),
    "data_offsets": Kind(
        "two ascending places from 0 on",
        lambda ends: list_of(SIZE).holds(ends) and len(ends) == 2 and ends[0] <= ends[1],
    ),
}


@dataclass(frozen=True)
class Tensor:
    """A tensor of a file, and the format's name of its dtype."""

    path: Any
    name: str
    shape: tuple[int, ...]
    code: str
    offset: int

    def read(self, index: tuple[slice, ...]) -> np.ndarray:
        """A copy of a slice. Only its pages are touched, and none stay resident: the map lives as long as the call.

        Of a remote file the rows that the slice touches are fetched.
        """
        if not isinstance(self.path, Path):
            first, last, step = index[0].indices(self.shape[0])
            row = math.prod(self.shape[1:]) * DTYPES[self.code].itemsize
            data = np.frombuffer(read_span(self.path, self.offset + first * row, (last - first) * row), np.uint8)
            rows = data.view(DTYPES[self.code]).reshape(last - first, *self.shape[1:])
            return np.array(rows[(slice(None, None, step), *index[1:])])
        with safetensors.safe_open(self.path, framework="np") as file:
            return file.get_slice(self.name)[index]


def read_header(path: Any) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors of one file, and what is wrong with them (a truncated file names the tensors that are cut off).

    Raises: InputError when there is no readable header.
    """
    size = 0
    try:
        size = size_of(path)
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if 0 < length <= min(size - 8, MAX_HEADER_BYTES) else None
    except OSError as error:
        raise InputError(f"{path.name} cannot be read ({error.strerror or type(error).__name__})") from None
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise InputError(f"{path.name} is not a safetensors file, or truncated within its header ({size} bytes)")
    problems = [*_metadata_faults(header.pop("__metadata__", {}), path)]
    wrong = {name: [*_entry_faults(name, entry)] for name, entry in header.items()}
    problems += [problem for found in wrong.values() for problem in found]
    whole = {name: entry for name, entry in header.items() if not wrong[name]}
    problems += _extent_faults(whole, path, size - 8 - length)
    problems += [] if problems else _library_faults(path)
    return {name: _tensor(path, name, entry, 8 + length) for name, entry in whole.items()}, problems


def _library_faults(path: Any) -> list[str]:
    """What the library, which reads the tensors of local files, says against a file that looks right."""
    try:
        if isinstance(path, Path):
            with safetensors.safe_open(path, framework="np"):
                pass
    except safetensors.SafetensorError as error:
        return [f"{path.name} is not read by safetensors ({error})"]
    return []


def _tensor(path: Any, name: str, entry: dict[str, Any], data: int) -> Tensor:
    return Tensor(path, name, tuple(entry["shape"]), entry["dtype"], data + entry["data_offsets"][0])


def _metadata_faults(metadata: Any, path: Path) -> Iterator[str]:
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        yield f"{path.name}: __metadata__ = {quoted(metadata)}, expected texts by name"


def _entry_faults(name: str, entry: Any) -> Iterator[str]:
    if not isinstance(entry, dict):
        yield f"{name} has the entry {quoted(entry)}, expected an object"
        return
    yield from faults(entry, ENTRY, f"{name}: ")


def _extent_faults(header: Mapping[str, Any], path: Path, size: int) -> Iterator[str]:
    """Where dtypes, shapes and places do not agree with each other or with the file's `size` bytes of data."""
    held = 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        (begin, end), code, shape = entry["data_offsets"], entry["dtype"], entry["shape"]
        if end > size:
            yield f"{name} is cut off: {path.name} has {size} bytes of data, the tensor ends at {end}"
        elif code not in DTYPES:
            yield f"{name} has dtype {quoted(code).strip(chr(39))}, allowed: {', '.join(DTYPES)}"
        elif math.prod(shape) * DTYPES[code].itemsize != end - begin:
            yield f"{name} of shape {shape} and dtype {code} does not have {end - begin} bytes"
        elif begin != held:
            yield f"{name} begins at {begin}, what lies before it ends at {held}: tensors must follow one another"
        held = end
    if held < size and header:
        yield f"{path.name} holds {size - held} bytes after its last tensor"


def write(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Writes tensors to one file."""
    # The library writes memory in its order, whatever the strides say.
    straight = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    safetensors.numpy.save_file(straight, path, metadata={"format": "pt"})
