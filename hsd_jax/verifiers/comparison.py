"""Compares what a program answered with what was expected. Runs in the parent; expected values stay here.

Answers arrive as JSON of plain built-in types (`sandbox.values`). The expected value is brought into that form and
the two are walked side by side; an answer never becomes a set or a dictionary, whose hashing it could make slow. What
is not of that form is no answer: nothing here raises, and all of it is linear but for one sort.

The rule for numbers, returned or printed: an expected integer is met by that number alone, however it is written
(4, 4.0, 4+0j); an expected decimal by every number within the tolerance.
"""

import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

from hsd_jax.verifiers.sandbox import values

Answer = Any
_TAGS = frozenset("ltsfdbci")
_NUMBER = re.compile(r"[-+]?(?:(?:0|[1-9]\d*+)(?:\.\d*+)?|\.\d++)(?:[eE][-+]?\d++)?", re.ASCII)


class Tolerance(NamedTuple):
    """How far a number may be from an expected decimal, and whether a tuple may stand for a list."""

    relative: float
    absolute: float
    tuple_is_list: bool


# JSON has no tuples, and a float read back from JSON is exact: only rounding noise is forgiven
JSON_VALUES = Tolerance(1e-9, 1e-12, tuple_is_list=True)
# Source: EvalPlus, numpy.allclose(rtol=1e-7, atol=1e-6) where the expected value holds floats
EVALPLUS = Tolerance(1e-7, 1e-6, tuple_is_list=False)


def tagged(value: object) -> Answer:
    """A value in the form of an answer. Raises: TypeError or ValueError for what no answer can be."""
    return json.loads(values.encode(value, 0))


def same_value(expected: object, answer: Answer, tolerance: Tolerance = JSON_VALUES) -> bool:
    """Whether an answer equals the expected value: numbers by the rule, containers member by member."""
    return _judge(lambda: _same(tagged(expected), answer, tolerance))


def same_multiset(expected: object, answer: Answer, tolerance: Tolerance = JSON_VALUES) -> bool:
    """Two collections with the same members, each as often, in any order."""
    return _judge(lambda: _same_sorted(_members(tagged(expected), "ltsf"), _members(answer, "ltsf"), tolerance))


def is_zero_of_polynomial(coefficients: list[float], answer: Answer) -> bool:
    """Whether the answer is a root: |Σ cᵢ xⁱ| ≤ 1e-4. Source: HumanEval, task find_zero."""
    if isinstance(answer, str):
        return False
    return _judge(lambda: abs(sum(c * float(answer) ** power for power, c in enumerate(coefficients))) <= 1e-4)


def _judge(rule: Callable[[], bool]) -> bool:
    """False for an answer that cannot be walked: whatever stands in it was made to be wrong."""
    try:
        return rule()
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError):
        return False


def _same(expected: Answer, answer: Answer, tolerance: Tolerance) -> bool:
    if expected is None or isinstance(expected, str):
        return type(answer) is type(expected) and answer == expected
    if _kind(expected) in "nic":
        return _same_number(_number(expected), _number(answer), tolerance)
    kind = _kind(expected)
    alike = {"s": "sf", "f": "sf"} | ({"l": "lt", "t": "lt"} if tolerance.tuple_is_list else {})
    wanted, given = expected[kind], _members(answer, alike.get(kind, kind))
    if kind in "lt":
        return len(wanted) == len(given) and all(map(_same, wanted, given, [tolerance] * len(wanted)))
    return wanted == given if kind == "b" else _same_sorted(wanted, given, tolerance)


def _same_sorted(wanted: list[Answer], given: list[Answer], tolerance: Tolerance) -> bool:
    if len(wanted) != len(given):
        return False
    pairs = zip(sorted(wanted, key=_order), sorted(given, key=_order), strict=True)
    return all(_same(one, other, tolerance) for one, other in pairs)


def _order(answer: Answer) -> tuple[Any, ...]:
    """A key that sorts answers of any kind, so that equal ones stand at the same place."""
    kind = _kind(answer)
    if kind in "nic":
        number = _number(answer)
        return (1, number.real, number.imag) if number == number else (2,)
    if answer is None or isinstance(answer, str):
        return (0,) if answer is None else (3, answer)
    if kind == "b":
        return (4, answer["b"])
    members = [_order(member) for member in answer[kind]]
    return (5, members if kind in "lt" else sorted(members))


def _kind(answer: Answer) -> str:
    """The tag of a container or of a number that JSON lacks, "n" for a number, "?" for anything else."""
    if isinstance(answer, dict) and len(answer) == 1:
        (tag,) = answer
        return tag if tag in _TAGS else "?"
    return "n" if isinstance(answer, (bool, int, float)) else "?"


def _members(answer: Answer, kinds: str) -> list[Answer]:
    if _kind(answer) in kinds and isinstance(answer[_kind(answer)], list):
        return answer[_kind(answer)]
    raise TypeError("not a container of the expected kind")


def _number(answer: Answer) -> complex | float | int:
    if _kind(answer) == "n":
        return answer
    if _kind(answer) == "i":
        return int(answer["i"], 16)
    real, imaginary = _members(answer, "c")
    return complex(real, imaginary)


def _same_number(expected: complex | float | int, answer: complex | float | int, tolerance: Tolerance) -> bool:
    if expected == answer or (expected != expected and answer != answer):
        return True
    if isinstance(expected, int) or (isinstance(answer, complex) and not isinstance(expected, complex)):
        return False
    allowed = tolerance.absolute + tolerance.relative * abs(expected)
    return abs(expected - answer) <= allowed < float("inf")


def same_output(expected: str, printed: str, tolerance: Tolerance = JSON_VALUES) -> bool:
    """Whether the stripped lines agree, each literally or, where all of it is numbers, token by token.

    Source: LiveCodeBench, but there decimals must be equal, and numbers may be spelled with zeros in front or `_`.
    """
    expected, printed = expected.strip(), printed.strip()
    # counted first: a flood of empty lines would fill the parent's memory as a list
    if expected.count("\n") != printed.count("\n"):
        return False
    lines = zip(expected.split("\n"), printed.split("\n"), strict=True)
    return all(_same_line(wanted.strip(), given.strip(), tolerance) for wanted, given in lines)


def _same_line(wanted: str, given: str, tolerance: Tolerance) -> bool:
    if wanted == given:
        return True
    tokens = wanted.split()
    answers = given.split(maxsplit=len(tokens))
    pairs = zip(tokens, answers, strict=False)
    return len(tokens) == len(answers) and all(_same_token(token, answer, tolerance) for token, answer in pairs)


def _same_token(wanted: str, given: str, tolerance: Tolerance) -> bool:
    return all(map(_NUMBER.fullmatch, (wanted, given))) and _judge(lambda: _same_decimal(wanted, given, tolerance))


def _same_decimal(wanted: str, given: str, tolerance: Tolerance) -> bool:
    expected, answer = Decimal(wanted), Decimal(given)
    if expected == answer or set(wanted).isdisjoint(".eE"):
        return expected == answer
    return abs(expected - answer) <= Decimal(tolerance.absolute) + Decimal(tolerance.relative) * abs(expected)


def decode(answer: Answer) -> object:
    """The Python value of a tagged answer. Only for answers of trusted programs, such as reference solutions."""
    kind = _kind(answer)
    if kind in "nic":
        return _number(answer)
    if kind == "?":
        return answer
    if kind == "b":
        return bytes.fromhex(answer["b"][0])
    members = [decode(member) for member in answer[kind]]
    return {"l": list, "t": tuple, "s": set, "f": frozenset, "d": dict}[kind](members)
