"""The errors a user can meet, and the exit codes of every command.

Refused input ends a command with code 2 and one line, a run that had to end itself with code 1 and one line.
"""

EXIT_DONE, EXIT_FAILED, EXIT_REFUSED, EXIT_PREEMPTED = 0, 1, 2, 3


class InputError(ValueError):
    """Input refused where it entered; the message names the field, what came, what is allowed and the fix."""


class RunStopped(RuntimeError):
    """The run ended itself; the message says what happened, where, and what to do."""
