"""Files that are whole or not there at all, and slow results that are cached next to their data."""

import contextlib
import os
from collections.abc import Callable
from typing import TypeVar

from etils import epath

T = TypeVar("T")


REMOTE = ("gs://", "s3://")


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Whether a path is in an object store."""
    return os.fspath(path).startswith(REMOTE)


def replace(path: str | os.PathLike[str], content: str | bytes, *, part: str = ".part") -> None:
    """Writes a file aside and renames it, so that no reader ever sees half of it; what was there stays until then.

    Works on gs:// too. Where several processes may write the same file, each ends the name of its `part` differently.
    """
    target = epath.Path(path)
    aside = target.with_name(target.name + part)
    aside.write_bytes(content.encode() if isinstance(content, str) else content)
    aside.replace(target)


def kept(
    path: str | os.PathLike[str], find: Callable[[], T], read: Callable[[bytes], T], write: Callable[[T], bytes]
) -> T:
    """What a file holds, as `read` understands it; else what `find` finds, kept there for the next time if it can be.

    `read` may raise anything: a file that it cannot read counts as absent.
    """
    file = epath.Path(path)
    with contextlib.suppress(Exception):
        return read(file.read_bytes())
    found = find()
    with contextlib.suppress(OSError):  # a directory that others own, or a full disk: it is found again
        replace(file, write(found), part=f".{os.getpid()}.part")
    return found
