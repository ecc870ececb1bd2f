"""Equality of values by computer algebra. Runs in worker processes only: it can hang, and is then killed.

Trees of the grammar become sympy's; no text is evaluated as code. Numbers are compared to hundreds of digits. Formulas
are first evaluated at a few points, where two different ones differ; what survives is decided by Math-Verify.
"""

import itertools
from fractions import Fraction
from functools import lru_cache
from typing import Any

import sympy
from math_verify import verify

from hsd_jax.verifiers.equivalence import policy
from hsd_jax.verifiers.equivalence.equality import easy, equal
from hsd_jax.verifiers.equivalence.forms import CONSTANTS, Number, last_place, nodes, number, same_number, symbols
from hsd_jax.verifiers.equivalence.grammar import read
from hsd_jax.verifiers.equivalence.tokens import tokens
from hsd_jax.verifiers.equivalence.trees import Tree, Unread, spelled

DIGITS = 300
POINTS = (sympy.Rational(137, 61), sympy.Rational(-83, 47), sympy.Rational(29, 101), sympy.Rational(571, 89))
_CONSTANTS = {"\\pi": sympy.pi, "e": sympy.E, "i": sympy.I, "\\infty": sympy.oo}
_FUNCTIONS = {
    "arcsin": sympy.asin, "arccos": sympy.acos, "arctan": sympy.atan, "ln": sympy.log, "abs": sympy.Abs,
    "norm": sympy.Abs, "!": sympy.factorial,
    "binom": sympy.binomial, "floor": sympy.floor, "ceil": sympy.ceiling, "overline": sympy.conjugate,
    "bar": sympy.conjugate,
} | {name: getattr(sympy, name) for name in "sin cos tan cot sec csc sinh cosh tanh exp log".split()}  # fmt: skip
_LISTS = {"gcd": sympy.gcd, "lcm": sympy.lcm, "max": sympy.Max, "min": sympy.Min}
_COMPLEX = frozenset(["overline", "bar"])


def same_answer(gold: str, given: str) -> bool:
    """Whether two answer texts mean the same. Raises: Unread."""
    return equal(read(tokens(gold)), read(tokens(given)), same_value)


def same_value(gold: Tree, given: Tree, manner: str) -> bool:
    """The rule of `equality` that knows algebra."""
    exact = number(gold), number(given)
    if exact[0] is not None and exact[1] is not None:
        return easy(gold, given, manner)
    if manner == "relation":
        return _same_relation(gold, given)
    if manner == "answer" and not policy.finished(gold, given):
        return False
    left, right = _formulas(gold, given)
    if left == right:
        return True
    if manner == "near":
        off, place = abs(sympy.N(left - right)), last_place(number(given))
        return bool(off <= abs(sympy.N(left)) / 100 and (place is None or off < place))
    if not symbols(gold) and not symbols(given):
        return _same_constant(gold, given, left, right)
    if not _agree(left - right):
        return False
    wanted, found = (policy.factors(tree) if manner == "answer" else None for tree in (gold, given))
    if wanted and not (found and _same_factors(wanted, found)):
        return False
    return _proved(left, right)


def _proved(left: sympy.Expr, right: sympy.Expr) -> bool:
    return (
        bool(verify([left], [right], float_rounding=12, timeout_seconds=None, strict=True))
        or sympy.simplify(left - right) == 0
    )


def _same_factors(gold: list[Tree], given: list[Tree]) -> bool:
    remaining = [_formula(tree) for tree in given]
    for tree in gold:
        factor = _formula(tree)
        match = next((other for other in remaining if sympy.cancel(other / factor).is_number), None)
        if match is None:
            return False
        remaining.remove(match)
    return not remaining


def _same_constant(gold: Tree, given: Tree, left: sympy.Expr, right: sympy.Expr) -> bool:
    """Two numbers: exact ones to 300 digits, a decimal by the digits that it states."""
    if sympy.oo in (abs(left), abs(right)) or left.has(sympy.nan, sympy.zoo) or right.has(sympy.nan, sympy.zoo):
        return False
    if left.is_Rational and right.is_Rational:
        return same_number(_stated(gold, left), _stated(given, right))
    size = abs(sympy.N(left, 30))
    decimal = [
        any(node[0] == "num" and node[2] > 0 and number(tree) is not None for node in nodes(tree))
        for tree in (gold, given)
    ]
    if any(decimal) and size < 10**6:
        return bool(abs(sympy.N(left - right, 30)) <= size * sympy.Float("1e-6" if decimal[0] else "1e-12"))
    digits = DIGITS + max(0, int(sympy.log(size, 10).evalf(5)) if size > 1 else 0)
    if digits > 20 * DIGITS:
        return False
    difference = abs(sympy.N(left - right, 20, maxn=2 * digits))
    return bool(difference <= min(size, 1) * sympy.Float(10) ** (-DIGITS // 2))


def _stated(tree: Tree, value: Any) -> Number:
    return number(tree) or Number(Fraction(int(value.p), int(value.q)))


def _agree(difference: sympy.Expr) -> bool:
    """Whether a difference vanishes at the points where it has a value."""
    names = sorted(difference.free_symbols, key=str)
    for shift in range(len(POINTS)):
        points: dict[Any, Any] = dict(zip(names, itertools.islice(itertools.cycle(POINTS), shift, None), strict=False))
        points = {name: value + place for place, (name, value) in enumerate(points.items())}
        value = sympy.N(difference.subs(points), 30)
        if value.is_number and value.is_finite and abs(value) > sympy.Float("1e-20"):
            return False
    return True


def _same_relation(gold: Tree, given: Tree) -> bool:
    """Two equations or inequalities with one sign: their sides' differences are multiples of each other."""
    (signs,), left, right = gold[1], *gold[2:]
    (other,), first, second = given[1], *given[2:]
    wanted = sympy.expand(_formula(left) - _formula(right))
    found = sympy.expand(_formula(first) - _formula(second))
    if wanted == 0 or found == 0:
        return False
    factor = sympy.simplify(wanted / found)
    if not factor.is_number or not factor.is_finite or factor == 0:
        return False
    flipped = {"<": ">", ">": "<", "\\leq": "\\geq", "\\geq": "\\leq"}
    if signs not in flipped:  # only these may be multiplied, and turned round
        return signs == other and signs in ("=", "\\neq")
    return bool(factor.is_real) and (signs == other if factor > 0 else flipped[signs] == other)


def _formulas(gold: Tree, given: Tree) -> tuple[sympy.Expr, sympy.Expr]:
    names = [node for tree in (gold, given) for node in nodes(tree)]
    matrices = any(
        n[0] == "^" and n[1][0] == "sym" and n[1][1].isupper() and n[2] in (("sym", "T"), ("neg", ("num", 1, -1)))
        for n in names
    )
    generic = any(node[0] == "fn" and node[1] in _COMPLEX for node in names)
    return _formula(gold, matrices, generic), _formula(given, matrices, generic)


@lru_cache(maxsize=1024)
def _formula(tree: Tree, matrices: bool = False, generic: bool = False) -> sympy.Expr:
    """The sympy expression of a tree. With `matrices` products of capital letters keep their order. Raises: Unread."""
    sort = tree[0]
    if sort == "num":
        return sympy.Rational(tree[1].numerator, tree[1].denominator)
    if sort == "sym" and tree[1] in CONSTANTS:
        return _CONSTANTS[tree[1]]
    if sort in ("sym", "call", "base"):
        name = spelled(tree)
        return (
            sympy.Symbol(name, commutative=False)
            if matrices and name[:1].isupper()
            else sympy.Symbol(name, real=None if generic else True)
        )
    if sort == "fn":
        return _applied(tree, matrices, generic)
    parts = [_formula(part, matrices, generic) for part in tree[1:] if isinstance(part, tuple)]
    if sort == "+":
        return sympy.Add(*parts)
    if sort == "neg":
        return -parts[0]
    if sort == "*":
        return sympy.Mul(*parts)
    if sort == "/":
        return parts[0] / parts[1]
    if sort == "^":
        return parts[0] ** parts[1]
    if sort == "root":
        return (
            sympy.real_root(parts[0], parts[1])
            if parts[0].is_number and parts[0].is_negative and parts[1] == 3
            else sympy.root(parts[0], parts[1])
        )
    if sort == "deg":
        return parts[0] * sympy.pi / 180
    if sort == "%":
        return parts[0] / 100
    raise Unread("unparsed")


def _applied(tree: Tree, matrices: bool, generic: bool) -> sympy.Expr:
    name = tree[1]
    if name in _LISTS:
        parts = tree[2][2:] if tree[2][0] in ("group", "list") else tree[2:]
        return _LISTS[name](*[_formula(part, matrices, generic) for part in parts])
    parts = [_formula(part, matrices, generic) for part in tree[2:]]
    if name == "log" and len(parts) == 1:
        return sympy.log(parts[0], 10) if parts[0].is_number else sympy.log(parts[0])
    function = _FUNCTIONS.get(name)
    if function is None:
        return sympy.Function(name)(*parts)
    return function(*parts)
