"""Writes the tables of docs/methods.md that follow from the rows: methods, and the functions that they name.

python -m tools.method_table            # rewrites what is between the marks
"""

from collections.abc import Callable
from inspect import getdoc, signature
from pathlib import Path
from typing import Any

from hsd_jax.methods import METHODS
from hsd_jax.methods.words import HEADER, cells_of, functions_of

PAGE = Path(__file__).parents[1] / "docs" / "methods.md"
MARKS = "<!-- made by python -m tools.method_table -->\n", "<!-- end -->\n"


def markdown(rows: list[tuple[str, ...]]) -> str:
    """A table, its first row the header."""
    lines = [f"| {' | '.join(row)} |\n" for row in rows]
    return "".join([lines[0], "|" + "---|" * len(rows[0]) + "\n", *lines[1:]])


def methods() -> str:
    """A line for every row."""
    return markdown([HEADER, *(cells_of(name, method) for name, method in METHODS.items())])


def functions() -> str:
    """A line for every function that the table of methods names: its arguments, and the first line of its docstring."""
    found = {name: function for method in METHODS.values() for name, function in functions_of(method).items()}
    return markdown([("function", "what it is", "file"), *(described(found[name]) for name in sorted(found))])


def described(function: Callable[..., Any]) -> tuple[str, ...]:
    """A function's line."""
    called = f"{function.__name__}({', '.join(signature(function).parameters)})"
    says = (getdoc(function) or "").splitlines()[0].replace("|", "\\|")
    return f"`{called}`", says, f"`{function.__module__.replace('.', '/')}.py`"


def page(text: str) -> str:
    """The page with both tables as the rows are now."""
    before, rest = text.split(MARKS[0], 1)
    after = rest.split(MARKS[1], 1)[1]
    return f"{before}{MARKS[0]}{methods()}\nThe functions that it names:\n\n{functions()}{MARKS[1]}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
