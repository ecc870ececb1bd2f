"""The error for input that is refused, and the one screen for text that goes to a terminal."""


class InputError(ValueError):
    """Input refused where it entered; the message names the field, what came, what is allowed and the fix.

    It quotes the input, so it is made one line of printable text.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(" ".join(message.splitlines())))


def printable(text: str, keep: str = "") -> str:
    """The text with every character that is not shown but acts (escape codes, carriage returns, bidirectional
    controls, halves of surrogates) written as its Python escape; those in `keep` stay."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)
