"""Paths that a user gives: each is resolved once, where it enters, and is absolute (or remote) from then on.

On the command line and in environment variables a relative path starts in the current directory, in a config file (and
in the record of a run) at the root of the checkout. `~` is the home directory; gs:// paths are left as they are.
"""

import dataclasses
import importlib.util
import os
import re
from pathlib import Path
from typing import Any, TypeVar

from hsd_jax.config import Config
from hsd_jax.errors import InputError
from hsd_jax.runtime.files import REMOTE, is_remote

ROOT = Path(__file__).resolve().parents[2]
OF_CONFIG = (("model", "path"), ("data", "path"), ("data", "skill_bank"))  # the paths of a config
GIVEN = "a path that a user gives"  # the mark of such fields: Annotated[str, GIVEN]; `cli.parse` resolves them
PACKAGES = {"gs://": "gcsfs", "s3://": "s3fs"}  # through which fsspec reaches them
LONGEST_NAME, LONGEST_PATH = 255, 4095  # bytes, as file systems and Linux have them
NO_TEXT = re.compile("[\0-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]")  # the last are bytes that are not UTF-8

T = TypeVar("T")


def absolute(text: str, field: str, base: Path) -> str:
    """A path as it is used from now on: `~` expanded, relative ones from `base`; links are kept.

    Raises: InputError for what cannot be a path, naming the field.
    """
    if not text.strip():
        raise InputError(f"{field} is empty; name a path")
    if NO_TEXT.search(text):
        raise InputError(f"{field} {text!r}: a path must not hold line breaks or other control characters")
    if is_remote(text):
        package = PACKAGES[text[:5]]
        if importlib.util.find_spec(package) is None:
            raise InputError(f"{field} {text!r}: needs the package {package}; install it (pip install {package})")
        return text
    if scheme := re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", text):
        raise InputError(
            f"{field} {text!r}: {scheme[0]} is not known; write a local path or one of {', '.join(REMOTE)}"
        )
    try:
        path = base / Path(text).expanduser()
    except RuntimeError as error:
        raise InputError(f"{field} {text!r}: {error}; write the path in full") from error
    longest = max(len(os.fsencode(part)) for part in path.parts)
    if longest > LONGEST_NAME or len(os.fsencode(path)) > LONGEST_PATH:
        raise InputError(
            f"{field} {text[:40]}...: too long (a name has at most {LONGEST_NAME} bytes, a path {LONGEST_PATH});"
            " choose a shorter one"
        )
    return str(path)


def resolve_path(text: str, field: str) -> str:
    """A path of the command line or the environment, absolute and without links, so that it stays the same place.

    Raises: InputError for what cannot be a path, naming the field.
    """
    path = absolute(text, field, Path.cwd())
    if is_remote(path):
        return path
    try:
        return str(Path(path).resolve())
    except (OSError, RuntimeError) as error:  # a loop of links
        raise InputError(f"{field} {text!r}: cannot be followed ({error}); name another path") from error


def resolve_fields(record: T, prefix: str = "--") -> T:
    """A record of arguments with every field that is marked GIVEN resolved; an optional one may be empty."""
    changed: dict[str, Any] = {}
    for f in dataclasses.fields(record):  # type: ignore[arg-type]
        value, field = getattr(record, f.name), prefix + f.name.replace("_", "-")
        if isinstance(value, Config):
            changed[f.name] = anchored(value, Path.cwd(), prefix)
        elif dataclasses.is_dataclass(value):
            changed[f.name] = resolve_fields(value, prefix if f.metadata.get("flat") else f"{field}.")
        elif GIVEN in getattr(f.type, "__metadata__", ()) and (value or value != f.default):
            changed[f.name] = _resolved(value, field)
    return dataclasses.replace(record, **changed)  # type: ignore[type-var]


def _resolved(value: Any, field: str) -> Any:
    if isinstance(value, tuple):
        return tuple(_resolved(one, field) for one in value)
    return resolve_path(value, field)


def anchored(config: Config, base: Path, prefix: str = "") -> Config:
    """The config with its paths made absolute; links are kept, because a config is recorded and read elsewhere."""
    for section, name in OF_CONFIG:
        record = getattr(config, section)
        field = f"{prefix}{section}.{name.replace('_', '-')}"
        if getattr(record, name) or section == "model":  # the model's may not be empty
            record = dataclasses.replace(record, **{name: absolute(getattr(record, name), field, base)})
        config = dataclasses.replace(config, **{section: record})
    return config


def as_record(config: Config) -> dict[str, Any]:
    """The config as it is written down: paths within the checkout start at its root, so that it may be elsewhere."""
    record = dataclasses.asdict(config)
    for section, name in OF_CONFIG:
        path = Path(record[section][name])
        if path.is_relative_to(ROOT):
            record[section][name] = str(path.relative_to(ROOT))
    return record


def check_local(path: str, field: str) -> Path:
    """A path that must be on this machine.

    Raises: InputError for one in an object store.
    """
    if is_remote(path):
        raise InputError(f"{field} {path}: must be a local path; copy the directory here first")
    return Path(path)


def check_directory(path: str | os.PathLike[str], field: str) -> Path:
    """Refuses a path that is not and cannot become a directory; creates nothing. Returns what of it is there already.

    Raises: InputError naming the field and what is in the way.
    """
    place = Path(path)
    while not os.path.lexists(place):
        place = place.parent
    if not place.is_dir():
        raise InputError(f"{field} {path}: {place} is not a directory; choose another path")
    return place


def check_writable(path: str | os.PathLike[str], field: str) -> None:
    """Refuses a directory that could not be created or written; creates nothing.

    Raises: InputError naming the field and what is in the way.
    """
    if is_remote(path):
        return
    place = check_directory(path, field)
    if not os.access(place, os.W_OK | os.X_OK):
        raise InputError(f"{field} {path}: {place} cannot be written; choose another path or make it writable")


def check_writable_file(path: str, field: str) -> None:
    """Refuses a file that could not be written. Raises: InputError as `check_writable` does, or for a directory."""
    if check_local(path, field).is_dir():
        raise InputError(f"{field} {path}: is a directory; name a file")
    check_writable(Path(path).parent, field)


def from_environment(name: str) -> str:
    """The directory that a variable names, "" where it is unset or empty. Raises: InputError if it cannot be one."""
    text = os.environ.get(name, "")
    path = resolve_path(text, name) if text else ""
    if path and not is_remote(path):
        check_directory(path, name)
    return path
