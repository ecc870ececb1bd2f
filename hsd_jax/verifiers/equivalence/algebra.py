"""Equality of two formulas by computer algebra. Runs in worker processes only: it can hang, and is then killed.

Formulas are read by a grammar (Math-Verify's LaTeX parser) into a tree; no text is ever evaluated as code. Gates
in front of the comparison refuse what would be equal but is no answer: sums, integrals or factorials left standing,
free symbols where the answer is a number, decimals that only resemble an exact value.
"""

import re
import warnings
from functools import lru_cache
from typing import Any

import sympy
from math_verify import LatexExtractionConfig, parse, verify
from sympy.concrete.expr_with_limits import ExprWithLimits
from sympy.core.function import AppliedUndef

from hsd_jax.verifiers.equivalence import rational
from hsd_jax.verifiers.equivalence.normalization import ONE_LETTER_UNITS, compact, normalize
from hsd_jax.verifiers.equivalence.structure import equal
from hsd_jax.verifiers.equivalence.wording import same_clock

_READER = (LatexExtractionConfig(boxed_match_priority=0),)
_OPERATORS = re.compile(
    r"\\(?:sum|prod|int|iint|oint|lim|binom|dbinom|tbinom|choose|bmod|pmod|mod|gcd|max|min|det|Gamma)(?![A-Za-z])|!"
    r"|\\[lr](?:floor|ceil)|\\d?frac\{d|\\partial|\\nabla|\\sup|\\inf(?![A-Za-z])|\\dots|\\cdots|\\ldots|\.\.\."
)
_UNIT = re.compile(
    r"(.*?)\s*(?:\\unit (?=.$)|(?<![A-Za-z\\]))"
    r"((?:[A-Za-z][A-Za-z'.]*\s*)+(?:\^\s?\{?\s?\d\s?\}?)?(?:/\s?[A-Za-z]+(?:\^\{?\d\}?)?)?)"
)
_POWER = re.compile(r"((?<![\d.])\d+|(?<![A-Za-z\\])i)\)?\^\{?(\d{1,9})")
_NO_UNITS = {"is", "not", "wrong", "no", "maybe", "if", "since", "when", "false", "incorrect", "never", "but"}
_UNIT_NAMES = {
    "centimeter": "cm", "centimetre": "cm", "meter": "m", "metre": "m", "kilometer": "km", "kilometre": "km",
    "millimeter": "mm", "inche": "in", "inch": "in", "foot": "ft", "feet": "ft", "yard": "yd", "mile": "mi",
    "minute": "min", "hour": "h", "hr": "h", "second": "s", "sec": "s", "gram": "g", "kilogram": "kg",
    "pound": "lb", "liter": "l", "litre": "l", "dollar": "", "degree": "", "unit": "",
}  # fmt: skip
_BASE = re.compile(r"(-?[0-9A-F]+)_\{?(\d+)\}?")
_WORDS = re.compile(r"[A-Za-z][A-Za-z' -]*")
# the parser drops the mark of a derivative
_PRIME = re.compile(r"(?<=[A-Za-z)}'])'|\\prime(?![A-Za-z])")


class Unreadable(Exception):
    """A formula that no grammar accepts."""


def same_answer(gold: str, given: str) -> bool:
    """Whether two answer texts mean the same.

    Raises:
        Unreadable: one of the two cannot be read as mathematics.
    """
    return equal(normalize(gold), normalize(given), same_formula)


def same_formula(gold: str, given: str) -> bool:
    """Whether two formulas without outer structure are equal, after the gates."""
    decided = _by_notation(gold, given)
    if decided is not None:
        return decided
    if _other_case(gold, given) or _power_left_standing(gold, given):
        return False
    if not set(_OPERATORS.findall(given)) <= set(_OPERATORS.findall(gold)):
        return False
    left, right = _tree(gold), _tree(given)
    if not _admitted(left, right):
        return False
    exact = _exactly(left, right)
    return exact if exact is not None else _equal(left, right)


def _by_notation(gold: str, given: str) -> bool | None:
    if compact(gold) == compact(given):
        return True
    if ":" in gold or ":" in given:
        return same_clock(gold, given)
    if len(_PRIME.findall(gold)) != len(_PRIME.findall(given)):
        return False
    bases = _BASE.fullmatch(compact(gold)), _BASE.fullmatch(compact(given))
    if bases[0] or bases[1]:
        return False
    numbers = rational.read(gold), rational.read(given)
    if numbers[0] is not None and numbers[1] is not None:
        return rational.same(numbers[0], numbers[1])
    gold_value, gold_unit = split_unit(gold)
    value, unit = split_unit(given)
    if (gold_unit or unit) and (gold_unit == unit or not gold_unit or not unit):
        return equal(gold_value, value, same_formula)
    if gold_unit and unit:
        return False
    if _WORDS.fullmatch(gold) and _WORDS.fullmatch(given) and len(gold) > 1 and len(given) > 1:
        return gold.casefold().split() == given.casefold().split()
    return None


def split_unit(text: str) -> tuple[str, str]:
    """Value and unit of `15 cm^{2}`; the unit is empty where a text is no number followed by words."""
    match = _UNIT.fullmatch(text) if len(text) < 120 else None
    if not match:
        return text, ""
    value, unit = match.group(1).strip(), match.group(2).strip()
    number = rational.read(value) is not None or value.endswith(("\\pi", "}"))
    lone_letter = len(unit) == 1 and unit not in ONE_LETTER_UNITS and "\\unit" not in text
    if not number or lone_letter or _NO_UNITS & set(unit.split()):
        return text, ""
    return value, _unit_name(unit) or "unit"


def _unit_name(unit: str) -> str:
    words = re.sub(r"[{}.^]", " ", unit.casefold()).split()
    power = {"square": "2", "sq": "2", "cubic": "3", "cu": "3"}.get(words[0], "")
    names = [word[:-1] if len(word) > 2 and word.endswith("s") else word for word in (words[1:] if power else words)]
    return " ".join([_UNIT_NAMES.get(name, name) for name in names] + ([power] if power else []))


def _power_left_standing(gold: str, given: str) -> bool:
    """Whether an integer is given as a power of one, 2^{10} for 1024; powers of ten are a notation of numbers."""
    number = rational.read(gold)
    if number is None or number.value.denominator != 1:
        return False
    return any(base != "10" and int(power) > 1 for base, power in _POWER.findall(compact(given)))


def _other_case(gold: str, given: str) -> bool:
    """Whether a letter of one side stands in the other only in its other case; the parser ignores case."""
    known, used = (set(re.sub(r"\\[A-Za-z]+|[^A-Za-z]", "", text)) for text in (gold, given))
    return any(letter.swapcase() in known for letter in used - known)


@lru_cache(maxsize=256)
def _tree(text: str) -> sympy.Basic:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # no alarm (the parent keeps the time): math-verify documents None here and does not annotate it
        no_alarm: Any = None
        found = parse(
            f"\\boxed{{{text}}}", _READER, fallback_mode="no_fallback", parsing_timeout=no_alarm, raise_on_error=False
        )
    trees = [item for item in found if not isinstance(item, str)]
    if not trees:
        raise Unreadable(text)
    tree = trees[0]
    imaginary = {symbol: sympy.I for symbol in tree.free_symbols if str(symbol) == "i"}
    return tree.subs(imaginary) if isinstance(tree, sympy.Expr) and imaginary else tree


def _admitted(gold: sympy.Basic, given: sympy.Basic) -> bool:
    """The gates: nothing in the given tree that stands for work not done, unless the gold answer has it too."""
    unfinished = (ExprWithLimits, sympy.Limit, sympy.factorial, sympy.binomial, sympy.Mod, sympy.Derivative)
    if any(given.has(kind) and not gold.has(kind) for kind in unfinished):
        return False
    if given.has(sympy.nan, sympy.zoo) or gold.has(sympy.nan, sympy.zoo):
        return False
    if not gold.free_symbols and (given.has(AppliedUndef) or _power_of_sum(given) and not _power_of_sum(gold)):
        return False
    return {str(symbol) for symbol in given.free_symbols} <= {str(symbol) for symbol in gold.free_symbols}


def _power_of_sum(tree: sympy.Basic) -> bool:
    """Whether a sum is raised to a whole power, (1 + i)^{10}; in a number that is work left undone."""
    powers = tree.atoms(sympy.Pow) if isinstance(tree, sympy.Expr) else set()
    return any(isinstance(power.base, sympy.Add) and power.exp.is_Integer and power.exp > 1 for power in powers)


def _exactly(gold: sympy.Basic, given: sympy.Basic) -> bool | None:
    """Verdict on two numbers: rationals exactly, decimals by the digits they state; None: not two numbers."""
    if not (isinstance(gold, sympy.Expr) and isinstance(given, sympy.Expr)) or not (gold.is_number and given.is_number):
        return None
    gold_decimal, given_decimal = gold.has(sympy.Float), given.has(sympy.Float)
    if not gold_decimal and not given_decimal:
        if gold.is_Rational and given.is_Rational:
            return gold == given
        return _same_exact(gold, given)
    difference, size = abs(sympy.N(gold - given, 30)), abs(sympy.N(gold, 30))
    tolerance = 1e-6 if gold_decimal else 1e-12
    return bool(difference <= size * sympy.Float(tolerance)) if difference.is_number else None


def _same_exact(gold: sympy.Expr, given: sympy.Expr) -> bool:
    """Two exact numbers: equal when they agree to 40 digits relative to their size, and far from each other if not."""
    difference, size = sympy.N(gold - given, 60), sympy.N(gold, 60)
    if difference.is_number and size.is_number and size.is_finite and difference.is_finite:
        return bool(abs(difference) <= abs(size) * sympy.Float("1e-40", 60)) or bool(sympy.simplify(gold - given) == 0)
    return gold == given


def _equal(gold: sympy.Basic, given: sympy.Basic) -> bool:
    return bool(verify([gold], [given], float_rounding=9, timeout_seconds=None, strict=True))
