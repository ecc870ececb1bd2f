"""From the text of an answer to tokens in one spelling. Linear: the text is capped before any expression sees it."""

import re
import unicodedata
from itertools import groupby

from hsd_jax.verifiers.equivalence import tables
from hsd_jax.verifiers.equivalence.trees import Token, Unread, joined

_TOKEN = re.compile(
    r"\\[A-Za-z]+\*?|\\.|\d+(?:\.\d+)?[eE][+-]?\d{1,3}(?![\d.A-Za-z])|\d+(?:\.\d+)?|\.\d+|[A-Za-z]+|[\u4e00-\u9fff]+|\s+|.",
    re.DOTALL,
)
# digits in groups are one number: 1,000,000 and 10{,}000, and with a negative space groups of any size
_GROUPS = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:,\d{3})+(?![\d,])")
_JOINTS = [
    (re.compile(r"(?<=\d)\{,\}(?=\d{3}(?!\d))"), ","),
    (re.compile(r"(?<=\d)\{,\}(?=\d)"), "."),  # a decimal comma
    (re.compile(r"(?<=\d),\s?\\!\s?(?=\d)"), ""),
    (re.compile(r"\\(?:text)?color\{[A-Za-z]+\}|\\(?:[hv]space|label|tag|[hv]?phantom)\*?\{[^{}]*\}"), " "),
    (re.compile(r"\\\\(?=(?:[dt]?frac|sqrt|text|pi|left|right|infty|cdot|times|boxed)(?![A-Za-z]))"), r"\\"),
    (re.compile(r"US ?\\?\$|USD(?![A-Za-z])"), r"\\$"),
    (re.compile(r"\\left ?\\\{ ?\\begin\{array\} ?\{[lcr ]{1,9}\}"), r"\\begin{cases}"),
    (re.compile(r"\\end\{array\} ?\\right ?\."), r"\\end{cases}"),
    (re.compile(r"\\? ?\( ?([a-z]) ?\\in ?\\mathbb ?\{Z\} ?\) ?$"), r", \1\\in\\mathbb{Z}"),
    (re.compile(r"\.{3,}"), r"\\dots "),
    (
        re.compile(r"(?<=\\\\)\s?\[-?\d{1,3}(?:\.\d{1,3})?(?:pt|ex|em|mm|cm)\]"),
        " ",
    ),  # space between the rows of a matrix
    (re.compile(r"(?<=[\d)}])\{ ?\}|^ ?`|` ?$"), ""),
    (re.compile(r"(?<![A-Za-z])([ap])\.\s?m(?![A-Za-z])\.?", re.IGNORECASE), r" \1m "),
    (re.compile(r"(?<=\d)[ \t]*[\r\n]\s*(?=\d)"), r" \\\\ "),  # numbers on two lines are two numbers
]
_REPEATING = re.compile(r"(?<!\d)(\d{0,20})\.(\d{0,20})\\(?:overline|bar|dot)\s?\{(\d{1,20})\}")
_SLANTED = re.compile(r"([⁰¹²³⁴-⁹]{1,40})[⁄/]([₀-₉]{1,40})")
_ROOT = re.compile(r"([√∛∜])\s?(\d+(?:\.\d+)?)")
_DEGREES = {"√": "", "∛": "[3]", "∜": "[4]"}


def tokens(text: str) -> list[Token]:
    """The tokens of an answer in the one spelling of the tables.

    Raises:
        Unread: the text is longer than tables.LONGEST_ANSWER or holds control characters.
    """
    if len(text) > tables.LONGEST_ANSWER or any(c < " " and c not in "\n\r\t\v\f" for c in text):
        raise Unread("unparsed")
    text = folded(text)
    if len(text) > 3 * tables.LONGEST_ANSWER:
        raise Unread("unparsed")
    text = _REPEATING.sub(_repeating, text)
    for pattern, joint in _JOINTS:
        text = pattern.sub(joint, text)
    text = _GROUPS.sub(lambda match: match.group().replace(",", ""), text)
    return _words(_spelled(text))


def _repeating(match: re.Match[str]) -> str:
    """A repeating decimal as a fraction: 0.1\\overline{6} is 15/90."""
    whole, fixed, period = match.groups()
    nines = 10 ** len(fixed) * (10 ** len(period) - 1)
    return f"\\frac{{{int(whole + fixed + period) - int(whole + fixed or 0)}}}{{{nines}}}"


def folded(text: str) -> str:
    """Unicode as LaTeX: full-width forms, raised and lowered digits, fractions, symbols; invisible characters go."""
    if text.isascii():
        return text
    text = _SLANTED.sub(lambda match: unicodedata.normalize("NFKC", f"\\frac{{{match[1]}}}{{{match[2]}}}"), text)
    text = _ROOT.sub(lambda match: f"\\sqrt{_DEGREES[match.group(1)]}{{{match.group(2)}}}", text)
    parts = []
    for form, run in groupby(text, lambda char: unicodedata.decomposition(char).partition(" ")[0]):
        characters = "".join(run)
        plain = "".join(tables.CHARACTERS.get(c) or unicodedata.normalize("NFKC", c) for c in characters)
        plain = "".join(tables.CHARACTERS.get(c, c) for c in plain)
        if form == "<fraction>":
            plain = "".join(f"\\frac{{{'}{'.join(unicodedata.normalize('NFKC', c).split('⁄'))}}}" for c in characters)
        elif form == "<square>":  # ㎠, ㎧
            plain = f"\\text{{ {plain.rstrip('23')}}}" + "".join(f"^{power}" for power in plain[-1:] if power in "23")
        elif form in ("<super>", "<sub>") and "º" not in characters and "ª" not in characters:
            plain = f"{'^' if form == '<super>' else '_'}{{{plain}}}"
        parts.append(plain)
    return "".join(char for char in "".join(parts) if unicodedata.category(char) != "Cf")


def _spelled(text: str) -> list[Token]:
    """Tokens after the tables of commands and spaces; letters in text commands are words, others symbols or words."""
    found: list[Token] = []
    modes, entering, spaced = ["math"], "", False
    for match in _TOKEN.finditer(text):
        piece = match.group()
        name = piece[1:] if piece[0] == "\\" else ""
        if piece.isspace() or piece in "~$" or name in tables.SPACES:
            spaced = True
        elif name in tables.TEXT_COMMANDS or name in tables.ROMAN_COMMANDS:
            entering = "text" if name in tables.TEXT_COMMANDS else "roman"
            spaced = spaced or entering == "text"
        elif name and name in tables.DROPPED:
            continue
        elif piece == "{" and entering:
            modes.append(entering)
            entering = ""
        elif piece == "}" and modes[-1] != "math":
            spaced = modes.pop() == "text" or spaced
        else:
            found += _token(piece, entering or modes[-1], spaced, found[-1].kind if found else "")
            modes += ["math"] if piece == "{" else []
            if piece == "}" and len(modes) > 1:
                modes.pop()
            entering, spaced = "", False
    return found


def _token(piece: str, mode: str, spaced: bool, before: str) -> list[Token]:
    if piece[0].isdigit() or piece[0] == "." and len(piece) > 1:
        return [Token("num", piece, spaced)]
    if piece[0].isalpha():
        return _letters(piece, mode, spaced, before)
    piece = tables.COMMANDS.get(piece, piece)
    if piece in ("\\mathbb", "\\Bbb"):
        return [Token("op", "\\mathbb", spaced)]
    name = piece[1:]
    return [Token("sym" if name in tables.GREEK else "op", piece, spaced)]


def _letters(run: str, mode: str, spaced: bool, before: str) -> list[Token]:
    low = run.lower()
    if len(run) == 1 and run.isascii():
        return [Token("sym" if mode == "math" else "word", run, spaced)]
    if low in tables.FUNCTIONS or low in tables.LIST_FUNCTIONS and mode != "text" and before != "num":
        return [Token("op", f"\\{low}", spaced)]
    if not run.isascii():
        return [Token("word", word, spaced) for word in _segments(run)]
    known = low in tables.KNOWN or tables.unit(run) is not None
    if before == "sym" and len(run) == 2 and known and low not in tables.KNOWN:
        known = False  # two letters behind a symbol are factors, whatever unit they may spell: 2\pi hr
    apart = spaced or not before or len(run) > 2 or run in tables.GLUED_UNITS or low in ("or", "and")
    if mode == "text" or known and apart or mode == "roman" and not run.isupper():
        return [Token("word", run, spaced)]
    if len(run) > 3 and not run.isupper():
        return [Token("word", run, spaced)]
    return [Token("sym", letter, spaced and not at) for at, letter in enumerate(run)]


def _segments(run: str) -> list[str]:
    """Words of a text written without spaces, the longest known one first; what is unknown stays whole."""
    words, at = [], 0
    while at < len(run):
        size = next((n for n in (3, 2, 1) if run[at : at + n] in tables.KNOWN or tables.unit(run[at : at + n])), 0)
        words.append(run[at : at + size] if size else run[at:])
        at += size or len(run)
    return words


def _words(found: list[Token]) -> list[Token]:
    """Numbers, sets and operators written in words become symbols; groups of digits become one number."""
    result: list[Token] = []
    at = 0
    while at < len(found):
        size, symbols = _phrase(found, at) or _spelled_number(found, at) or _grouped(found, at) or (1, [found[at]])
        result += [symbol._replace(spaced=found[at].spaced) if n == 0 else symbol for n, symbol in enumerate(symbols)]
        at += size
    return result


def _phrase(found: list[Token], at: int) -> tuple[int, list[Token]] | None:
    if found[at].kind != "word":
        return None
    words = [token.text.lower() for token in found[at : at + 6]]
    for size in range(len(words), 1, -1):
        symbol = tables.PHRASES.get(" ".join(words[:size]))
        if symbol:
            return size, [Token("op", symbol)]
    low = words[0]
    if low == "to" and (not at or found[at - 1].kind != "num"):
        return None
    if low in tables.PHRASES or low in tables.WORDS:
        symbol = tables.PHRASES.get(low) or tables.WORDS[low]
        return 1, [Token("sym" if symbol[1:] in tables.GREEK else "op", symbol)]
    if low in tables.MAGNITUDES and at and found[at - 1].kind == "num":
        power = str(tables.MAGNITUDES[low])
        return 1, [
            Token("op", "*"),
            Token("num", "10"),
            Token("op", "^"),
            Token("op", "{"),
            Token("num", power),
            Token("op", "}"),
        ]
    return None


def _spelled_number(found: list[Token], at: int) -> tuple[int, list[Token]] | None:
    """The whole number spelled out from here, up to the thousands: `twenty-one`, `two hundred`."""
    thousands, current, end = 0, 0, at
    while end < len(found):
        word = found[end].text.lower()
        small = tables.NUMBERS.get(word) if found[end].kind == "word" else None
        if small is not None and (
            end == at or current % 100 == 0 and current or 0 < small < 10 and current % 100 >= 20 and current % 10 == 0
        ):
            current += small
        elif word == "hundred" and 0 < current < 10:
            current *= 100
        elif word == "thousand" and current and not thousands:
            thousands, current = current * 1000, 0
        elif word == "and" and current >= 100 and current % 100 == 0 and _number_word(found, end + 1):
            pass
        elif not (word == "-" and end > at and current % 100 >= 20 and _number_word(found, end + 1)):
            break
        end += 1
    return (end - at, [Token("num", str(thousands + current))]) if end > at else None


def _number_word(found: list[Token], at: int) -> bool:
    return at < len(found) and found[at].text.lower() in tables.NUMBERS


def _grouped(found: list[Token], at: int) -> tuple[int, list[Token]] | None:
    """Digits in groups of three parted by spaces, `15 300`."""
    if found[at].kind != "num" or not (found[at].text.isdigit() and len(found[at].text) < 4):
        return None
    end = at + 1
    while (
        end < len(found)
        and found[end].kind == "num"
        and found[end].spaced
        and re.fullmatch(r"\d{3}(?:\.\d+)?", found[end].text)
    ):
        end += 1
    if end == at + 1 or end < len(found) and (found[end].text == "/" or found[end].kind == "num"):
        return None
    return end - at, [Token("num", "".join(token.text for token in found[at:end]))]


def canonical(text: str) -> str:
    """One spelling of an answer, for literal comparison; a text that no table reads, without white space."""
    try:
        return joined(tokens(text))
    except Unread:
        return "".join(text[: tables.LONGEST_ANSWER].split())
