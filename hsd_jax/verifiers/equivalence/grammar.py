r"""Reads an answer by a grammar, from tokens to a tree of tuples; whatever the grammar does not know is refused.

    answer    list of clauses, parted by commas, semicolons, line ends, "and", "or"
    clause    harmless words, sides joined by relations
    side      sets joined by \cup, \cap, \setminus; a ratio a:b; a value with units
    value     sums, products, powers, functions; brackets hold answers again

A node is (kind, ...): num, sym, +, neg, pm, *, /, ^, root, fn, call, deg, %, base, opaque, group (brackets), set,
builder, matrix, cup, cap, minus, ratio, quantity, rel, list.
"""

from hsd_jax.verifiers.equivalence import tables
from hsd_jax.verifiers.equivalence.atoms import ENDS, Cursor, divides_units, kind, peek, refused, take
from hsd_jax.verifiers.equivalence.expressions import DEEPEST, applied, value
from hsd_jax.verifiers.equivalence.trees import Token, Tree, Unread

_SEPARATORS = (",", ";", "\\\\", "\\and", "\\or", "&")
_SET_SIGNS = {"\\cup": "cup", "\\cap": "cap", "\\setminus": "minus"}
_CURRENCIES = {"\\$": "dollar", "€": "euro", "£": "sterling", "¥": "yen", "₹": "rupee", "¢": "cent"}


def read(tokens: list[Token]) -> Tree:
    """The tree of a whole answer. Raises: Unread."""
    while tokens and (tokens[-1].text in (".", ",", ";", ":", "\\\\", "*", "\\") or tokens[-1].text in "。"):
        tokens = tokens[:-1]
    cursor = Cursor(list(tokens), _answer, value, applied)
    try:
        tree = _answer(cursor)
    except RecursionError:
        raise Unread("unparsed") from None
    if cursor.at < len(cursor.tokens):
        raise refused(cursor)
    return tree


def _answer(cursor: Cursor) -> Tree:
    """Clauses in groups: commas part the clauses of a group, "and", "or", semicolons and line ends the groups."""
    cursor.depth += 1
    if cursor.depth > DEEPEST:
        raise Unread("unparsed")
    groups, connectors = [[_clause(cursor)]], set()
    while peek(cursor) in _SEPARATORS:
        separators = []
        while peek(cursor) in _SEPARATORS:
            separators.append(take(cursor))
        if not peek(cursor) or peek(cursor) in ENDS or peek(cursor) == "\\end":
            raise Unread("unparsed")
        outer = next((s for s in reversed(separators) if s != ","), "")
        connectors |= {outer} & {"\\and", "\\or"}
        if outer:
            groups.append([])
        groups[-1].append(_clause(cursor))
    cursor.depth -= 1
    if len(connectors) > 1:
        raise Unread("unparsed")
    connector = connectors.pop() if connectors else ","
    # "p = 5, q = 2 or p = 7, q = 2" are two solutions, not four values
    if len(groups) > 1 and all(len(group) > 1 and all(item[0] == "rel" for item in group) for group in groups):
        return ("list", connector, *(("list", ",", *group) for group in groups))
    items = [item for group in groups for item in group]
    return items[0] if len(items) == 1 else ("list", connector, *items)


def _clause(cursor: Cursor) -> Tree:
    computes = _lead(cursor)
    signs: list[str] = []
    members = [_side(cursor)]
    while peek(cursor) in tables.RELATIONS or _says_is(cursor) or _negated(cursor):
        sign = take(cursor)
        if sign == "\\not":
            sign = {"=": "\\neq", "\\in": "\\notin"}[take(cursor)]
        while peek(cursor) in ("\\approx", "=", ":") and sign == "=":
            sign = take(cursor)
        signs.append("=" if sign.lower() in ("is", "are", ":") else sign)
        members.append(_side(cursor))
    while kind(cursor) == "word" and peek(cursor).lower() in tables.HARMLESS["after"]:
        cursor.at += 1
    _pass_remark(cursor)
    if computes and not signs:
        raise Unread("unknown words")
    return ("rel", tuple(signs), *members) if signs else members[0]


def _pass_remark(cursor: Cursor) -> None:
    """Passes harmless words in parentheses behind a value: `12 (approximately)`, `5 (cm)`."""
    end = cursor.at + 1
    while end < len(cursor.tokens) and cursor.tokens[end].kind == "word":
        word = cursor.tokens[end].text
        if tables.unit(word) is None and word.lower() not in tables.HARMLESS["after"]:
            return
        end += 1
    if peek(cursor) == "(" and end > cursor.at + 1 and end < len(cursor.tokens) and cursor.tokens[end].text == ")":
        cursor.at = end + 1


def _negated(cursor: Cursor) -> bool:
    return peek(cursor) == "\\not" and peek(cursor, 1) in ("=", "\\in")


def _says_is(cursor: Cursor) -> bool:
    return peek(cursor).lower() in ("is", "are") and peek(cursor, 1).lower() not in tables.HARMLESS["after"]


def _lead(cursor: Cursor) -> bool:
    """Passes what may stand before a value: harmless words, a label with its colon, a sign of consequence.

    Whether they make another value of it: `the sum of 3 and 4`, but not `the sum is 7` or `a total of 7`.
    """
    begun, computes = cursor.at, False
    while cursor.at < len(cursor.tokens):
        text, low = peek(cursor), peek(cursor).lower()
        label = tables.unit(text) is not None and (
            peek(cursor, 1) in ("=", ":") or peek(cursor, 1).lower() in tables.HARMLESS["before"]
        )
        article = low != "a" or kind(cursor, 1) != "op"
        if kind(cursor) == "word" and (low in tables.HARMLESS["before"] and article or label):
            of_measure = low == "of" and cursor.at > begun and peek(cursor, -1).lower() in tables.MEASURES
            computes = (computes or low in tables.COMPUTING) and low not in tables.MEASURES and not of_measure
            cursor.at += 1
        elif text in ("=", "\\approx", "\\therefore", "\\implies", "*") or cursor.at > begun and text in (":", ","):
            computes = computes and text == ","
            cursor.at += 1
        else:
            break
    return computes


def _side(cursor: Cursor) -> Tree:
    tree = _set_term(cursor)
    while peek(cursor) in _SET_SIGNS:
        tree = (_SET_SIGNS[take(cursor)], tree, _set_term(cursor))
    return tree


def _set_term(cursor: Cursor) -> Tree:
    parts = [_quantity(cursor)]
    while peek(cursor) == ":" and not cursor.colon and peek(cursor, 1) not in ENDS:
        cursor.at += 1
        parts.append(_quantity(cursor))
    if len(parts) == 1:
        return parts[0]
    *firsts, last = parts
    if last[0] == "quantity" and len(last) == 2:  # 3:45 pm
        return ("quantity", (("ratio", *firsts, last[1][0]), last[1][1]))
    return ("ratio", *parts)


def _quantity(cursor: Cursor) -> Tree:
    """A value, with the units that follow it: `6 \\text{ hours } 20 \\text{ minutes}`, `\\$5`, `30^\\circ`."""
    currency = _CURRENCIES.get(peek(cursor), "")
    if currency:
        cursor.at += 1
    pairs: list[tuple[Tree, str]] = []
    pairs_end = cursor.at
    while True:
        tree = value(cursor)
        inner = tree[1] if tree[0] == "neg" else tree
        unit = currency
        if inner[0] == "deg":
            tree, unit = ("neg", inner[1]) if tree[0] == "neg" else inner[1], "degree"
        elif inner[0] == "*" and len(inner) == 3 and inner[1][0] == "deg" and inner[2] in (("sym", "C"), ("sym", "F")):
            tree, unit = ("neg", inner[1][1]) if tree[0] == "neg" else inner[1][1], inner[2][1]
        if currency and peek(cursor).lower() in ("per", "/"):
            cursor.at += 1
            unit += f" per {_unit(cursor)}"
        unit = _unit(cursor) or unit
        if not unit and pairs and peek(cursor, pairs_end - cursor.at) == "\\and":
            cursor.at = pairs_end
            return ("quantity", *pairs)
        if not unit and pairs:
            raise Unread("unparsed")
        if not unit:
            return tree
        pairs.append((tree, unit))
        pairs_end = cursor.at
        if peek(cursor) == "\\and" and kind(cursor, 1) == "num" and not currency:
            cursor.at += 1
        elif kind(cursor) != "num" or currency:
            return ("quantity", *pairs)


def _unit(cursor: Cursor) -> str:
    """The unit that stands here, its factors sorted; "" and nothing taken where the words are no unit."""
    begun = cursor.at
    if peek(cursor) in ("'", "''") and begun and cursor.tokens[begun - 1].kind == "num":
        return take(cursor)
    if peek(cursor) in _CURRENCIES:
        return _CURRENCIES[take(cursor)]
    if peek(cursor) == "-" and kind(cursor, 1) == "word":  # 5-pound
        cursor.at += 1
    powers: dict[str, int] = {}
    if not _unit_factors(cursor, powers, 1):
        cursor.at = begun
        return ""
    while kind(cursor) == "word" and peek(cursor).lower() in tables.HARMLESS["after"]:
        cursor.at += 1
        _unit_factors(cursor, {}, 1)  # "gallons of water", "liters of red paint"
    return (
        " ".join(f"{name}^{power}" if power != 1 else name for name, power in sorted(powers.items()) if power) or "unit"
    )


def _unit_factors(cursor: Cursor, powers: dict[str, int], sign: int) -> bool:
    found = False
    while True:
        begun = cursor.at
        if found and (peek(cursor) in ("/", "-", "*") or peek(cursor).lower() in ("per", "a", "an")):
            joint = take(cursor).lower()
            sign = sign if joint in ("-", "*") else -1
        power = 1
        while kind(cursor) == "word" and peek(cursor).lower() in tables.HARMLESS["within"] - {"per"}:
            word = take(cursor).lower()
            power = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}.get(word, power)
        if divides_units(cursor):
            cursor.at += 1
            for side in (sign, -sign):
                take(cursor, "{")
                if not _unit_factors(cursor, powers, side):
                    raise Unread("unknown words")
                take(cursor, "}")
            found = True
            continue
        # letters set as mathematics are factors, never units, but behind a unit: km/h
        name = tables.unit(peek(cursor)) if kind(cursor) == "word" or found and begun < cursor.at else None
        if not name:
            cursor.at = begun
            return found
        cursor.at += 1
        if peek(cursor) == "^" and name in tables.COUNTED:
            raise Unread("unparsed")
        power *= sign * _unit_power(cursor)
        for part, exponent in tables.COMPOUND.get(name, {name: 1}).items():
            powers[part] = powers.get(part, 0) + power * exponent
        found = True


def _unit_power(cursor: Cursor) -> int:
    if peek(cursor) == "^":
        cursor.at += 1
        braces = peek(cursor) == "{" and bool(take(cursor))
        sign = -1 if peek(cursor) == "-" and take(cursor) else 1
        power = sign * int(take(cursor, *"1234"))
        if braces:
            take(cursor, "}")
        return power
    if kind(cursor) == "word" and peek(cursor).lower() in ("squared", "cubed"):
        return 2 if take(cursor).lower() == "squared" else 3
    return 1
