"""What reaches a terminal: text only. Data, logs and model directories hold text of strangers, escape codes included.

`screened` stands between the whole process and its terminal, so nothing that prints, logs or raises needs to know.
"""

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from rich.console import Console

from models.errors import printable


class Screened:
    """A stream that writes every character which is not shown as its escape; it is no terminal, so nobody colors it."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Writes the text; lines and tabs stay."""
        shown = printable(text, keep="\n\t")
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        self.stream.write(shown.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def isatty(self) -> bool:
        """Never, whatever lies behind it."""
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextlib.contextmanager
def screened() -> Iterator[None]:
    """Screens standard output and error within the block."""
    with contextlib.redirect_stdout(Screened(sys.stdout)), contextlib.redirect_stderr(Screened(sys.stderr)):
        yield


def tables() -> Console:
    """A console for tables that hold text of data: nothing in it is read as markup."""
    return Console(markup=False, emoji=False, highlight=False)


def console() -> Console:
    """A console with colors and progress bars, for words and numbers of our own only."""
    return Console(file=sys.stdout.stream if isinstance(sys.stdout, Screened) else None)
