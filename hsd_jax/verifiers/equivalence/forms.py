"""What trees mean: exact numbers, names of values, intervals behind inequalities, the values behind plus or minus."""

from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

from hsd_jax.verifiers.equivalence.trees import Tree, spelled

CONSTANTS = frozenset(["\\pi", "e", "i", "\\infty", "\\dots"])
INFINITY: Tree = ("sym", "\\infty")
REALS: Tree = ("sym", "\\mathbb{R}")
INTEGERS: Tree = ("sym", "\\mathbb{Z}")
FLIPPED = {"<": ">", ">": "<", "\\leq": "\\geq", "\\geq": "\\leq"}
LARGEST_POWER = 400


class Number(NamedTuple):
    """An exact value; `decimals` digits stood behind its point (-1: not written as a decimal)."""

    value: Fraction
    decimals: int = -1
    percent: bool = False


def nodes(tree: Tree) -> Iterator[Tree]:
    """The tree and all trees in it."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node[0], str):
            yield node
        waiting += [part for part in node if isinstance(part, tuple) and part]


def symbols(tree: Tree) -> set[str]:
    """The free names of a tree."""
    return {node[1] for node in nodes(tree) if node[0] == "sym" and node[1] not in CONSTANTS}


def number(tree: Tree) -> Number | None:
    """The number a tree writes out: digits, a fraction, a power of ten, a percentage; None where work is left."""
    sort = tree[0]
    if sort == "num":
        return Number(tree[1], tree[2])
    if sort == "neg" or sort == "%":
        inner = number(tree[1])
        if inner is None or inner.percent and sort == "%" or tree[1][0] == "neg" == sort:
            return None
        return inner._replace(value=-inner.value) if sort == "neg" else inner._replace(percent=True)
    if sort == "/":
        above, below = _digits(tree[1]), _digits(tree[2])
        return Number(above / below) if above is not None and below else None
    if sort == "^" and tree[1] == ("num", Fraction(10), -1):
        power = _digits(tree[2])
        return (
            Number(Fraction(10) ** int(power))
            if power and power.denominator == 1 and abs(power) <= LARGEST_POWER
            else None
        )
    if sort == "*" and len(tree) == 3 and tree[1][0] == "num" and tree[2][0] == "^":
        power_of_ten = number(tree[2])
        return Number(tree[1][1] * power_of_ten.value) if power_of_ten else None
    return None


def _digits(tree: Tree) -> Fraction | None:
    if tree[0] == "neg":
        inner = _digits(tree[1])
        return None if inner is None else -inner
    return tree[1] if tree[0] == "num" else None


def last_place(stated: Number | None) -> Fraction | None:
    """The unit of the last digit a number states: 1/100 of 3.14, 1 of 99, 100 of 1,200; None where it writes none."""
    if stated is None or stated.value == 0 or stated.decimals < 0 and stated.value.denominator > 1:
        return None
    digits = str(abs(stated.value.numerator))
    return Fraction(10) ** (-stated.decimals if stated.decimals > 0 else len(digits) - len(digits.rstrip("0")))


def same_number(gold: Number, given: Number) -> bool:
    """Whether two numbers state the same value.

    Exactly, except that a decimal may stand for a fraction it cannot write out: the reference's decimal to a relative
    1e-6, a given one to floating point (1e-12). A sign of percent on one side may be left out, or written out as
    hundredths; one that is added to a fraction counts.
    """
    if gold.percent == given.percent:
        return _close(gold, given)
    if given.percent and gold.decimals < 0 and gold.value.denominator > 1:
        return gold.value == given.value / 100
    # 28 and 28% may be the same answer, 0.28 and 0.28% are not
    if (gold.percent or abs(gold.value) > 1) and _close(gold._replace(percent=False), given._replace(percent=False)):
        return True
    if given.percent and abs(gold.value) > 1:
        return False
    return gold.value / (100 if gold.percent else 1) == given.value / (100 if given.percent else 1)


def _close(gold: Number, given: Number) -> bool:
    if gold.value == given.value:
        return True
    difference = abs(gold.value - given.value)
    if abs(gold.value) >= 10**6:  # a tolerance relative to a huge value would pay its neighbors
        return False
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


def is_name(tree: Tree, value: Tree = REALS) -> bool:
    """Whether a tree only names the `value` stated beside it: `x`, `f(2)`, `AB`, `|AB|`, `\\angle ABC`, `m+n`.

    A name with an operation on it, `x^{-1}`, `2x`, `|x|`, names something else.
    """
    sort, rest = tree[0], tree[1:]
    if sort in ("sym", "call", "opaque"):
        return tree[1] not in CONSTANTS and tree not in (REALS, INTEGERS)
    if sort == "*":
        inverse = (
            rest[0][0] == "^"
            and rest[0][1] in (("sym", "f"), ("sym", "g"), ("sym", "h"))
            and rest[0][2] == ("neg", ("num", Fraction(1), -1))
        )
        counted = (
            len(rest) == 2 and rest[0][0] == "sym" and (rest[1][0] in ("cup", "cap") or spelled(rest[1]).isupper())
        )
        applied = (
            counted or len(rest) == 2 and (rest[1][0] == "num" or rest[1][0] == "sym" and rest[1][1] in symbols(value))
        )
        return _segment(tree) or applied and (inverse or rest[0][0] == "sym" and rest[0][1] not in CONSTANTS)
    if sort == "fn":
        return tree[1] in ("abs", "norm", "overline") and (_segment(tree[2]) or tree[2][0] in ("cup", "cap"))
    if sort == "/":
        return _segment(tree[1]) and _segment(tree[2])
    if sort in ("group", "ratio"):
        letters = [part[1] for part in rest if isinstance(part, tuple)]
        if set(letters) <= set("xyz") and letters != sorted(letters):
            return False
        return all(is_name(part) for part in rest if isinstance(part, tuple))
    if sort == "^":
        return tree[1][0] == "sym" and tree[1][1].isupper() and tree[2] == ("neg", ("num", Fraction(1), -1))
    return (
        sort == "+"
        and all(part[0] in ("sym", "call") or _segment(part) for part in rest)
        and len(set(rest)) == len(rest)
    )


def _segment(tree: Tree) -> bool:
    return tree[0] == "*" and len(tree) <= 5 and all(part[0] == "sym" and part[1][:1].isupper() for part in tree[1:])


def values(tree: Tree) -> list[Tree]:
    """The two values a sign of plus or minus stands for; a tree without one as it is."""
    if not any(node[0] in ("pm", "mp") for node in nodes(tree)):
        return [tree]
    return [_signed(tree, "pm"), _signed(tree, "mp")]


def _signed(tree: Tree, positive: str) -> Tree:
    parts = tuple(
        _signed(part, positive) if isinstance(part, tuple) and part and isinstance(part[0], str) else part
        for part in tree
    )
    if tree[0] not in ("pm", "mp"):
        return parts
    last = parts[-1] if tree[0] == positive else ("neg", parts[-1])
    return last if len(parts) == 2 else ("+", parts[1], last)


Interval = tuple[str, Tree, Tree]  # brackets, from, to


class Region(NamedTuple):
    """A set of real numbers as intervals and points, and the name they were said of ("": none)."""

    name: str
    intervals: tuple[Interval, ...]


_EVERYWHERE: Interval = ("()", ("neg", INFINITY), INFINITY)


def region(tree: Tree) -> Region | None:
    """The intervals a tree describes: an inequality, a set builder, a union, the reals without points; else None."""
    sort = tree[0]
    if sort == "group" and len(tree) == 4 and set(tree[1]) <= set("()[]"):
        return Region("", (tree[1:],))
    if tree == REALS:
        return Region("", (_EVERYWHERE,))
    if sort == "builder":
        found = region(tree[2])
        domain = tree[1][0] == "sym" or tree[1][0] == "rel" and tree[1][1] == ("\\in",) and tree[1][3] == REALS
        return found._replace(name="") if found and domain else None
    if sort == "rel":
        return _inequality(tree)
    if sort == "+" and len(tree) == 3 and tree[1] == REALS and tree[2][0] == "neg":
        tree, sort = ("minus", REALS, tree[2][1]), "minus"
    if sort == "minus" and tree[2][0] == "set" and tree[1] == REALS:
        return Region("", _without(tree[2][1:]) or ())
    if sort == "cup" or sort == "list" and tree[1] == "\\or":
        return _union([region(part) for part in tree[1 if sort == "cup" else 2 :]])
    if sort == "list":
        return _both([region(part) for part in tree[2:]])
    return None


def _without(points: tuple[Tree, ...]) -> tuple[Interval, ...] | None:
    """The reals but some points, which must be numbers to be put in order if there are several."""
    keys = [number(point) for point in points]
    if len(points) > 1:
        if any(key is None for key in keys):
            return None
        points = tuple(
            point
            for _, point in sorted(
                zip([key.value for key in keys if key], points, strict=True), key=lambda pair: pair[0]
            )
        )
    edges = [("neg", INFINITY), *points, INFINITY]
    return tuple(("()", left, right) for left, right in zip(edges, edges[1:], strict=False))


def _union(parts: list[Region | None]) -> Region | None:
    regions = [part for part in parts if part]
    if len(regions) < len(parts) or len({part.name for part in regions}) > 1:
        return None
    return Region(regions[0].name, tuple(interval for part in regions for interval in part.intervals))


def _both(parts: list[Region | None]) -> Region | None:
    """`x > 1 \\text{ and } x < 5`: a bound from below and one from above."""
    if len(parts) != 2 or not parts[0] or not parts[1] or parts[0].name != parts[1].name or not parts[0].name:
        return None
    below, above = sorted(parts, key=lambda part: part.intervals[0][1] == _EVERYWHERE[1] if part else False)
    if below is None or above is None or len(below.intervals) + len(above.intervals) > 2:
        return None
    (left, low, top), (right, bottom, high) = below.intervals[0], above.intervals[0]
    return (
        Region(below.name, ((left[0] + right[1], low, high),)) if (top, bottom) == (INFINITY, _EVERYWHERE[1]) else None
    )


def _inequality(tree: Tree) -> Region | None:
    signs, members = tree[1], tree[2:]
    if len(signs) == 1 and not _bounded(members[0]) and _bounded(members[1]) and signs[0] in FLIPPED:
        signs, members = (FLIPPED[signs[0]],), members[::-1]
    if len(signs) == 2 and set(signs) <= {">", "\\geq"}:
        signs, members = tuple(FLIPPED[sign] for sign in reversed(signs)), members[::-1]
    if len(signs) == 2 and set(signs) <= {"<", "\\leq"} and _bounded(members[1]):
        brackets = ("(" if signs[0] == "<" else "[") + (")" if signs[1] == "<" else "]")
        if members[1][0] == "fn":
            mirrored = brackets[::-1].translate(str.maketrans("()[]", ")(]["))
            return Region(
                spelled(members[1][2]),
                ((mirrored, ("neg", members[2]), ("neg", members[0])), (brackets, members[0], members[2])),
            )
        return Region(spelled(members[1]), ((brackets, members[0], members[2]),))
    if len(signs) != 1 or not _bounded(members[0]):
        return None
    name, bound = spelled(members[0]), members[1]
    if signs[0] == "\\in":
        inner = region(bound)
        return inner._replace(name=name) if inner else None
    if signs[0] == "\\neq":
        return Region(name, _without((bound,)) or ())
    if signs[0] not in FLIPPED:
        return None
    closed, less = signs[0] in ("\\leq", "\\geq"), signs[0] in ("<", "\\leq")
    if members[0][0] == "fn":
        around: tuple[Interval, ...] = (("[]" if closed else "()", ("neg", bound), bound),)
        outside = (
            ("(]" if closed else "()", ("neg", INFINITY), ("neg", bound)),
            ("[)" if closed else "()", bound, INFINITY),
        )
        return Region(spelled(members[0][2]), around if less else outside)
    interval = (
        ("(]" if closed else "()", ("neg", INFINITY), bound) if less else ("[)" if closed else "()", bound, INFINITY)
    )
    return Region(name, (interval,))


def _bounded(tree: Tree) -> bool:
    """Whether an inequality may be read as a set of this: a name, or the modulus of one."""
    return (
        tree[0] == "sym"
        and tree[1] not in CONSTANTS
        and tree not in (REALS, INTEGERS)
        or tree[0] == "call"
        or tree[0] == "fn"
        and tree[1] == "abs"
        and tree[2][0] == "sym"
    )
