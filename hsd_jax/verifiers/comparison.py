"""Compares what a program answered with what was expected. Runs in the parent; expected values stay here.

Answers arrive as JSON of plain built-in types (see `sandbox_child.encode`). They are walked beside the expected
value and never turned into sets or dictionaries: a hostile answer could make their hashing slow.
"""

import math
from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

Answer = Any


class Tolerance(NamedTuple):
    """When two floats are the same, and whether a tuple may stand for a list."""

    relative: float
    absolute: float
    tuple_is_list: bool


# JSON has no tuples, and a float read back from JSON is exact: only rounding noise is forgiven
JSON_VALUES = Tolerance(1e-6, 1e-12, tuple_is_list=True)
# Source: EvalPlus, numpy.allclose(rtol=1e-7, atol=1e-6) where the expected value holds floats
EVALPLUS = Tolerance(1e-7, 1e-6, tuple_is_list=False)


def same_value(expected: object, answer: Answer, tolerance: Tolerance = JSON_VALUES) -> bool:
    """Whether a tagged answer equals the expected value: numbers by value, floats within the tolerance."""
    try:
        return _same(expected, answer, tolerance)
    except (TypeError, ValueError, OverflowError, RecursionError, KeyError):
        return False


def _same(expected: object, answer: Answer, tolerance: Tolerance) -> bool:
    if expected is None or isinstance(expected, str):
        return type(answer) is type(expected) and answer == expected
    if isinstance(expected, (bool, int, float, complex)):
        return _same_number(expected, _number(answer), tolerance)
    if isinstance(expected, (list, tuple)):
        tags = "lt" if tolerance.tuple_is_list else ("l" if isinstance(expected, list) else "t")
        items = _items(answer, tags)
        return len(items) == len(expected) and all(map(lambda e, a: _same(e, a, tolerance), expected, items))
    if isinstance(expected, (set, frozenset)):
        return _same_set(set(expected), _items(answer, "sf"))
    if isinstance(expected, dict):
        return _same_dict(dict(expected), _items(answer, "d"), tolerance)
    if isinstance(expected, (bytes, bytearray)):
        return bytes.fromhex(_items(answer, "b")[0]) == bytes(expected)
    return False


def _items(answer: Answer, tags: str) -> list[Answer]:
    if isinstance(answer, dict) and len(answer) == 1:
        (tag, items), *_ = answer.items()
        if tag in tags and isinstance(items, list):
            return items
    raise TypeError("not a container of the expected kind")


def _number(answer: Answer) -> complex | float | int:
    if isinstance(answer, (bool, int, float)):
        return answer
    if isinstance(answer, dict) and isinstance(answer.get("i"), str):
        return int(answer["i"], 16)
    real, imaginary = _items(answer, "c")
    return complex(_real(real), _real(imaginary))


def _real(answer: Answer) -> float:
    if isinstance(answer, (int, float)):
        return float(answer)
    raise TypeError("not a real number")


def _same_number(expected: complex | float | int, answer: complex | float | int, tolerance: Tolerance) -> bool:
    if expected == answer:
        return True
    if isinstance(expected, complex) or isinstance(answer, complex):
        return abs(expected - answer) <= tolerance.absolute + tolerance.relative * abs(expected)
    if not isinstance(expected, float):
        return False
    if math.isnan(expected) or math.isnan(answer):
        return math.isnan(expected) and math.isnan(answer)
    if math.isinf(expected) or math.isinf(answer):
        return False
    return abs(expected - answer) <= tolerance.absolute + tolerance.relative * abs(expected)


def _same_set(expected: set[Any], items: list[Answer]) -> bool:
    if len(items) != len(expected):
        return False
    for item in items:
        key = _key(item)
        if key not in expected:
            return False
        expected.remove(key)
    return True


def _same_dict(expected: dict[Any, object], items: list[Answer], tolerance: Tolerance) -> bool:
    if len(items) != len(expected):
        return False
    for item in items:
        key, value = _items(item, "l")
        if _key(key) not in expected or not _same(expected.pop(_key(key)), value, tolerance):
            return False
    return True


def _key(answer: Answer) -> Any:
    """A hashable value; only looked up among expected ones."""
    if answer is None or isinstance(answer, (str, bool, int, float)):
        return answer
    tag = next(iter(answer)) if isinstance(answer, dict) and answer else ""
    if tag == "t":
        return tuple(_key(item) for item in _items(answer, "t"))
    if tag == "f":
        members = _items(answer, "f")
        return frozenset(_key(item) for item in members[:64]) if len(members) <= 64 else None
    return bytes.fromhex(_items(answer, "b")[0]) if tag == "b" else _number(answer)


def same_multiset(expected: object, answer: Answer, tolerance: Tolerance = JSON_VALUES) -> bool:
    """Two sequences with the same members, each as often, in any order."""
    try:
        remaining = list(_items(answer, "ltsf"))
    except TypeError:
        return False
    if not isinstance(expected, (list, tuple, set, frozenset)) or len(remaining) != len(expected):
        return False
    for member in expected:
        match = next((item for item in remaining if same_value(member, item, tolerance)), _MISSING)
        if match is _MISSING:
            return False
        remaining.remove(match)
    return True


_MISSING = object()


def is_zero_of_polynomial(coefficients: list[float], answer: Answer) -> bool:
    """Whether the answer is a root: |Σ cᵢ xⁱ| ≤ 1e-4. Source: HumanEval, task find_zero."""
    try:
        point = _real(answer)
        return abs(math.fsum(c * point**power for power, c in enumerate(coefficients))) <= 1e-4
    except (TypeError, OverflowError, ValueError):
        return False


def same_output(expected: str, printed: str) -> bool:
    """LiveCodeBench's rule for stdout: the stripped lines agree, literally or as decimal numbers token by token."""
    expected, printed = expected.strip(), printed.strip()
    # counted first: a flood of empty lines would fill the parent's memory as a list
    if expected.count("\n") != printed.count("\n"):
        return False
    return all(map(_same_line, _lines(expected), _lines(printed)))


def _lines(text: str) -> Iterator[str]:
    return (line.strip() for line in text.split("\n"))


def _same_line(wanted: str, given: str) -> bool:
    if wanted == given:
        return True
    wanted_tokens, given_tokens = wanted.split(), given.split()
    if len(wanted_tokens) != len(given_tokens):
        return False
    try:
        return all(map(_same_token, wanted_tokens, given_tokens))
    except (InvalidOperation, ValueError):
        return False


def _same_token(wanted: str, given: str) -> bool:
    return Decimal(wanted) == Decimal(given)


ValueRule = Callable[[object, Answer], bool]


def decode(answer: Answer) -> object:
    """The Python value of a tagged answer. Only for answers of trusted programs, such as reference solutions."""
    if answer is None or isinstance(answer, (str, bool, int, float)):
        return answer
    (tag, items), *_ = answer.items()
    if tag == "i":
        return int(items, 16)
    if tag == "b":
        return bytes.fromhex(items[0])
    members = [decode(item) for item in items]
    if tag == "d":
        return {key: value for key, value in members}  # type: ignore[misc]
    return {"l": list, "t": tuple, "s": set, "f": frozenset, "c": lambda parts: complex(*parts)}[tag](members)
