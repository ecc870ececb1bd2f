"""Chains of relations in normalised answers: their members, the name they give a value, the sets they describe."""

import re

from hsd_jax.verifiers.equivalence import rational
from hsd_jax.verifiers.equivalence.normalization import compact

OPENING, CLOSING = "([{", ")]}"
FLIPPED = {"<": ">", ">": "<", "\\leq": "\\geq", "\\geq": "\\leq", "=": "=", "\\neq": "\\neq"}
_RELATION = re.compile(r"\\leq|\\geq|\\neq|\\approx|\\equiv|\\in(?![a-zA-Z])|[=<>]")
_NAME = re.compile(
    r"[A-Za-z]+'?(?:_\{?[A-Za-z0-9,]+\}?)?(?:\^\{?(?:-1|\\prime|\*)\}?)?'?(?:\([A-Za-z0-9,]+\))?"
    r"|\\(?:angle|triangle)\s*[A-Za-z]+|\|[A-Za-z]+\||\\[a-z]+(?:_\{?\w+\}?)?|[A-Z]\([A-Za-z ]+\)"
    r"|\([A-Za-z](?:,[A-Za-z])+\)|[A-Za-z_{}0-9]+:[A-Za-z_{}0-9]+|\\frac\{[A-Z]+\}\{[A-Z]+\}"
)
_REALS = re.compile(r"\\mathbb\{R\}(?: *(?:\\setminus|\\backslash|-|/) *\\\{(.*)\\\})?")
_POINT = re.compile(r"[A-Z]'? *(?=\([^()]*,[^()]*\)$)")


def relations(text: str) -> tuple[list[str], list[str]]:
    """Members and relation signs of a chain, split outside all brackets."""
    members, signs, start = [], [], 0
    for match in _RELATION.finditer(text):
        before = text[: match.start()]
        depth = sum(before.count(character) for character in OPENING) - sum(before.count(c) for c in CLOSING)
        if depth == 0:
            members.append(text[start : match.start()].strip())
            signs.append(match.group())
            start = match.end()
    return [*members, text[start:].strip()], signs


def is_name(text: str) -> bool:
    """Whether a text only names a value: `x`, `f(x)`, `|AB|`, `(x, y)`, `a:b`."""
    return _NAME.fullmatch(compact(text)) is not None


def as_interval(members: list[str], signs: list[str]) -> str | None:
    """The interval an inequality in one name describes: `1 < x \\leq 2` is `(1, 2]`."""
    if len(signs) == 2 and set(signs) <= {">", "\\geq"}:
        members, signs = members[::-1], [FLIPPED[sign] for sign in reversed(signs)]
    if len(signs) == 2 and set(signs) <= {"<", "\\leq"} and is_name(members[1]):
        left, right = ("(" if signs[0] == "<" else "["), (")" if signs[1] == "<" else "]")
        if members[1].startswith("|"):
            mirrored = {"(": ")", "[": "]", ")": "(", "]": "["}
            below = f"{mirrored[right]}-({members[2]}), -({members[0]}){mirrored[left]}"
            return f"{below} \\cup {left}{members[0]}, {members[2]}{right}"
        return f"{left}{members[0]}, {members[2]}{right}"
    if signs == ["\\neq"] and is_name(members[0]):
        return f"(-\\infty, {members[1]}) \\cup ({members[1]}, \\infty)"
    if len(signs) != 1 or signs[0] not in ("<", ">", "\\leq", "\\geq"):
        return None
    name, sign, bound = members[0], signs[0], members[1]
    if not is_name(name):
        name, sign, bound = bound, FLIPPED[sign], name
    if not is_name(name):
        return None
    if name.startswith("|"):
        return _around_zero(bound, sign)
    if sign in ("<", "\\leq"):
        return f"(-\\infty, {bound}{')' if sign == '<' else ']'}"
    return f"{'(' if sign == '>' else '['}{bound}, \\infty)"


def _around_zero(bound: str, sign: str) -> str:
    """`|x| < b` is (-b, b), `|x| > b` is what lies outside."""
    if sign in ("<", "\\leq"):
        left, right = "()" if sign == "<" else "[]"
        return f"{left}-({bound}), {bound}{right}"
    left, right = "()" if sign == ">" else "[]"
    return f"(-\\infty, -({bound}){right} \\cup {left}{bound}, \\infty)"


def reals_as_intervals(text: str) -> str:
    """The real numbers, all of them or all but some, as intervals; any other text as it is."""
    match = _REALS.fullmatch(text.strip())
    if match is None:
        return text
    points = [point.strip() for point in (match.group(1) or "").split(",") if point.strip()]
    values = [rational.read(point) for point in points]
    if len(points) > 1 and None in values:
        return text
    ordered = [point for _, point in sorted(zip(values, points, strict=True))] if len(points) > 1 else points
    edges = ["-\\infty", *ordered, "\\infty"]
    return " \\cup ".join(f"({left}, {right})" for left, right in zip(edges, edges[1:], strict=False))


def without_point(text: str, other: str) -> str:
    """The coordinates of a labelled point, `A(1, 2)`, where the other side has no label."""
    label = _POINT.match(text)
    return text[label.end() :] if label and other.startswith("(") else text


def plus_minus(text: str) -> list[str]:
    """The two values a sign of plus or minus stands for; a text without one sign as it is."""
    if text.count("\\pm") != 1 or "(" in text or "[" in text:
        return [text]
    plain = text.strip().startswith("\\pm")
    return [text.replace("\\pm", "" if plain else "+"), text.replace("\\pm", "-")]
