"""Files of a model directory, on this machine or in an object store (gs://)."""

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

from etils import epath

SPANS = 4  # a piece of weights is read once for all devices of a host that share its rows


def remote_or_local(directory: str | os.PathLike[str]) -> Any:
    """A path that can be joined, opened and looked at."""
    return epath.Path(directory) if "://" in os.fspath(directory) else Path(directory)


def size_of(path: Any) -> int:
    """Bytes of a file."""
    return path.stat().st_size if isinstance(path, Path) else path.stat().length


@lru_cache(SPANS)
def read_span(path: Any, begin: int, count: int) -> bytes:
    """`count` bytes of a file from `begin` on."""
    with path.open("rb") as file:
        file.seek(begin)
        return file.read(count)
