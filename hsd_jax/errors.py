"""The errors a user can meet: refused input ends a command with code 2 and one line, never a traceback."""

EXIT_DONE, EXIT_FAILED, EXIT_REFUSED, EXIT_PREEMPTED = 0, 1, 2, 3


class InputError(ValueError):
    """Input refused where it entered; the message names the field, what came, what is allowed and the fix."""
