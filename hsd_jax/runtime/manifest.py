"""What the files of a checkpoint were when it was whole: `manifest.json` with the size and CRC-32 of every one.

Remote files are checked by size alone. There a checkpoint has its final name before it is whole, so a manifest counts
only if it names the file by which Orbax commits.
"""

import json
import zlib
from collections.abc import Iterator

from etils import epath

from hsd_jax.runtime import files
from hsd_jax.runtime.files import is_remote

MANIFEST = "manifest.json"
COMMIT = "commit_success.txt"


def sealed(step_dir: epath.Path) -> bool:
    """Whether a checkpoint has a manifest of all its files."""
    manifest = step_dir / MANIFEST
    return manifest.exists() and (not is_remote(step_dir) or f'"{COMMIT}"' in manifest.read_text())


def seal(step_dir: epath.Path) -> None:
    """Writes the manifest of a committed checkpoint."""
    entries = {
        str(path.relative_to(step_dir)): [path.stat().length, 0 if is_remote(step_dir) else _crc(path)]
        for path in _files(step_dir)
        if not path.name.startswith(MANIFEST)  # the rest of a seal that was interrupted
    }
    files.replace(step_dir / MANIFEST, json.dumps(entries))


def damage(step_dir: epath.Path) -> str:
    """What is wrong with a checkpoint's files ('' if nothing is); remote files are checked by size alone."""
    if not sealed(step_dir):  # committed, but the run ended before it was sealed: Orbax commits only whole checkpoints
        return "" if all((step_dir / part).exists() for part in ("state", "meta")) else "it is incomplete"
    manifest = step_dir / MANIFEST
    try:
        read = json.loads(manifest.read_text())
        expected = {str(name): (int(size), int(checksum)) for name, (size, checksum) in read.items()}
    except (ValueError, TypeError, AttributeError, RecursionError, IsADirectoryError):
        return f"{MANIFEST} is not readable"
    for name, (size, checksum) in expected.items():
        file = step_dir / name
        if not file.exists():
            return f"{name} is missing"
        if file.stat().length != size:
            return f"{name} has {file.stat().length} bytes instead of {size}"
        if not is_remote(step_dir) and _crc(file) != checksum:
            return f"{name} has changed since it was written"
    return ""


def _files(folder: epath.Path) -> Iterator[epath.Path]:
    for path in folder.iterdir():
        yield from _files(path) if path.is_dir() else [path]


def _crc(path: epath.Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            checksum = zlib.crc32(block, checksum)
    return checksum
