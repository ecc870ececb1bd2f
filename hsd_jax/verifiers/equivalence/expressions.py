"""Values, from sums down to powers. See `grammar` for the whole and for the nodes, `atoms` for what is below."""

from hsd_jax.verifiers.equivalence import tables
from hsd_jax.verifiers.equivalence.atoms import (
    ACCENTS,
    BIG,
    Cursor,
    argument,
    atom,
    divides_units,
    is_function,
    kind,
    number,
    peek,
    take,
)
from hsd_jax.verifiers.equivalence.trees import Tree, Unread, spelled

DEEPEST = 80
_STARTS = frozenset(
    "( \\{ { \\frac \\sqrt \\binom \\infty \\emptyset \\mathbb \\R \\Z \\begin \\lfloor \\lceil \\langle \\angle"
    " \\triangle \\dots".split()
)
_PLUS = {"+": "+", "-": "-", "\\pm": "pm", "\\mp": "mp"}


def value(cursor: Cursor) -> Tree:
    """A sum of terms."""
    cursor.depth += 1
    if cursor.depth > DEEPEST:
        raise Unread("unparsed")
    terms: list[Tree] = [] if peek(cursor) in ("\\pm", "\\mp") else [_term(cursor)]
    while peek(cursor) in _PLUS and not (peek(cursor) == "-" and kind(cursor, 1) == "word" and peek(cursor, 1)[1:]):
        sign = _PLUS[take(cursor)]
        term = _term(cursor)
        if sign in ("pm", "mp"):
            terms = [(sign, terms[0] if len(terms) == 1 else ("+", *terms), term) if terms else (sign, term)]
        else:
            terms.append(("neg", term) if sign == "-" else term)
    cursor.depth -= 1
    return terms[0] if len(terms) == 1 else ("+", *terms)


def _term(cursor: Cursor) -> Tree:
    negative = peek(cursor) in ("+", "-") and take(cursor) == "-"
    mixed = _mixed(cursor)
    factors = [_raised(cursor, mixed or atom(cursor))]
    while True:
        sign = peek(cursor)
        if sign in ("*", "/"):
            cursor.at += 1
            minus = peek(cursor) == "-" and bool(take(cursor))
            factor = _factor(cursor)
            factor = ("neg", factor) if minus else factor
            left = factors[0] if len(factors) == 1 else ("*", *factors)
            factors = [("/", left, factor)] if sign == "/" else [*factors, factor]
        elif _starts_factor(cursor) and not mixed:
            factors.append(_factor(cursor))
        else:
            break
    tree = factors[0] if len(factors) == 1 else ("*", *factors)
    return ("neg", tree) if negative else tree


def _starts_factor(cursor: Cursor) -> bool:
    """Whether a factor follows without a sign; a number never does, nor a bar that closes."""
    text, sort = peek(cursor), kind(cursor)
    if sort == "word":
        return len(text) == 1 and text.isascii() and tables.unit(text) is None
    if divides_units(cursor):
        return False
    if text == "(" and kind(cursor, 1) == "word" and peek(cursor, 1)[1:]:
        return False  # a remark
    if text == "[":  # of ]1, 2[ it closes
        return kind(cursor, 1) in ("num", "sym") or peek(cursor, 1) in _STARTS
    bar = text in ("|", "\\|") and not cursor.bar
    return (
        sort == "sym"
        or bar
        or text in _STARTS
        or is_function(text)
        or text in ACCENTS
        or text in BIG
        or text == "\\vec"
    )


def _mixed(cursor: Cursor) -> Tree | None:
    """`3\\frac12` and `3 1/2`; None where no whole number is followed by a proper fraction of whole numbers."""
    if kind(cursor) != "num" or not peek(cursor).isdigit():
        return None
    begun, whole = cursor.at, int(take(cursor))
    part: Tree | None = None
    if peek(cursor) == "\\frac" and not divides_units(cursor):
        part = atom(cursor)
    elif kind(cursor) == "num" and peek(cursor, 1) == "/" and kind(cursor, 2) == "num":
        above = number(take(cursor))
        take(cursor, "/")
        part = ("/", above, number(take(cursor)))
    if part and part[1][0] == part[2][0] == "num" and part[1][1].denominator == part[2][1].denominator == 1:
        if not 0 < part[1][1] < part[2][1]:
            raise Unread("unparsed")
        return ("num", whole + part[1][1] / part[2][1], -1)
    cursor.at = begun
    return None


def _factor(cursor: Cursor) -> Tree:
    return _raised(cursor, atom(cursor))


def _raised(cursor: Cursor, tree: Tree) -> Tree:
    """A tree with what stands behind it: powers, degrees, percent and factorial signs, the base of digits."""
    raised = False
    while True:
        text = peek(cursor)
        circle = next((size for size in (2, 4) if _texts(cursor, size) in ("^\\circ", "^{\\circ}")), 0)
        if circle:
            cursor.at += circle
            tree = ("deg", tree)
        elif text in ("\\circ", "%"):
            tree = ("%" if take(cursor) == "%" else "deg", tree)
        elif text == "!":
            tree = ("fn", take(cursor), tree)
        elif text == "^" and not raised:
            cursor.at += 1
            tree, raised = ("^", tree, argument(cursor, whole=True)), True
        elif text == "_" and tree[0] in ("num", "*"):
            cursor.at += 1
            tree = ("base", spelled(tree), spelled(argument(cursor, whole=True)))
        else:
            return tree


def _texts(cursor: Cursor, size: int) -> str:
    return "".join(token.text for token in cursor.tokens[cursor.at : cursor.at + size])


def applied(cursor: Cursor) -> Tree:
    """The argument of a function without brackets: it ends before a sum, a bracket or a function."""
    factors = [_factor(cursor)]
    while _starts_factor(cursor) and not is_function(peek(cursor)) and peek(cursor) != "(":
        factors.append(_factor(cursor))
    tree = factors[0] if len(factors) == 1 else ("*", *factors)
    while peek(cursor) == "/" and kind(cursor, 1) in ("num", "sym"):
        cursor.at += 1
        tree = ("/", tree, _factor(cursor))
    return tree
