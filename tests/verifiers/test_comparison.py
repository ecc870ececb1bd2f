"""What counts as the expected value: the rule for numbers, forged answers of any shape, the cost of comparing."""

# ruff: noqa: E501 - tables of values read best unwrapped

import contextlib
import json
import math

import pytest

from hsd_jax.verifiers import comparison
from hsd_jax.verifiers.sandbox import values
from tests.support.attacks_code import FORGED_REPLIES

BIG = 10**5000
EXPECTED = [
    0, 1, -1, True, BIG, 1.5, math.nan, math.inf, 1j, "", "a", None, b"", b"ab", [], [1], [[]], (), (1, 2), {}, {"a": 1}, {1: {}},
    set(), {1}, {("a", 1)}, frozenset(), frozenset([frozenset()]), [None, {"a": [b"x", {2.5}]}],
]  # fmt: skip


def answer(value: object) -> object:
    return json.loads(values.encode(value, 0))


@pytest.mark.parametrize("expected", EXPECTED, ids=lambda value: type(value).__name__)
def test_every_value_equals_itself_and_no_other(expected: object) -> None:
    with pytest.raises(ValueError):
        str(BIG)
    same = [index for index, other in enumerate(EXPECTED) if comparison.same_value(expected, answer(other))]
    alike = [index for index, other in enumerate(EXPECTED) if other is expected or _equal(expected, other)]
    assert same == alike
    if isinstance(expected, (list, tuple, set, frozenset)):
        assert comparison.same_multiset(expected, answer(expected))


def _equal(one: object, other: object) -> bool:
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return list(one) == list(other)
    return one == other


WANTED = [
    10**11 + 7,
    {"x": "y", "z": [1]},
    {1: 2, 3: 4},
    b"zz",
    {5, 6},
    frozenset("ab"),
    [5],
    (7,),
    [[]] * 2,
    "zz",
    2.25,
    3j,
]


@pytest.mark.parametrize("expected", WANTED, ids=lambda value: type(value).__name__)
def test_forged_answers_are_wrong_and_raise_nothing(expected: object) -> None:
    for reply in FORGED_REPLIES:
        with contextlib.suppress(ValueError, AttributeError):
            forged = json.loads(reply).get("value")
            assert comparison.same_value(expected, forged) is False
            assert comparison.same_multiset(expected, forged) is False
            assert comparison.is_zero_of_polynomial([1.0], forged) is False


NUMBERS = [  # expected, returned, the same
    (831702446117, complex(831702000000.0), False), (831702446117, 831702446117.0, True), (831702446117, 831702446117.0001, False),
    (831702446117, 831702446117 + 0j, True), (3, 3.0000000001, False), (3, 3 + 1e-12j, False), (3.0, 3 + 1e-12j, False), (3.0, 3 + 0j, True),
    (0, 1e-300, False), (0, -0.0, True), (1, True, True), (2, True, False), (0.3, 0.1 + 0.2, True), (0.3, 0.3000001, False), (1e300, 1.0000000001e300, True),
    (2**60 + 1, float(2**60), False), (2**70, 2.0**70, True), (float(2**60), 2**60 + 1, True), (1j, 1.0000000001j, True), (1j, 1.001j, False), (1j, 1, False),
    (math.inf, 1e308, False), (math.inf, math.inf, True), (-math.inf, math.inf, False), (1.0, math.inf, False), (1.0, math.nan, False), (math.nan, 0.0, False),
    (math.inf, 10**400, False), (1.5, 10**400, False), (10**400, math.inf, False), (0.0, 1e-13, True), (0.0, 1e-9, False),
]  # fmt: skip


@pytest.mark.parametrize(("expected", "given", "same"), NUMBERS)
def test_integers_are_exact_and_decimals_within_the_tolerance(expected: complex, given: complex, same: bool) -> None:
    for one, other in ((expected, given), ([expected], [given]), ({"k": (expected,)}, {"k": (given,)})):
        assert comparison.same_value(one, answer(other)) is same
    assert comparison.same_multiset([5, expected], answer([given, 5])) is same
    assert comparison.same_value({expected}, answer({given})) is same


PRINTED = [
    ("5", "5.0", True), ("5", "5.0000000001", False), ("831702446117", "831702446117.0001", False), ("0.5", "0.50000000001", True), ("0.5", "0.500001", False),
    ("1 2.5", "1 2.5000000001", True), ("1 2.5", "1.0000000001 2.5", False), ("10", "1_0", False), ("10", "１０", False), ("0101", "101", False), ("101", "0101", False),
    ("7", "+7", True), ("-0.0", "0", True), ("1e3", "1000", True), ("inf", "Infinity", False), ("nan", "NaN", False), ("1", "0x1", False), ("1.", "1", True), (".5", "0.5", True),
    ("Case 1: 0.5", "Case 1: 0.5", True), ("1\n\n2", "1\n2", False), ("9" * 5000, "9" * 5000 + ".0", True), ("1e9", "1e999999999", False), ("1 2", "1 2 3", False), ("1 2 3", "1 2", False),
]  # fmt: skip


@pytest.mark.parametrize(("expected", "printed", "same"), PRINTED)
def test_printed_numbers_follow_the_same_rule(expected: str, printed: str, same: bool) -> None:
    assert comparison.same_output(expected, printed) is same


def test_the_tolerance_is_a_setting() -> None:
    loose = comparison.JSON_VALUES._replace(relative=1e-3)
    assert comparison.same_value(1.0, 1.0009, loose) and comparison.same_output("1.0", "1.0009", loose)
    assert not comparison.same_value(1, 1.0009, loose) and not comparison.same_output("1", "1.0009", loose)


def test_collections_of_many_members_are_compared_by_one_sort() -> None:
    many = [[n % 977, {"k": str(n)}] for n in range(5_000)]
    assert comparison.same_multiset(many, answer(many[::-1]))
    assert not comparison.same_multiset(many, answer([*many[:0:-1], [0, {"k": "x"}]]))
    noisy = [n / 7 for n in range(5_000)]
    assert comparison.same_multiset(noisy, answer([number * (1 + 1e-13) for number in noisy[::-1]]))
    assert not comparison.same_multiset([1, 1, 2], answer([1, 2, 2])) and not comparison.same_multiset(
        [1], answer([1, 1])
    )
