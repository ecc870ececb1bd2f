"""Reads a GGUF file, version 3: its fields, and its tensors as float32 (kinds F32, F16, Q8_0 and Q4_1).

Source: the format's description in ggml (docs/gguf.md), and its quantized blocks of 32 numbers.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hsd_jax.errors import InputError

MAGIC, VERSION, STRING, ARRAY = b"GGUF", 3, 8, 9
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
BLOCK = 32


@dataclass(frozen=True)
class Gguf:
    """The fields by name, and for every tensor its shape (rows first), kind and place in `data`."""

    fields: dict[str, Any]
    tensors: dict[str, tuple[tuple[int, ...], int, int]]
    data: memoryview

    def tensor(self, name: str) -> np.ndarray:
        """One tensor, float32. Raises: InputError for one that is absent or of a kind that is not read."""
        if name not in self.tensors:
            raise InputError(f"the GGUF file has no tensor {name!r}")
        shape, kind, start = self.tensors[name]
        if kind not in KINDS:
            raise InputError(f"tensor {name!r} of the GGUF file has kind {kind}; read are {[*KINDS]}")
        stored, widen = KINDS[kind]
        per = stored.shape[0] if stored.shape else BLOCK if stored.fields else 1
        count = int(np.prod(shape)) // per
        return widen(np.frombuffer(self.data, stored, count, start)).reshape(shape)


def _halves(blocks: np.ndarray) -> np.ndarray:
    """x = scale q + least, q of 4 bits: the low halves of 16 bytes, then the high ones."""
    q = np.concatenate([blocks["q"] & 15, blocks["q"] >> 4], axis=1).astype(np.float32)
    return blocks["scale"].astype(np.float32)[:, None] * q + blocks["least"].astype(np.float32)[:, None]


def _bytes(blocks: np.ndarray) -> np.ndarray:
    """x = scale q, q of 8 bits."""
    return blocks["scale"].astype(np.float32)[:, None] * blocks["q"].astype(np.float32)


# kind -> how it is stored, and how that becomes float32
KINDS: dict[int, tuple[np.dtype, Callable[[np.ndarray], np.ndarray]]] = {
    0: (np.dtype("<f4"), lambda stored: stored),
    1: (np.dtype("<f2"), lambda stored: stored.astype(np.float32)),
    3: (np.dtype([("scale", "<f2"), ("least", "<f2"), ("q", "u1", BLOCK // 2)]), _halves),
    8: (np.dtype([("scale", "<f2"), ("q", "i1", BLOCK)]), _bytes),
}


@dataclass
class Cursor:
    """A place in the file that moves on with what is read."""

    data: memoryview
    at: int = 0

    def take(self, layout: str) -> Any:
        """One number."""
        (value,) = struct.unpack_from(f"<{layout}", self.data, self.at)
        self.at += struct.calcsize(f"<{layout}")
        return value

    def text(self) -> str:
        """A length, and as many bytes of UTF-8."""
        length = self.take("Q")
        self.at += length
        return bytes(self.data[self.at - length : self.at]).decode()

    def value(self, kind: int) -> Any:
        """A field's value; arrays as lists."""
        if kind == ARRAY:
            inner, count = self.take("I"), self.take("Q")
            return [self.value(inner) for _ in range(count)]
        return self.text() if kind == STRING else self.take(SCALARS[kind])


def read(content: bytes) -> Gguf:
    """The file with this content. Raises: InputError if it is something else, or cut off."""
    data = memoryview(content)
    if bytes(data[:4]) != MAGIC:
        raise InputError("not a GGUF file (its first four bytes are others)")
    try:
        return _read(data)
    except (struct.error, KeyError, UnicodeDecodeError) as error:
        raise InputError(f"the GGUF file is cut off or damaged ({error or type(error).__name__})") from error


def _read(data: memoryview) -> Gguf:
    cursor = Cursor(data, len(MAGIC))
    version, tensors, fields = cursor.take("I"), cursor.take("Q"), cursor.take("Q")
    if version != VERSION:
        raise InputError(f"the GGUF file has version {version}; read is version {VERSION}")
    known: dict[str, Any] = {}
    for _ in range(fields):
        name = cursor.text()
        known[name] = cursor.value(cursor.take("I"))
    found: dict[str, tuple[tuple[int, ...], int, int]] = {}
    for _ in range(tensors):
        name = cursor.text()
        shape = tuple(cursor.take("Q") for _ in range(cursor.take("I")))[::-1]
        found[name] = (shape, cursor.take("I"), cursor.take("Q"))
    step = known.get("general.alignment", BLOCK)
    begin = -(-cursor.at // step) * step
    return Gguf(known, {name: (shape, kind, begin + at) for name, (shape, kind, at) in found.items()}, data)
