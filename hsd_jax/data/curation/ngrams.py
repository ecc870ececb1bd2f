"""Questions reduced to what two copies of one share: words, numbers and operators, however they are typeset."""

import re
import unicodedata

# Commands that say how a formula looks, not what it is.
_LAYOUT = re.compile(
    r"\\(?:left|right|big{1,2}[lr]?|displaystyle|textstyle|limits|quad|qquad|hspace\*?\{[^}]*\}|[,;:!\s])|~|\$|\\[()\[\]]"
)
_WRAPPERS = re.compile(r"\\(?:text(?:bf|it|rm|sf|tt)?|math(?:rm|bf|it|sf|tt)|operatorname\*?|mbox|emph)\b")
_SAME = (
    (re.compile(r"\\[dtc]frac(?![A-Za-z])"), r"\\frac"),
    (re.compile(r"\\frac\s*(\d)\s*(\d)"), r"\1/\2"),
    (re.compile(r"\\frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}"), r" \1/\2 "),
    (re.compile(r"\\(?:cdot|times|ast)\b|[×·∙]"), " * "),
    (re.compile(r"\\div\b|÷"), "/"),
    (re.compile(r"\\(?:leq?|leqslant)\b|≤"), "<="),
    (re.compile(r"\\(?:geq?|geqslant)\b|≥"), ">="),
    (re.compile(r"\\neq?\b|≠"), "!="),
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"(?<=\d)(?:\{,\}|,)(?=\d{3}(?!\d))"), ""),
    (re.compile(r"\^\s*(?:\\circ\b|\{\s*\\circ\s*\})|°"), " degrees "),
    (re.compile(r"\\%"), "%"),
    (re.compile(r"[−–—]"), "-"),
)
_TOKENS = re.compile(r"\\?[^\W\d_]+|\d+(?:\.\d+)?|[-+*/=<>^!]")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_NAMES = "zero one two three four five six seven eight nine ten eleven twelve".split()
_NUMBER_WORDS: dict[str, str] = {name: str(value) for value, name in enumerate(_NAMES)}
_SAMPLES = re.compile(
    r"(?:^|\n)[ \t]*[-#*]*[ \t]*(?:sample|example|input|output|constraints?|note|explanation|use this starting point)"
    r"[ \t]*\d*[ \t]*(?:input|output|format)?[ \t]*\d*[ \t]*[-:*]*[ \t]*(?=\n)",
    re.IGNORECASE,
)
# Words that every contest problem may use: a run made of these alone says nothing about where it comes from.
ORDINARY = frozenset(
    """a an and are as at be by can for from has have if in into is it its let of on or so such than that the then there
    these this those to two three was we when where which with all any both each every exactly no not one only some
    answer area arithmetic begin calculate coefficient coefficients compute consecutive constant coprime denominator
    denote determine digit digits distinct divided divides divisible divisor divisors end equal equals equation exist
    exists expressed expression factor find fixed following form fraction function given greater greatest how integer
    integers its largest least less lowest many maximum minimum modulo natural nonnegative number numbers numerator
    order ordered pair pairs pi point points polynomial positive possible power prime primes probability product
    property quotient rational real reduced relatively remainder respectively result satisfies satisfy satisfying set
    side sides simplest simplified smallest solution solutions sqrt square squares such sum term terms triple triples
    unique value values variables what whole written zero""".split()
)


def tokens(text: str) -> tuple[str, ...]:
    """Words, numbers and operators of a text: lower case, one spelling per symbol, no punctuation and no layout."""
    text = unicodedata.normalize("NFKC", text)
    for pattern, replacement in _SAME:
        text = pattern.sub(replacement, text)
    text = _LAYOUT.sub(" ", _WRAPPERS.sub(" ", text)).lower()
    found: list[str] = [token.lstrip("\\") for token in _TOKENS.findall(text)]
    return tuple(_NUMBER_WORDS.get(token, token) for token in found)


def words(found: tuple[str, ...]) -> tuple[str, ...]:
    """The tokens without operators."""
    return tuple(token for token in found if token[0].isalnum())


def numbers(found: tuple[str, ...]) -> tuple[str, ...]:
    """The numbers among the tokens, sorted: equal for two texts that tell one story in other words."""
    return tuple(sorted(token for token in found if _NUMBER.fullmatch(token)))


def statement(text: str) -> str:
    """A programming problem without its samples, constraints and input format, which many problems share."""
    return _SAMPLES.split(text, maxsplit=1)[0] or text


def grams(found: tuple[str, ...], size: int) -> set[int]:
    """Hashes of all runs of `size` tokens; none where the text is shorter."""
    return {hash(found[start : start + size]) for start in range(len(found) - size + 1)}


def telling_grams(found: tuple[str, ...], size: int, least: int) -> set[int]:
    """The runs of `size` tokens with at least `least` different ones that are not ordinary words, letters or digits."""
    telling = [len(token) > 1 and token not in ORDINARY for token in found]
    return {
        hash(found[start : start + size])
        for start in range(len(found) - size + 1)
        if sum(telling[start : start + size]) >= least and tells(found[start : start + size]) >= least
    }


def tells(found: tuple[str, ...]) -> int:
    """How many different tokens are not ordinary words, letters or digits."""
    return len({token for token in found if len(token) > 1} - ORDINARY)
