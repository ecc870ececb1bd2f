"""Compares two trees part by part; the values in them by a given rule.

The rule is an argument: the caller's process passes one that knows only numbers written out and raises NeedsAlgebra
for the rest, a worker passes one that knows algebra. A rule takes two values and a manner: `answer` (equal, and
worked out as far as the reference), `value` (equal), `near` (the given one may be a rounding: within a hundredth and
less than one unit of its last written place) or `relation` (two relations).
"""

import itertools
from collections.abc import Callable

from hsd_jax.verifiers.equivalence import policy
from hsd_jax.verifiers.equivalence.forms import (
    INFINITY,
    INTEGERS,
    Region,
    is_name,
    last_place,
    nodes,
    number,
    region,
    same_number,
    symbols,
    values,
)
from hsd_jax.verifiers.equivalence.trees import Tree, spelled

Rule = Callable[[Tree, Tree, str], bool]
MOST_PARTS = 64
_LOOSE = ("list", "set")


class NeedsAlgebra(Exception):
    """Two values can be decided neither by their spelling nor as numbers written out."""


def easy(gold: Tree, given: Tree, manner: str) -> bool:
    """The rule that needs no algebra. Raises: NeedsAlgebra."""
    numbers = number(gold), number(given)
    if numbers[0] is not None and numbers[1] is not None:
        if manner == "near":
            off, place = abs(numbers[0].value - numbers[1].value), last_place(numbers[1])
            return off * 100 <= abs(numbers[0].value) and (place is None or off < place)
        done = manner != "answer" or policy.finished(gold, given)
        return done and same_number(numbers[0], numbers[1])
    if manner == "answer" and not policy.finished(gold, given):
        return False
    raise NeedsAlgebra


def equal(gold: Tree, given: Tree, same: Rule, manner: str = "answer") -> bool:
    """Whether two answers are the same, part by part.

    Tuples and intervals keep order and brackets, sets and alternatives have no order; a bare list of three or more
    values keeps the order of the reference. What a value is called, or measured in, counts where both sides say it.

    Raises:
        NeedsAlgebra: the rule could not decide.
    """
    if gold == given:
        return True
    gold, given = _without_parameter(gold), _without_parameter(given)
    gold, given = _without_point(gold, given), _without_point(given, gold)
    if "quantity" in (gold[0], given[0]):
        return _same_quantity(gold, given, same, manner)
    if "ratio" in (gold[0], given[0]):
        return _same_ratio(gold, given, same, manner)
    percents = [sum(node[0] == "%" for node in nodes(tree)) for tree in (gold, given)]
    several = given[0] in (*_LOOSE, "group")
    if several and percents[0] != percents[1] and not set(percents) <= {0, len(_parts(given))}:  # 1, 2% is not 1, 2
        return False
    named = _same_named(gold, given, same, manner)
    if named is not None:
        return named
    regions = region(gold), region(given)
    if regions[0] and regions[1]:
        return _same_region(regions[0], regions[1], same)
    if gold[0] == given[0] and gold[0] in ("cup", "cap"):
        return _any_order(list(gold[1:]), list(given[1:]), same, manner)
    if "rel" in (gold[0], given[0]):
        return gold[0] == given[0] == "rel" and _same_relation(gold, given, same)
    if gold[0] in _LOOSE or given[0] in _LOOSE or gold[0] in ("group", "matrix") or given[0] in ("group", "matrix"):
        return _same_parts(gold, given, same, manner)
    expanded = values(gold), values(given)
    if len(expanded[0]) > 1 or len(expanded[1]) > 1:
        return len(expanded[0]) == len(expanded[1]) and _any_order(expanded[0], expanded[1], same, manner)
    if any(INFINITY in nodes(tree) for tree in (gold, given)):
        return False
    return same(gold, given, manner)


def _without_point(tree: Tree, other: Tree) -> Tree:
    """The coordinates of a labelled point, `A(1, 2)`, where the other side has no label."""
    label = tree[1] if tree[0] == "call" else tree[1][1] if tree[0] == "*" and tree[1][0] == "sym" else ""
    labelled = label.isupper() and len(tree) == 3 and tree[2][0] == "group"
    return tree[2] if labelled and other[0] == "group" else tree


def _without_parameter(tree: Tree) -> Tree:
    """`x = \\pi k, k \\in \\mathbb{Z}` without the clause, its parameter under a name that all such answers share."""
    if tree[0] != "list":
        return tree
    names = {part[2] for part in tree[2:] if part[0] == "rel" and part[1] == ("\\in",) and part[3] == INTEGERS}
    rest = [part for part in tree[2:] if not (part[0] == "rel" and part[1] == ("\\in",) and part[3] == INTEGERS)]
    if len(names) != 1 or not rest or not any(names <= set(nodes(part)) for part in rest):
        return tree
    name = names.pop()
    rest = [_replaced(part, name, ("sym", "integer")) for part in rest]
    return rest[0] if len(rest) == 1 else ("list", tree[1], *rest)


def _replaced(tree: Tree, old: Tree, new: Tree) -> Tree:
    if tree == old:
        return new
    return tuple(_replaced(part, old, new) if isinstance(part, tuple) else part for part in tree)


def _same_quantity(gold: Tree, given: Tree, same: Rule, manner: str) -> bool:
    """Values with units: the same units where both sides have one. A minute or second of arc never goes unsaid."""
    sides = [tree[1:] if tree[0] == "quantity" else ((tree, ""),) for tree in (gold, given)]
    if len(sides[0]) != len(sides[1]):
        return False
    for (value, unit), (other, said) in zip(*sides, strict=True):
        if unit != said and (unit and said or said.startswith("'")):
            return False
        if (unit or said) and "%" in (value[0], other[0]):
            return False
        if not equal(value, other, same, manner):
            return False
    return True


def _same_ratio(gold: Tree, given: Tree, same: Rule, manner: str) -> bool:
    """`3:4` is also written as the fraction of the same numbers."""
    sides = [tree[1:] if tree[0] in ("ratio", "/") else () for tree in (gold, given)]
    return len(sides[0]) == len(sides[1]) > 1 and all(equal(a, b, same, manner) for a, b in zip(*sides, strict=True))


def _split(tree: Tree, *, trusted: bool) -> tuple[Tree | None, list[Tree]] | None:
    """Name (or None) and stated values of `x = 5`, `5 = x`, `x = 2+3 = 5`, `x \\in S`; None for a true relation."""
    if tree[0] != "rel":
        return None, [tree]
    signs, members = list(tree[1]), list(tree[2:])
    if len(signs) == 1 and signs[0] == "=" and is_name(members[1]) and not is_name(members[0], members[1]):
        members.reverse()
    head = members[0]
    named = is_name(head, members[-1]) and not (symbols(head) & symbols(members[-1]) and head[0] in ("sym", "+"))
    if signs == ["\\in"] and named and region(tree) is None:
        return head, members[1:]
    if not set(signs) <= {"=", "\\approx"} or "\\approx" in signs[:-1]:
        return None
    if not named and (trusted or symbols(head)) and len(signs) == 1 and symbols(tree):
        return None
    return (head, members[1:]) if named else (None, members)


def _same_named(gold: Tree, given: Tree, same: Rule, manner: str) -> bool | None:
    """Verdict where the reference is a value, named or not, and the answer states one at the end of a chain."""
    if gold[0] != "rel" and given[0] != "rel":
        return None
    wanted, stated = _split(gold, trusted=True), _split(given, trusted=False)
    if wanted is None:
        return None
    if stated is None:  # x = 5 is not yet said by 2x = 10
        return False if wanted[0] and not symbols(wanted[1][-1]) and region(gold) is None else None
    (gold_name, gold_values), (given_name, given_values) = wanted, stated
    if gold_name and given_name and spelled(gold_name) != spelled(given_name):
        return None if gold[0] == given[0] == "rel" and symbols(gold_values[-1]) else False
    if not gold_name and len(gold_values) > 1 and symbols(gold_values[0]):
        return None
    value = (
        gold_values[-2] if gold[0] == "rel" and gold[1][-1] == "\\approx" and len(gold_values) > 1 else gold_values[-1]
    )
    if given_name is None and len(given_values) > 1 and symbols(given_values[0]) - symbols(value):
        return False
    rounded = given[0] == "rel" and given[1][-1] == "\\approx" and len(given_values) > 1
    *steps, last = given_values
    if rounded:
        return _final(value, [*steps[:-1]], steps[-1], same, manner) and (equal(value, last, same, "near"))
    return _final(value, steps, last, same, manner)


def _final(value: Tree, steps: list[Tree], last: Tree, same: Rule, manner: str) -> bool:
    """Whether a chain ends in the value; what stands before may be a formula, but no other number."""
    if not equal(value, last, same, manner):
        return False
    return all(
        symbols(step) - symbols(value) or step[0] == "opaque" or equal(value, step, same, "value") for step in steps
    )


def _same_region(gold: Region, given: Region, same: Rule) -> bool:
    if gold.name and given.name and gold.name != given.name or len(gold.intervals) != len(given.intervals):
        return False
    return any(
        all(
            a[0] == b[0] and equal(a[1], b[1], same) and equal(a[2], b[2], same)
            for a, b in zip(gold.intervals, order, strict=True)
        )
        for order in itertools.islice(itertools.permutations(given.intervals), 24)
    )


def _same_relation(gold: Tree, given: Tree, same: Rule) -> bool:
    if not policy.admitted(gold, given) or len(gold[1]) != len(given[1]):
        return False
    if len(gold[1]) == 1:
        return same(gold, given, "relation")
    return gold[1] == given[1] and all(equal(a, b, same) for a, b in zip(gold[2:], given[2:], strict=True))


def _parts(tree: Tree) -> list[Tree]:
    parts = list(tree[2:] if tree[0] in ("list", "group") else tree[1:] if tree[0] == "set" else (tree,))
    return [value for part in parts for value in (values(part) if part[0] != "rel" else [part])]


def _same_parts(gold: Tree, given: Tree, same: Rule, manner: str) -> bool:
    if "matrix" in (gold[0], given[0]):
        return gold[0] == given[0] and _same_matrix(gold, given, same, manner)
    named = _names(gold), _names(given)
    if named[0] and named[1] and named[0] != named[1]:
        return False
    gold, given = _one_name(gold), _one_name(given)
    parts = _parts(gold), _parts(given)
    kinds = {gold[0], given[0]}
    assigned = [all(part[0] == "rel" for part in side) and len(side) > 1 for side in parts]
    if "group" in kinds:
        parts = _by_name(parts[0]), _by_name(parts[1])
        alike = kinds == {"group"} and gold[1] == given[1] or kinds == {"group", "list"} and any(assigned)
        brackets = (gold if gold[0] == "group" else given)[1]
        return alike and (kinds == {"group"} or brackets == "()") and _in_order(*parts, same, manner)
    if gold[0] == given[0] == "list" and {gold[1], given[1]} == {"\\and", "\\or"}:
        return False
    if assigned[0] and not assigned[1] and gold[1] == ",":
        return _in_order(*parts, same, manner)
    marked = any(tree[0] == "set" or tree[0] == "list" and tree[1] != "," for tree in (gold, given))
    plain = all(part[0] not in ("rel", "group") for part in parts[0]) and gold[0] == "list" and len(gold) > 4
    if plain and not marked:
        return _in_order(*parts, same, manner)
    return _any_order(
        _distinct(parts[0]), parts[1] if given[0] == "list" and not marked else _distinct(parts[1]), same, manner
    )


def _names(tree: Tree) -> set[str]:
    """What the values of a list are called, `x` for `x_1 = 3, x_2 = 5` too."""
    return {spelled(part[2]).split("_")[0] for part in _parts(tree) if part[0] == "rel" and part[1][0] == "="}


def _by_name(parts: list[Tree]) -> list[Tree]:
    """Named coordinates in the order of x, y and z, which `y = 2, x = 1` does not change."""
    heads = [part[2][1] if part[0] == "rel" and part[2][0] == "sym" else "" for part in parts]
    return sorted(parts, key=lambda part: part[2][1]) if set(heads) <= set("xyz") else parts


def _one_name(tree: Tree) -> Tree:
    """`x = 1, -8, -10` and `x = 1 \\text{ or } x = 2` as the values of one name, in no order."""
    if tree[0] != "list":
        return tree
    heads = {part[2] for part in tree[2:] if part[0] == "rel"}
    relations = [part for part in tree[2:] if part[0] == "rel"]
    named = all(part[1] == ("=",) and is_name(part[2]) for part in relations)
    if len(heads) != 1 or not named or tree[2][0] != "rel" or len(relations) not in (1, len(tree) - 2):
        return tree
    return (
        "list",
        "any" if tree[1] == "," else tree[1],
        *(part[-1] if part[0] == "rel" else part for part in tree[2:]),
    )


def _same_matrix(gold: Tree, given: Tree, same: Rule, manner: str) -> bool:
    if [len(row) for row in gold[1:]] != [len(row) for row in given[1:]]:
        return False
    cells = zip(itertools.chain(*gold[1:]), itertools.chain(*given[1:]), strict=True)
    return all(equal(a, b, same, manner) for a, b in cells)


def _distinct(parts: list[Tree]) -> list[Tree]:
    return list(dict.fromkeys(parts))


def _in_order(gold: list[Tree], given: list[Tree], same: Rule, manner: str) -> bool:
    return len(gold) == len(given) <= MOST_PARTS and all(
        equal(a, b, same, manner) for a, b in zip(gold, given, strict=True)
    )


def _any_order(gold: list[Tree], given: list[Tree], same: Rule, manner: str) -> bool:
    if len(gold) != len(given) or len(gold) > MOST_PARTS:
        return False
    remaining = list(given)
    for part in gold:
        match = (
            part
            if part in remaining
            else next((other for other in remaining if equal(part, other, same, manner)), None)
        )
        if match is None:
            return False
        remaining.remove(match)
    return True
