"""Safetensors files: headers checked before anything is read, tensors as views of the file, files written in a stream.

Reading goes through short-lived memory maps, so only the pages of the wanted slice are touched and none stay resident.
Layout: 8 bytes little-endian header length, a JSON header {name: {dtype, shape, data_offsets}}, the data.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from models.errors import InputError

DTYPES: dict[str, Any] = {"F32": np.dtype("float32"), "BF16": np.dtype(ml_dtypes.bfloat16), "F16": np.dtype("float16")}
CODES = {dtype.name: code for code, dtype in DTYPES.items()}
MAX_HEADER_BYTES = 100 << 20


@dataclass(frozen=True)
class Tensor:
    """Where a tensor lies: file, first byte, shape and the format's name of its dtype."""

    path: Path
    offset: int
    shape: tuple[int, ...]
    code: str
    bytes: int

    def read(self, index: tuple[slice, ...]) -> np.ndarray:
        """A copy of a slice."""
        view = np.memmap(self.path, DTYPES[self.code], mode="r", offset=self.offset, shape=self.shape)
        return np.array(view[index])


def read_header(path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """The tensors of one file, and what is wrong with them (a truncated file names the tensors that are cut off).

    Raises: InputError when there is no readable header.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if 0 < length <= min(size - 8, MAX_HEADER_BYTES) else None
    except OSError as error:
        raise InputError(f"{path.name} cannot be read ({error.strerror})") from None
    except ValueError:
        header = None
    if not isinstance(header, dict):
        raise InputError(f"{path.name} is not a safetensors file, or truncated within its header ({size} bytes)")
    header.pop("__metadata__", None)
    tensors = {name: _entry(path, 8 + length, entry) for name, entry in header.items()}
    return tensors, [problem for name, tensor in tensors.items() if (problem := _fault(name, tensor, size))]


def _entry(path: Path, base: int, entry: dict[str, Any]) -> Tensor:
    begin, end = entry["data_offsets"]
    return Tensor(path, base + begin, tuple(entry["shape"]), entry["dtype"], end - begin)


def _fault(name: str, tensor: Tensor, size: int) -> str:
    end = tensor.offset + tensor.bytes
    if end > size:
        return f"{name} is cut off: {tensor.path.name} has {size} bytes, the tensor ends at {end}"
    if tensor.code not in DTYPES:
        return f"{name} has dtype {tensor.code}, allowed: {', '.join(DTYPES)}"
    if math.prod(tensor.shape) * DTYPES[tensor.code].itemsize != tensor.bytes:
        return f"{name} of shape {list(tensor.shape)} and dtype {tensor.code} does not have {tensor.bytes} bytes"
    return ""


def write(path: Path, tensors: Iterable[tuple[str, tuple[int, ...], Any]], data: Iterable[np.ndarray]) -> None:
    """Writes (name, shape, dtype) tensors in order; `data` yields their values, so one is in memory at a time."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape, dtype in tensors:
        begin, end = end, end + math.prod(shape) * np.dtype(dtype).itemsize
        header[name] = {"dtype": CODES[np.dtype(dtype).name], "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # the format wants its data aligned to 8 bytes
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in data:
            file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
