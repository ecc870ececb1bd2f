"""Object stores (gs://): how they are reached, a check in seconds of all that a run does there, and what to mend.

gs:// goes through fsspec's gcsfs (as etils does), TensorStore and google-cloud-storage (as Orbax does).
STORAGE_EMULATOR_HOST points all three to an emulator.
"""

import contextlib
import hashlib
import importlib.util
import logging
import os
import re
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from etils import epath
from fsspec.config import conf

from hsd_jax.errors import InputError
from hsd_jax.runtime.files import is_remote

ROLES = "roles/storage.objectAdmin and roles/storage.legacyBucketReader"
PREFLIGHT_SECONDS = 60.0
WEIGHTS = (".safetensors", ".bin", ".pt", ".gguf")
COPIES_AT_ONCE = 16
PROBE = "probe-"
CACHE = Path("~/.cache/hsd_jax/remote")

# Gcsfs asks another API (and permission) what kind a bucket is, and remembers listings that other hosts change.
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
conf.setdefault("gcs", {})["use_listings_cache"] = False
if "STORAGE_EMULATOR_HOST" in os.environ:
    os.environ.setdefault("TENSORSTORE_GCS_HTTP_URL", os.environ["STORAGE_EMULATOR_HOST"])

logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # what it logs, with a traceback, it raises as well
# By themselves the clients wait for ever for a storage that does not answer. What moves may take as long as it takes.
SILENT_SECONDS = 15
if importlib.util.find_spec("aiohttp"):  # it comes with the packages for gs://, which a run on local files does without
    from aiohttp import ClientTimeout

    wait = ClientTimeout(total=None, sock_connect=SILENT_SECONDS, sock_read=SILENT_SECONDS)
    conf["gcs"].setdefault("requests_timeout", wait)
os.environ.setdefault("TENSORSTORE_CURL_LOW_SPEED_TIME_SECONDS", str(SILENT_SECONDS))
os.environ.setdefault("TENSORSTORE_CURL_LOW_SPEED_LIMIT_BYTES", "1")

# How the clients of object stores say why a request failed, and what mends it.
REASONS = (
    (r"\b401\b|UNAUTHENTICATED|Invalid Credentials|RefreshError|credentials were not found",
     "the credentials are missing or have expired; renew them (gcloud auth application-default login)"),
    (r"\b403\b|Forbidden|PERMISSION_DENIED", f"a permission is missing; give the account {ROLES} on the bucket"),
    (r"\b404\b|NOT_FOUND|FileNotFound|not found", "an object or the bucket has vanished; look who else writes there"),
    (r"\b429\b|\b5\d\d\b|UNAVAILABLE|RESOURCE_EXHAUSTED|DEADLINE_EXCEEDED|[Tt]imed? ?out|Connection",
     "the storage does not answer; wait until it does"),
)  # fmt: skip


def advice(error: BaseException) -> str:
    """What is wrong with an object store, and what mends it; "" for an error that says nothing of that kind."""
    words = f"{type(error).__name__} {error}"
    return next((what for pattern, what in REASONS if re.search(pattern, words)), "")


def is_from_one(error: BaseException) -> bool:
    """Whether an error comes from a client of an object store; those of files have an errno."""
    if isinstance(error, OSError) and error.errno is None and advice(error):
        return True
    package, _, rest = type(error).__module__.partition(".")
    # protobuf reads local files as well
    return package in ("google", "gcsfs", "aiohttp", "requests", "urllib3") and not rest.startswith("protobuf")


def preflight(root: epath.Path, *, seconds: float = PREFLIGHT_SECONDS) -> None:
    """Tries what a run does in its workdir: write, rename, list, delete, and on gs:// read the bucket's settings.

    Raises: InputError naming what cannot be done, and the roles that it takes.
    """
    doing: list[str] = ["begin"]
    failed: list[BaseException] = []

    def attempt() -> None:
        try:
            for doing[0], do in _attempts(root):
                do()
        except Exception as error:
            failed.append(error)

    worker = threading.Thread(target=attempt, name="preflight", daemon=True)
    worker.start()
    worker.join(seconds)
    if worker.is_alive():
        raise InputError(
            f"--workdir {root}: cannot {doing[0]}: no answer within {seconds:g} s; is the bucket's name right?"
        )
    if failed:
        error = failed[0]
        why = getattr(error, "strerror", None) or " ".join(f"{type(error).__name__}: {error}".split())[:240]
        mend = advice(error) if is_remote(root) else "make it writable, or choose another directory"
        raise InputError(
            f"--workdir {root}: cannot {doing[0]} ({why}): {mend or 'choose another directory'}"
        ) from error


def _attempts(root: epath.Path) -> Iterator[tuple[str, Callable[[], object]]]:
    probe = root / f"{PROBE}{uuid.uuid4().hex[:8]}"
    moved = root / f"{probe.name}-moved"
    if is_remote(root):
        yield "read the bucket's settings (storage.buckets.get)", lambda: _bucket(root)
    yield "write a file", lambda: (root.mkdir(parents=True, exist_ok=True), probe.write_text("may be deleted"))
    yield "rename a file", lambda: probe.rename(moved)
    yield "list the files", lambda: _must_be_listed(root, moved.name)
    yield "delete a file", moved.unlink


def _bucket(root: epath.Path) -> object:
    from google.cloud import storage  # what Orbax calls before it deletes a checkpoint

    return storage.Client().get_bucket(str(root).split("/")[2], timeout=20)


def _must_be_listed(root: epath.Path, name: str) -> None:
    if name not in {path.name for path in root.iterdir()}:
        raise FileNotFoundError(f"{root / name}: not found in the listing")


def local_copy(folder: str) -> str:
    """A remote folder's files on this machine, but for weights, copied anew where they have changed; else as it is.

    Raises: InputError for a folder without files.
    """
    if not is_remote(folder):
        return folder
    root = epath.Path(folder)
    files = sorted(file for file in _files(root) if not file.name.endswith(WEIGHTS)) if root.exists() else []
    if not files:
        raise InputError(f"{folder}: there are no files here")
    stats = [(str(file), stat.length, stat.mtime) for file in files for stat in [file.stat()]]
    place = CACHE.expanduser() / hashlib.sha256(repr(stats).encode()).hexdigest()[:16]
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=place.parent))
        for file in files:
            target = part / file.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
        with contextlib.suppress(OSError):  # another process of this machine was first
            part.rename(place)
    return str(place)


@contextlib.contextmanager
def read_here(folder: str | os.PathLike[str], names: Sequence[str]) -> Iterator[Path]:
    """A folder on this machine: itself, or while the block runs a copy of these files and folders of a remote one.

    Raises: InputError for a remote folder that has none of them.
    """
    if not is_remote(folder):
        yield Path(folder)
        return
    root = epath.Path(folder)
    found = [path for name in names if (path := root / name).exists()]
    if not found:
        raise InputError(f"{folder}: there is no run here; look for the bucket's runs with: gcloud storage ls")
    files = [file for path in found for file in (_files(path) if path.is_dir() else [path])]
    with tempfile.TemporaryDirectory() as place:
        here = Path(place) / root.name

        def copy(file: epath.Path) -> None:
            target = here / file.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())

        with ThreadPoolExecutor(COPIES_AT_ONCE) as pool:
            list(pool.map(copy, files))
        yield here


def _files(folder: epath.Path) -> Iterator[epath.Path]:
    for path in folder.iterdir():
        yield from _files(path) if path.is_dir() else [path]
