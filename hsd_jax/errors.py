"""The errors a user can meet, and the exit codes of every command.

Refused input ends a command with code 2 and one line, a run that had to end itself with code 1 and one line. A run that
was asked to end (Ctrl-C, preemption) and saved before all was done ends with code 3; 0 means that nothing is left.
"""

import difflib
from collections.abc import Iterable

from models.errors import InputError as InputError
from models.errors import printable as printable

EXIT_DONE, EXIT_FAILED, EXIT_REFUSED, EXIT_PREEMPTED = 0, 1, 2, 3


def nearest(word: str, valid: Iterable[str]) -> str:
    """The valid word that is most like another one."""
    return difflib.get_close_matches(word, [*valid], 1, 0.0)[0]


class RunStopped(RuntimeError):
    """The run ended itself; the message says what happened, where, and what to do."""
