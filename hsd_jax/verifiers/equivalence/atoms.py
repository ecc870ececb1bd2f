"""The innermost part of the grammar: numbers, symbols, functions, brackets, environments. `grammar` has the nodes."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from hsd_jax.verifiers.equivalence import tables
from hsd_jax.verifiers.equivalence.trees import Token, Tree, Unread, joined, spelled

CLOSING = {
    "(": (")", "]"), "[": ("]", ")", "["), "]": ("[", "]"), "\\{": ("\\}",), "\\langle": ("\\rangle",), "{": ("}",),
    "|": ("|",), "\\|": ("\\|",), "\\lfloor": ("\\rfloor",), "\\lceil": ("\\rceil",),
}  # fmt: skip
ENDS = frozenset([")", "]", "\\}", "\\rangle", "}", "|", "\\|", "\\rfloor", "\\rceil"])
BIG = frozenset("\\sum \\prod \\int \\iint \\oint \\lim \\partial \\nabla \\sup \\inf \\exists \\forall \\det".split())
ACCENTS = frozenset("\\overline \\bar \\hat \\widehat \\tilde \\widetilde \\dot \\ddot".split())
_ARROWS = frozenset("\\vec \\overrightarrow \\overarc".split())
_CALLED = frozenset("f g h F G P E \\phi \\sigma \\tau \\Gamma".split())
_MATRICES = frozenset("matrix pmatrix bmatrix Bmatrix smallmatrix array".split())
_LINES = frozenset("cases aligned align align* gathered split".split())
_BRACKET_FUNCTIONS = {"|": "abs", "\\|": "norm", "\\lfloor": "floor", "\\lceil": "ceil"}
_STOPS = tables.RELATIONS - {"\\to"} | {",", ";", "\\and", "\\or", "\\\\", "&", ":"}
ONE: Tree = ("num", Fraction(1), -1)
TWO: Tree = ("num", Fraction(2), -1)


@dataclass
class Cursor:
    """Where reading stands, and the rules of the outer grammar; `bar`, `colon`: such a sign ends what is read."""

    tokens: list[Token]
    answer: "Callable[[Cursor], Tree]"
    value: "Callable[[Cursor], Tree]"
    argument: "Callable[[Cursor], Tree]"  # of a function, without brackets
    at: int = 0
    depth: int = 0
    bar: bool = False
    colon: bool = False


def peek(cursor: Cursor, ahead: int = 0) -> str:
    at = cursor.at + ahead
    return cursor.tokens[at].text if at < len(cursor.tokens) else ""


def kind(cursor: Cursor, ahead: int = 0) -> str:
    at = cursor.at + ahead
    return cursor.tokens[at].kind if at < len(cursor.tokens) else ""


def take(cursor: Cursor, *expected: str) -> str:
    """The text of the next token, which is passed. Raises: Unread if it is not as expected."""
    text = peek(cursor)
    if not text or expected and text not in expected:
        raise refused(cursor)
    cursor.at += 1
    return text


def refused(cursor: Cursor) -> Unread:
    """Why reading stops here."""
    return Unread("unknown words" if kind(cursor) == "word" else "unparsed")


def is_function(text: str) -> bool:
    return text[:1] == "\\" and (text[1:] in tables.FUNCTIONS or text[1:] in tables.LIST_FUNCTIONS)


def divides_units(cursor: Cursor) -> bool:
    """Whether a fraction of units begins here, `\\frac{\\text{km}}{\\text{h}}`."""
    opened = peek(cursor) == "\\frac" and peek(cursor, 1) == "{"
    return opened and kind(cursor, 2) == "word" and tables.unit(peek(cursor, 2)) is not None


def number(text: str) -> Tree:
    """The node of digits: exact value, and how many digits stand behind the point (-1: none)."""
    mantissa, _, power = text.lower().partition("e")
    exact = Fraction(mantissa) * Fraction(10) ** int(power or 0)
    return ("num", exact, -1 if power or "." not in mantissa else len(mantissa.partition(".")[2]))


def argument(cursor: Cursor, *, whole: bool = False) -> Tree:
    """What a command takes: a group in braces, else one token; of a number its first digit, or the `whole` of it."""
    if whole and peek(cursor) in ("-", "+"):
        return ("neg", argument(cursor, whole=True)) if take(cursor) == "-" else argument(cursor, whole=True)
    if kind(cursor) == "num" and not whole and len(peek(cursor)) > 1:
        token = cursor.tokens[cursor.at]
        rest = token._replace(text=token.text[1:], spaced=False)
        cursor.tokens[cursor.at : cursor.at + 1] = [token._replace(text=token.text[:1]), rest]
    return atom(cursor)


def atom(cursor: Cursor) -> Tree:
    """One number, symbol, function with its argument, bracket or environment. Raises: Unread."""
    text, sort = peek(cursor), kind(cursor)
    if sort == "num":
        return number(take(cursor))
    if sort == "sym" or sort == "word" and len(text) == 1 and text.isascii():
        return _symbol(cursor)
    if text in CLOSING:
        return bracket(cursor)
    if text in BIG:
        return _opaque(cursor)
    if is_function(text):
        return _function(cursor)
    if text in ACCENTS:
        return ("fn", take(cursor)[1:], argument(cursor))
    if text in _ARROWS:
        cursor.at += 1
        below = argument(cursor)
        return below if below[0] == "sym" else ("sym", f"\\vec {spelled(below)}")
    if text not in _READERS:
        raise refused(cursor)
    cursor.at += 1
    return _READERS[text](cursor)


def _fraction(cursor: Cursor) -> Tree:
    above = argument(cursor)
    below = "".join(token.text for token in cursor.tokens[cursor.at : cursor.at + 3])
    # a derivative is work left standing, but d may also be a quantity: \frac{d}{2}
    if (
        (above == ("sym", "d") or above[0] in "^*" and above[1] == ("sym", "d"))
        and below[:2] == "{d"
        and below[2:] != "}"
    ):
        return _opaque(cursor)
    return ("/", above, argument(cursor))


def _root(cursor: Cursor) -> Tree:
    degree = TWO
    if peek(cursor) == "[":
        cursor.at += 1
        degree = cursor.value(cursor)
        take(cursor, "]")
    return ("root", argument(cursor), degree)


def _named(name: str) -> "Callable[[Cursor], Tree]":
    return lambda cursor: ("sym", name)


def _figure(cursor: Cursor) -> Tree:
    """`\\angle ABC` and `\\triangle ABC`: one name; an angle may be read from either side."""
    figure, letters = peek(cursor, -1), ""
    while kind(cursor) == "sym" and peek(cursor).isalpha() and len(letters) < 4:
        letters += take(cursor)
    if figure == "\\angle" and len(letters) == 3 and letters[0] > letters[2]:
        letters = letters[::-1]
    return ("sym", f"{figure} {letters}")


def _environment(cursor: Cursor) -> Tree:
    """The rows of a matrix, or the lines of cases and aligned formulas as a list."""
    name = _until(cursor, "}").strip("{}")
    if name in _LINES:
        end = next((n for n, token in enumerate(cursor.tokens) if n > cursor.at and token.text == "\\end"), 0)
        lines = [token for token in cursor.tokens[cursor.at : end] if token.text != "&"]
        while lines and lines[-1].text in ("\\\\", ",", "."):
            lines.pop()
        cursor.tokens[cursor.at : end] = lines
        tree = cursor.answer(cursor)
        take(cursor, "\\end")
        _until(cursor, "}")
        return tree
    if name not in _MATRICES:
        raise Unread("unparsed")
    if name == "array":
        _until(cursor, "}")
    rows: list[tuple[Tree, ...]] = []
    while peek(cursor) != "\\end":
        row = [cursor.value(cursor)]
        while peek(cursor) == "&":
            cursor.at += 1
            row.append(cursor.value(cursor))
        rows.append(tuple(row))
        if peek(cursor) != "\\end":
            take(cursor, "\\\\")
    _until(cursor, "}")
    return ("matrix", *rows)


def _until(cursor: Cursor, end: str) -> str:
    """The text up to and with the first `end`, which is passed."""
    begun = cursor.at
    while take(cursor) != end:
        pass
    return joined(cursor.tokens[begun : cursor.at])


def _opaque(cursor: Cursor) -> Tree:
    """Sums, integrals and limits: never worked out, one name up to the next relation or separator outside brackets."""
    begun, depth = cursor.at, 0
    while peek(cursor):
        depth += (peek(cursor) in ("(", "{", "[", "\\{")) - (peek(cursor) in (")", "}", "]", "\\}"))
        if depth < 0 or depth == 0 and peek(cursor) in _STOPS:
            break
        cursor.at += 1
    return ("opaque", joined(cursor.tokens[begun : cursor.at]))


def _symbol(cursor: Cursor) -> Tree:
    """A letter with its subscript and primes, and what it is applied to where it names a function."""
    name = take(cursor)
    if name == "m" and peek(cursor) == "\\angle":
        return atom(cursor)
    while True:
        if peek(cursor) == "_":
            cursor.at += 1
            name += f"_{_subscript(cursor)}"
        elif peek(cursor) == "'":
            name += take(cursor)
        elif peek(cursor) == "^" and "'" in (peek(cursor, 1), peek(cursor, 1) == "{" and peek(cursor, 2)):
            name += "".join(take(cursor) for _ in range(2 + 2 * (peek(cursor, 1) == "{"))).strip("^{}")
        else:
            break
    called = name.rstrip("'").split("_")[0] in _CALLED
    if called and peek(cursor) == "(" and not cursor.tokens[cursor.at].spaced:
        return ("call", name, bracket(cursor))
    return ("sym", name)


def _subscript(cursor: Cursor) -> str:
    if peek(cursor) != "{":
        return take(cursor)
    begun, depth = cursor.at, 1
    cursor.at += 1
    while depth:
        depth += (peek(cursor) == "{") - (take(cursor) == "}")
    return joined(cursor.tokens[begun : cursor.at]).strip("{}")


def _function(cursor: Cursor) -> Tree:
    """`\\sin^2 x`, `\\log_2 8`, `\\gcd(a, b)`."""
    name, power, base = take(cursor)[1:], None, None
    while peek(cursor) in ("^", "_"):
        if take(cursor) == "^":
            power = argument(cursor, whole=True)
        else:
            base = argument(cursor, whole=True)
    inner = atom(cursor) if peek(cursor) in ("(", "{", "[") or is_function(peek(cursor)) else cursor.argument(cursor)
    if power == ("neg", ONE) and name in ("sin", "cos", "tan"):
        name, power = "arc" + name, None
    tree = ("fn", name, inner) if base is None else ("fn", name, inner, base)
    return ("^", tree, power) if power else tree


def bracket(cursor: Cursor) -> Tree:
    """What one pair of brackets holds: a value in parentheses is the value, more than one a tuple or an interval."""
    opening, bar, colon = take(cursor), cursor.bar, cursor.colon
    cursor.bar, cursor.colon = opening in ("|", "\\|", "\\{"), opening == "\\{"
    inner: Tree = ("list", ",") if opening == "\\{" and peek(cursor) == "\\}" else cursor.answer(cursor)
    if opening == "\\{" and peek(cursor) in ("|", ":"):
        cursor.at += 1
        inner = ("builder", inner, cursor.answer(cursor))
    elif opening == "{" and peek(cursor) in ("\\over", "\\choose"):
        over = take(cursor) == "\\over"
        below = cursor.answer(cursor)
        inner = ("/", inner, below) if over else ("fn", "binom", inner, below)
    closing = take(cursor, *CLOSING[opening])
    cursor.bar, cursor.colon = bar, colon
    if inner[0] == "quantity" and len(inner) == 2 and inner[1][1] == "degree":
        inner = ("deg", inner[1][0])
    if opening in _BRACKET_FUNCTIONS:
        return ("fn", _BRACKET_FUNCTIONS[opening], inner)
    if opening == "\\{":
        return inner if inner[0] == "builder" else ("set", *(inner[2:] if inner[0] == "list" else (inner,)))
    if opening == "{" or inner[0] != "list" and opening + closing in ("()", "[]"):
        return inner
    if inner[:2] != ("list", ","):
        raise Unread("unparsed")
    # ]1, 2[ is (1, 2): brackets turned outwards leave the end points out
    return ("group", ("(" if opening == "]" else opening) + (")" if closing == "[" else closing), *inner[2:])


_READERS: "dict[str, Callable[[Cursor], Tree]]" = {
    "\\frac": _fraction, "\\sqrt": _root, "\\binom": lambda cursor: ("fn", "binom", argument(cursor), argument(cursor)),
    "\\infty": _named("\\infty"), "\\emptyset": lambda cursor: ("set",), "\\R": _named("\\mathbb{R}"),
    "\\Z": _named("\\mathbb{Z}"), "\\mathbb": lambda cursor: ("sym", f"\\mathbb{{{spelled(argument(cursor))}}}"),
    "\\angle": _figure, "\\triangle": _figure, "\\begin": _environment, "\\dots": _named("\\dots"),
}  # fmt: skip
