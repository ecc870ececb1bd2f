"""What may be said of a failed visible test: the test, and what the program made of it."""

from collections.abc import Sequence

from hsd_jax.verifiers.cases import Case, ScriptCase, shown

LONGEST_QUOTE = 300  # characters; a program may print much
RAISED = "It ends with an error."
ANOTHER = "It gives another value."


def of_test(case: Case, what: str) -> str:
    """A few lines on the first test that a program fails; `what` says how."""
    if isinstance(case, ScriptCase):
        return f"It fails a test.\nInput:\n{_quoted(case.input)}\nExpected output:\n{_quoted(case.output)}\n{what}"
    asked, wanted = _quoted(call(case.call, case.args)), _quoted(shown(case.output))
    return f"It fails a test: {asked} should be {wanted}.\n{what}"


def call(name: str, arguments: Sequence[object]) -> str:
    """A call as Python writes it."""
    return f"{name}({', '.join(map(shown, arguments))})"


def of_output(output: str) -> str:
    """What a program printed instead of what was expected."""
    return f"Its output:\n{_quoted(output)}" if output.strip() else "It prints nothing."


def _quoted(text: str) -> str:
    text = text.strip().encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair is no text
    return text if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]} [...]"
