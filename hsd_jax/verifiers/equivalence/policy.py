"""What counts as an answer, decided from the reference: how far an expression has to be worked out.

reference                              an answer must be
    number written out, 7 or \frac34       a number written out: no operation but a fraction, percentage, power of ten
other value, 2\\sqrt3 or 10!            without operations that the reference has not, worked out as far as it
product with a sum, (x-2)(x+2)         a product with the same factors
other expression, x^2+1                without operations that the reference has not, no more terms, no more fractions
relation                               in the reference's symbols, without operations that it has not
"""

from fractions import Fraction

from hsd_jax.verifiers.equivalence.forms import nodes, number, symbols
from hsd_jax.verifiers.equivalence.trees import Tree

_TRIGONOMETRY = frozenset("sin cos tan cot sec csc".split())
_CLASSES = {name: "trigonometry" for name in _TRIGONOMETRY} | {
    "log": "logarithm",
    "ln": "logarithm",
    "!": "counting",
    "binom": "counting",
}
ROUNDED = 6  # a reference with as many decimals may stand for a value that they cannot write out


def finished(gold: Tree, given: Tree) -> bool:
    """Whether an answer is worked out as far as the reference."""
    exact = number(gold)
    if exact is not None and exact.decimals < ROUNDED:
        return number(given) is not None and (exact.percent or _divided(gold, given))
    if number(given) is not None:
        return True
    if not operations(given) <= operations(gold) or not symbols(given) <= symbols(gold):
        return False
    if _arithmetic(given) and not _arithmetic(gold):
        return False
    if not symbols(gold):
        return _terms(given) <= _terms(gold) and (not _power_of_sum(given) or _power_of_sum(gold))
    if factors(gold):
        return factors(given) is not None
    if operations(gold):
        return True
    if _expanded(gold) and not _expanded(given) and (given[0] == "+" or _divides(given, numbers=True)):
        return False  # 3(x+2)+1 is neither a sum like 3x+7 nor a product
    return _terms(given) <= _terms(gold) and (not _divides(given) or _divides(gold))


def _divided(gold: Tree, given: Tree) -> bool:
    """Whether no division is left to be done: `12/2` is not yet 6, nor `0.7/1.2` yet 7/12; `6/8` is 3/4."""
    given = given[1] if given[0] == "neg" else given
    if given[0] != "/":
        return True
    wanted, *parts = map(number, (gold, *given[1:]))
    whole = all(part is not None and part.value.denominator == 1 for part in parts)
    return whole and wanted is not None and wanted.value.denominator > 1


def admitted(gold: Tree, given: Tree) -> bool:
    """Whether a relation uses nothing that the reference does not."""
    return operations(given) <= operations(gold) and symbols(given) <= symbols(gold)


def operations(tree: Tree) -> set[str]:
    """The classes of operations that leave work to be done: functions, sums and limits, counting."""
    found = {_CLASSES.get(node[1]) or str(node[1]) for node in nodes(tree) if node[0] == "fn" and node[1] != "exp"}
    return found | {node[0] for node in nodes(tree) if node[0] in ("call", "opaque", "base", "deg")}


def factors(tree: Tree) -> list[Tree] | None:
    """The factors with symbols of a product that holds a sum, powers written out; None for any other expression."""
    if tree[0] == "neg":
        return factors(tree[1])
    parts = list(tree[1:]) if tree[0] == "*" else [tree]
    found: list[Tree] = []
    for part in parts:
        power = part[2] if part[0] == "^" else None
        whole = power is not None and power[0] == "num" and power[1].denominator == 1 and power[1] <= 12
        found += [part[1]] * int(power[1]) if power and whole else [part] if symbols(part) else []
    single = len(parts) == 1 and tree[0] != "^"
    holds_sum = any(part[0] == "+" and symbols(part) for part in found)
    polynomial = not any(_divides(part) for part in found)
    return found if holds_sum and polynomial and not single else None


def _terms(tree: Tree) -> int:
    return max((len(node) - 1 for node in nodes(tree) if node[0] == "+"), default=1)


def _arithmetic(tree: Tree) -> bool:
    """Whether numbers are left to be added, multiplied or raised: 2+3, 4 \\cdot 5, 2^{10}, i^2, \\sqrt{9}."""
    return any(_is_arithmetic(node) for node in nodes(tree))


def _is_arithmetic(node: Tree) -> bool:
    if node[0] in ("+", "*"):
        roots = sum(part[0] == "root" and number(part[1]) is not None for part in node[1:]) if node[0] == "*" else 0
        return roots > 1 or number(node) is None and sum(map(_counts, node[1:])) > 1
    if node[0] == "/":
        return number(node) is None and _counts(node[1]) and _counts(node[2])
    if node[0] == "^":
        power = number(node[2])
        whole = power is not None and power.value.denominator == 1 and abs(power.value) != 1
        raised = number(node[1]) is not None or node[1] == ("sym", "i") or node[1][0] == "root" and not symbols(node[1])
        return whole and number(node) is None and raised
    base = number(node[1]) if node[0] == "root" else None
    return base is not None and node[2][0] == "num" and _is_power(abs(base.value), int(node[2][1]))


def _counts(tree: Tree) -> bool:
    """Whether a tree is a number, perhaps one of counting: `7`, `6!`."""
    return number(tree) is not None or tree[0] == "fn" and _CLASSES.get(tree[1]) == "counting" and not symbols(tree)


def _is_power(value: Fraction, degree: int) -> bool:
    if degree < 1 or value > 10**30:
        return False
    return all(round(part ** (1 / degree)) ** degree == part for part in (value.numerator, value.denominator))


def _power_of_sum(tree: Tree) -> bool:
    """Whether a sum of numbers is raised to a whole power, (1 + i)^{10}."""
    return any(node[0] == "^" and node[1][0] == "+" and node[2][0] == "num" and node[2][1] > 1 for node in nodes(tree))


def _expanded(tree: Tree) -> bool:
    """Whether a tree is a sum of terms without sums and fractions."""
    inner = [node[0] for node in nodes(tree)]
    return tree[0] == "+" and inner.count("+") == 1 and "/" not in inner


def _divides(tree: Tree, *, numbers: bool = False) -> bool:
    """Whether anything is divided by a symbol, or by a number."""
    below = [node[2] for node in nodes(tree) if node[0] == "/"]
    below += [node[1] for node in nodes(tree) if node[0] == "^" and node[2][0] == "neg"]
    return any(symbols(part) or numbers for part in below)
