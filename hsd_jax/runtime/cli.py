"""Command lines: typed flags from dataclasses, and refusals of one line with exit code 2."""

import contextlib
import io
import logging
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import tyro
from rich.console import Console

from hsd_jax.config import Config, load
from hsd_jax.errors import InputError, nearest
from hsd_jax.runtime import faults, host, paths
from models.errors import printable

T = TypeVar("T")


def parse(kind: type[T], argv: Sequence[str], *, default: T | None = None, command: str, about: str) -> T:
    """Typed flags of a dataclass, its paths resolved; `--help` prints and exits.

    Raises: InputError in one line for a bad value, a missing or an unknown flag (with the nearest valid one).
    """
    keywords: dict[str, Any] = {"prog": f"python -m hsd_jax.{command}", "description": about}
    if default is not None:
        keywords["default"] = default
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            value, unknown = tyro.cli(kind, args=list(argv), return_unknown_args=True, **keywords)
    except SystemExit as stop:
        if stop.code:
            raise InputError(_one_line(printed.getvalue())) from None
        raise
    if unknown:
        raise InputError(_unknown(unknown[0], flags(default if default is not None else kind)))
    return paths.resolve_fields(value)


def load_config(path: str) -> Config:
    """The config of a file, its relative paths taken from the root of the checkout.

    Raises: InputError as `config.load` does, and for a path that cannot be one.
    """
    return paths.anchored(load(paths.resolve_path(path, "--config")), paths.ROOT)


def named_config(argv: Sequence[str]) -> Config:
    """The config of the file that `--config` names, whose values are the defaults of all flags; else the defaults."""
    named = [argv[i + 1] for i, word in enumerate(argv[:-1]) if word == "--config"]
    named += [word.split("=", 1)[1] for word in argv if word.startswith("--config=")]
    return load_config(named[0]) if named else paths.anchored(Config(), paths.ROOT)


def flags(record: Any, prefix: str = "") -> list[str]:
    """The flag of every field of a (nested) dataclass."""
    names = []
    for f in fields(record):
        value = getattr(record, f.name, None)
        name = f.name.replace("_", "-")
        nested = is_dataclass(value) or is_dataclass(f.type)
        inner = value if is_dataclass(value) else f.type
        hidden = f.metadata.get("flat", False)
        names += flags(inner, prefix if hidden else f"{prefix}{name}.") if nested else [f"--{prefix}{name}"]
    return names


def _unknown(flag: str, valid: list[str]) -> str:
    near = nearest(flag.split("=")[0].replace("_", "-"), valid)
    return f"unknown flag {flag!r}; the nearest valid one is {near} (--help lists all)"


def _one_line(text: str) -> str:
    text = re.sub(r"\x1b\[[0-9;]*m|[╭╮╰╯│─]+", " ", text)
    text = re.split(r"For full helptext|Argument helptext", text)[0]
    text = re.sub(r"Invalid choice\s+invalid choice", "invalid choice", text)  # its title, and the sentence below it
    return re.sub(r"\s+", " ", text).strip()


def run(main: Callable[[Sequence[str]], int], leave: Callable[[int], Any] = sys.exit) -> None:
    """Runs a command and exits with its code; refused input and expected faults are one line on stderr.

    `leave` ends the process after an error.
    """
    host.widen_pool(os.environ)
    with screened():
        try:
            sys.exit(main(sys.argv[1:]))
        except Exception as error:
            line, code = faults.error_line(error)
            if line:
                print(f"error: {line}", file=sys.stderr)
            else:
                traceback.print_exception(error)
            leave(code)


class Screened:
    """A stream to a terminal that passes text only: data, logs and model directories hold text of strangers.

    Every character that acts instead of being shown is written as its escape. Nobody colors it: it is no terminal.
    """

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Writes the text; lines and tabs stay."""
        shown = printable(text, keep="\n\t")
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        self.stream.write(shown.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def isatty(self) -> bool:
        """Never, whatever it writes to."""
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextlib.contextmanager
def screened() -> Iterator[None]:
    """Screens standard output and error within the block: all that prints, logs or raises in the process."""
    out: Any = Screened(sys.stdout)
    err: Any = Screened(sys.stderr)
    for handler in logging.root.handlers:  # set up by a library before
        if isinstance(handler, logging.StreamHandler) and handler.stream in (sys.stdout, sys.stderr):
            handler.setStream(err if handler.stream is sys.stderr else out)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        yield


@contextlib.contextmanager
def screened_natively() -> Iterator[None]:
    """Holds back what anybody prints within the block and prints it behind it through Python's streams.

    Libraries that are not Python write to the process's own, past the screen.
    """
    with _held_back(1, "stdout"), _held_back(2, "stderr"):
        yield


@contextlib.contextmanager
def _held_back(descriptor: int, stream: str) -> Iterator[None]:
    getattr(sys, stream).flush()
    try:
        kept = os.dup(descriptor)
    except OSError:  # closed: nobody reads it
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), descriptor)
        try:
            yield
        finally:
            getattr(sys, stream).flush()
            os.dup2(kept, descriptor)
            os.close(kept)
            held.seek(0)
            getattr(sys, stream).write(held.read().decode(errors="replace"))


def tables() -> Console:
    """A console for tables that hold text of data: nothing in it is read as markup."""
    return Console(markup=False, emoji=False, highlight=False)


def console() -> Console:
    """A console with colors and progress bars, for words and numbers of our own only."""
    return Console(file=sys.stdout.stream if isinstance(sys.stdout, Screened) else None)
