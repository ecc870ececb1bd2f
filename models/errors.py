"""The error for input that is refused."""


class InputError(ValueError):
    """Input refused where it entered; the message names the field, what came, what is allowed and the fix."""
