"""Exact numbers read from normalised answers: integers, decimals, fractions, mixed numbers, percentages."""

import re
from fractions import Fraction
from typing import NamedTuple

_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d{1,3}(?: \d{3})+(?![\d/])|\d+)"
_DECIMAL = re.compile(rf"({_DIGITS}?)(?:\.(\d*))?")
_FRACTION = re.compile(r"\\frac\{ ?([-+]? ?[\d,.]+) ?\}\{ ?([-+]? ?[\d,.]+) ?\}")
_SLASH = re.compile(r"([-+]?[\d,.]+) ?/ ?([-+]?[\d,.]+)")
_MIXED = re.compile(rf"({_DIGITS}) ?(?:\\frac\{{ ?(\d+) ?\}}\{{ ?(\d+) ?\}}|(?<= )(\d+) ?/ ?(\d+))")
_SCIENTIFIC = re.compile(
    r"(\d*\.?\d+) ?(?:(?:\\times|\\cdot|\*) ?10 ?\^ ?(?:\{ ?([-+]?\d{1,3}) ?\}|(\d))|[eE]([-+]?\d{1,3}))"
)
_SIGNS = re.compile(r"(?:[-+] ?)*")


class Number(NamedTuple):
    """An exact value; `decimals` digits stood behind its point (-1: not written as a decimal)."""

    value: Fraction
    decimals: int
    percent: bool


def read(text: str) -> Number | None:
    """The exact number a normalised answer states, or None where it is anything but one number."""
    text, percent = (text[:-1].rstrip(), True) if text.endswith("%") else (text, False)
    while len(text) > 2 and text[0] == "(" and text[-1] == ")" and "(" not in text[1:]:
        text = text[1:-1].strip()
    if len(text) > 400 or not text or text[-1] not in "0123456789.}":
        return None
    signs = _SIGNS.match(text)
    start = signs.end() if signs else 0
    sign = -1 if text[:start].count("-") % 2 else 1
    number = _unsigned(text[start:].strip())
    return None if number is None else Number(sign * number.value, number.decimals, percent)


def _unsigned(text: str) -> Number | None:
    decimal = _decimal(text)
    if decimal is not None:
        return decimal
    match = _FRACTION.fullmatch(text) or _SLASH.fullmatch(text)
    if match:
        return _quotient(match.group(1), match.group(2))
    match = _MIXED.fullmatch(text)
    if match:
        whole, *parts = (int(_joined(group)) for group in match.groups() if group is not None)
        proper = parts[1] > parts[0]
        return Number(whole + Fraction(parts[0], parts[1]), -1, False) if proper else None
    return _scientific(text)


def _scientific(text: str) -> Number | None:
    match = _SCIENTIFIC.fullmatch(text)
    mantissa = _decimal(match.group(1)) if match else None
    if match is None or mantissa is None:
        return None
    power = int(next(group for group in match.groups()[1:] if group))
    return Number(mantissa.value * Fraction(10) ** power, -1, False)


def _joined(digits: str) -> str:
    return digits.replace(",", "").replace(" ", "")


def _decimal(text: str) -> Number | None:
    match = _DECIMAL.fullmatch(text)
    if not match or not (match.group(1) or match.group(2)):
        return None
    digits = _joined(match.group(1) or "0")
    decimals = match.group(2)
    if not decimals:
        return Number(Fraction(int(digits)), -1, False)
    return Number(Fraction(int(digits + decimals), 10 ** len(decimals)), len(decimals), False)


def _quotient(above: str, below: str) -> Number | None:
    top, bottom = read(above), read(below)
    if top is None or bottom is None or bottom.value == 0:
        return None
    return Number(top.value / bottom.value, -1, False)


def same(gold: Number, given: Number) -> bool:
    """Whether two numbers state the same value.

    Values are compared exactly, except that a decimal may stand for a fraction it cannot write out: the reference's
    decimal to a relative 1e-6, a given one only to the precision of floating point (1e-12). A sign of percent on
    one side may be left out, or written out as hundredths; one that is added to a fraction counts.
    """
    if gold.percent == given.percent:
        return _close(gold, given)
    if given.percent and gold.decimals < 0 and gold.value.denominator > 1:
        return gold.value == given.value / 100
    # 28 and 28% may be the same answer, 0.28 and 0.28% are not
    raw = gold.percent or abs(gold.value) > 1
    if raw and _close(gold._replace(percent=False), given._replace(percent=False)):
        return True
    if given.percent and abs(gold.value) > 1:
        return False
    scale = Fraction(1, 100)
    return gold.value * (scale if gold.percent else 1) == given.value * (scale if given.percent else 1)


def _close(gold: Number, given: Number) -> bool:
    if gold.value == given.value:
        return True
    difference = abs(gold.value - given.value)
    if gold.decimals > 0 and given.decimals < 0:
        return not _terminates(given.value) and difference <= abs(given.value) / 10**6
    if given.decimals > 0 and gold.decimals < 0:
        return not _terminates(gold.value) and difference <= abs(gold.value) / 10**12
    return False


def _terminates(value: Fraction) -> bool:
    """Whether a finite decimal writes the value out."""
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    return rest == 1


def same_decimal_comma(gold: str, given: str) -> bool:
    """Whether one side writes the other's decimal with a comma: `2,75` is 2.75."""
    for comma, point in ((gold, given), (given, gold)):
        if re.fullmatch(r"-?(?:0,\d+|\d+,(?:\d{2}|\d{4,}))", comma) and comma.replace(",", ".") == point:
            return True
    return False
