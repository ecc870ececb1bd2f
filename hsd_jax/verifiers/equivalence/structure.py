"""Compares answers part by part: lists, tuples, intervals, sets, unions, relations; the parts by a given rule.

The rule for parts is an argument: the parent passes one that knows only spelling and exact numbers and raises
NeedsAlgebra for the rest, a worker passes one that knows algebra.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from hsd_jax.verifiers.equivalence import rational
from hsd_jax.verifiers.equivalence.normalization import compact
from hsd_jax.verifiers.equivalence.relations import (
    CLOSING,
    FLIPPED,
    OPENING,
    as_interval,
    is_name,
    plus_minus,
    reals_as_intervals,
    relations,
    without_point,
)
from hsd_jax.verifiers.equivalence.wording import same_choice

PartRule = Callable[[str, str], bool]
MOST_PARTS = 64


class NeedsAlgebra(Exception):
    """A part can be decided neither by its spelling nor as exact numbers."""


class Shape(NamedTuple):
    """The outermost form of an answer: `kind` leaf, list, tuple or set; `brackets` of a tuple; its parts."""

    kind: str
    brackets: str
    parts: tuple[str, ...]
    ordered: bool


def equal(gold: str, given: str, same_part: PartRule) -> bool:
    """Whether two normalised answers are the same, part by part.

    Tuples and intervals keep their order and brackets, sets and alternatives ("a or b") have none; a bare comma
    list of three or more numbers keeps the order of the gold answer.

    Raises:
        NeedsAlgebra: the part rule could not decide.
    """
    if compact(gold) == compact(given) or rational.same_decimal_comma(gold, given) or same_choice(gold, given):
        return True
    numbers = rational.read(gold), rational.read(given)
    if numbers[0] is not None and numbers[1] is not None:
        return rational.same(numbers[0], numbers[1])
    gold, given = (reals_as_intervals(side) for side in _aligned(gold, given))
    gold_shape, given_shape = shape(gold), shape(given)
    if max(len(gold_shape.parts), len(given_shape.parts)) > MOST_PARTS:
        return False
    if gold_shape.kind == "leaf" and given_shape.kind == "leaf":
        return _same_leaf(gold, given, same_part)
    return _same_parts(gold_shape, given_shape, same_part)


def _aligned(gold: str, given: str) -> tuple[str, str]:
    """Both sides without the name of what they state, inequalities as intervals where the other side is one."""
    if _other_variable(gold, given):
        return gold, given
    gold, given = without_point(gold, given), without_point(given, gold)
    bare_gold, bare_given = _without_name(gold, trusted=True), _without_name(given, trusted=False)
    signs = [relations(text)[1] for text in (bare_gold, bare_given)]
    if "=" in signs[0] and "=" not in signs[1] or signs[1] == ["="] and "=" not in signs[0] and bare_gold != gold:
        return gold, given
    chains = [relations(text) for text in (bare_gold, bare_given)]
    if bool(chains[0][1]) == bool(chains[1][1]):
        return bare_gold, bare_given
    return as_interval(*chains[0]) or bare_gold, as_interval(*chains[1]) or bare_given


def _other_variable(gold: str, given: str) -> bool:
    """Whether both sides give a value to a variable, and not to the same one."""
    assigned = [re.match(r"([A-Za-z])\s*=(?!.*=)", side) for side in (gold, given)]
    return all(assigned) and len({match.group(1) for match in assigned if match}) == 2


def _same_parts(gold: Shape, given: Shape, same_part: PartRule) -> bool:
    if not gold.ordered:
        gold, given = _distinct(gold), _distinct(given) if not given.ordered else given
    if not _comparable(gold, given) or len(gold.parts) != len(given.parts):
        return False
    if "tuple" in (gold.kind, given.kind) or (gold.ordered and given.ordered):
        return all(equal(left, right, same_part) for left, right in zip(gold.parts, given.parts, strict=True))
    return _same_multiset(gold.parts, given.parts, same_part)


def _comparable(gold: Shape, given: Shape) -> bool:
    kinds = {gold.kind, given.kind}
    if kinds == {"tuple"}:
        return gold.brackets == given.brackets
    if kinds == {"tuple", "list"}:
        named = all("=" in part for part in gold.parts)
        return "()" in (gold.brackets, given.brackets) and (gold.kind == "tuple" or named)
    return kinds <= {"set", "list"} or ("leaf" in kinds and len(gold.parts) == len(given.parts) == 1)


def _same_multiset(gold: tuple[str, ...], given: tuple[str, ...], same_part: PartRule) -> bool:
    remaining = list(given)
    for part in gold:
        exact = [other for other in remaining if compact(other) == compact(part)]
        match = exact or [other for other in remaining if equal(part, other, same_part)]
        if not match:
            return False
        remaining.remove(match[0])
    return True


def _distinct(shape: Shape) -> Shape:
    return shape._replace(parts=tuple({compact(part): part for part in shape.parts}.values()))


def shape(text: str) -> Shape:
    """The outermost form of a normalised answer."""
    text = text.strip()
    alternatives = [part for also in _split(text, "\\also") for part in _split(also, "\\cup") if part]
    groups = [_split_list(part) for part in alternatives]
    # "p = 5, q = 2 or p = 7, q = 2" are two solutions, not four values
    together = len(groups) > 1 and all(len(group) > 1 and all("=" in piece for piece in group) for group in groups)
    parts = alternatives if together else [piece for group in groups for piece in group]
    parts = [piece for part in parts for piece in plus_minus(part)]
    if len(parts) > 1:
        marked = len(alternatives) > 1 or "\\pm" in text or any("=" in part or part[:1] in "([" for part in parts)
        ordered = not marked and len(parts) > 2
        return Shape("list", "", tuple(parts), ordered)
    inside, brackets = _bracketed(text)
    if brackets in ("{}", "\\{\\}"):
        if brackets == "{}":
            return shape(inside)
        members = tuple(piece for part in _split_list(inside) for piece in plus_minus(part) if piece)
        return Shape("set", brackets, members, False)
    if brackets:
        members = tuple(_split_list(inside))
        if len(members) > 1:
            return Shape("tuple", brackets, members, True)
        if brackets == "()" and inside:
            return shape(inside)
    return Shape("leaf", "", (text,), True)


def _split_list(text: str) -> list[str]:
    pieces = _split(text, ";")
    if len(pieces) == 1:
        thousands = re.fullmatch(r"[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?", text.strip())
        pieces = [text] if thousands else _split(text, ",")
    return [piece.strip() for piece in pieces if piece.strip()]


def _split(text: str, separator: str) -> list[str]:
    parts, depth, start, index = [], 0, 0, 0
    while index < len(text):
        if text.startswith("\\begin", index):
            depth += 1
        elif text.startswith("\\end", index):
            depth -= 1
        elif text[index] in OPENING:
            depth += 1
        elif text[index] in CLOSING:
            depth -= 1
        elif depth == 0 and text.startswith(separator, index):
            parts.append(text[start:index].strip())
            index += len(separator)
            start = index
            continue
        index += 2 if text[index] == "\\" and text[index + 1 : index + 2] not in ("{", "}", "b", "e") else 1
    return [*parts, text[start:].strip()]


def _bracketed(text: str) -> tuple[str, str]:
    """Inside and brackets of a text that is wholly inside one pair, else ("", "")."""
    skip = 1 if text.startswith("\\{") else 0
    if len(text) < 2 + 2 * skip or text[skip] not in OPENING or text[-1] not in CLOSING:
        return "", ""
    depth = 0
    for index in range(skip, len(text)):
        depth += (text[index] in OPENING) - (text[index] in CLOSING)
        if depth == 0 and index < len(text) - 1:
            return "", ""
    if depth:
        return "", ""
    end = len(text) - 1 - skip
    brackets = text[: skip + 1] + text[end:]
    return (text[skip + 1 : end].strip(), brackets) if skip == 0 or brackets == "\\{\\}" else ("", "")


def _without_name(text: str, *, trusted: bool) -> str:
    """`x = 5` and `x \\in A` without their name. A trusted chain ends in its value, any other chain stays."""
    members, signs = relations(text)
    if not signs or "\\also" in text or "," in members[0] and not members[0].startswith("("):
        return text
    if len(signs) == 1 and signs[0] in ("=", "\\in", "\\approx") and is_name(members[0]):
        return " \\also ".join(_split_list(members[1]))
    if trusted and signs[-1] == "\\approx" and set(signs[:-1]) <= {"="}:
        return members[-2]
    if trusted and len(signs) > 1 and set(signs) <= {"="} and "," not in text:
        return members[-1]
    return text


def _same_leaf(gold: str, given: str, same_part: PartRule) -> bool:
    gold_members, gold_signs = relations(gold)
    members, signs = relations(given)
    if not gold_signs and not signs:
        return same_part(gold, given)
    if gold_signs and signs:
        return _same_relation((gold_members, gold_signs), (members, signs), same_part)
    if gold_signs:
        return False
    return _chain_gives(members, signs, gold, same_part)


def _chain_gives(members: list[str], signs: list[str], gold: str, same_part: PartRule) -> bool:
    """A chain states one value: all members but a leading name agree. `e \\approx d` states e, or d if they agree."""
    values = members[1:] if is_name(members[0]) and len(members) > 2 else members
    if set(signs) <= {"=", "\\approx"} and signs[-1] == "\\approx" and len(values) == 2:
        return same_part(gold, values[0])
    if set(signs) != {"="} or len(values) < 2:
        return False
    return all(same_part(gold, value) for value in values)


Chain = tuple[list[str], list[str]]


def _same_relation(gold: Chain, given: Chain, same_part: PartRule) -> bool:
    for members, signs in (given, ([*reversed(given[0])], [FLIPPED.get(s, "") for s in reversed(given[1])])):
        if signs == gold[1] and len(members) == len(gold[0]):
            if all(compact(a) == compact(b) for a, b in zip(gold[0], members, strict=True)):
                return True
    if len(gold[1]) == len(given[1]) == 1:
        joined = [f"{members[0]} {signs[0]} {members[1]}" for members, signs in (gold, given)]
        return same_part(joined[0], joined[1])
    if len(gold[1]) == len(given[1]) == 2:
        flipped = ([*reversed(given[0])], [FLIPPED.get(sign, "") for sign in reversed(given[1])])
        return any(
            signs == gold[1] and all(same_part(a, b) for a, b in zip(gold[0], members, strict=True))
            for members, signs in (given, flipped)
        )
    return False
