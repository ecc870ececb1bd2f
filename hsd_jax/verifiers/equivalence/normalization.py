"""One spelling for answers: the LaTeX and text variants that mean the same become the same string."""

import re

from hsd_jax.verifiers.equivalence.wording import in_symbols

_UNICODE = {
    "−": "-", "–": "-", "—": "-", "×": "\\times ", "÷": "/", "·": "\\cdot ", "⋅": "\\cdot ", "∗": "*",
    "π": "\\pi ", "∞": "\\infty ", "√": "\\sqrt ", "≤": "\\leq ", "≥": "\\geq ", "≠": "\\neq ", "∪": "\\cup ",
    "∩": "\\cap ", "∈": "\\in ", "±": "\\pm ", "°": "", "²": "^{2}", "³": "^{3}", "½": "\\frac{1}{2}",
    "∅": "\\emptyset ", "θ": "\\theta ", "α": "\\alpha ", "β": "\\beta ", "≈": "\\approx ", "，": ",", "（": "(",
    "）": ")", "：": ":", "；": ";", "％": "%", "\u00a0": " ", "\u2009": " ", "\u202f": " ",
}  # fmt: skip

# a comma with a negative space only ever parts digits of one number, the groups of two of Indian numbers too
_GROUPED = re.compile(r"(?<!\d)\d{1,3}(?:,\s?\\!\s?\d{2,3})*,\s?\\!\s?\d{3}(?!\d)")
_WIDE_DIGITS = {ord("０") + digit: str(digit) for digit in range(10)}
_REMOVED = re.compile(
    r"\\(?:left|right|bigl|bigr|Bigl|Bigr|biggl|biggr|big|Big|bigg|Bigg|middle)(?![A-Za-z])\.?"
    r"|\\(?:displaystyle|textstyle|limits|nolimits|hfill|noindent|rm|bf|checkmark)(?![A-Za-z])"
    r"|\\(?:color|textcolor)\{[a-zA-Z]+\}"
    r"|\\[!]|\^\{?\s*(?:\\circ|\\degree)\s*\}?|\\(?:circ|degree)(?![A-Za-z])|\\label\{[^{}]*\}"
)
_SPACES = re.compile(r"(?<!\\)\\[,;:> ]|~|\\(?:qquad|quad|enspace|thinspace|hspace\{[^{}]*\}|phantom\{[^{}]*\})|\s+")
_SPELLINGS = [
    (re.compile(r"\\[dtc]frac(?![A-Za-z])"), r"\\frac"),
    (re.compile(r"\\(?:leqslant|le|leqq)(?![A-Za-z])|<=|=<"), r"\\leq "),
    (re.compile(r"\\bigcup(?![A-Za-z])"), r"\\cup "),
    (re.compile(r"\\colon(?![A-Za-z])|\{:\}"), ":"),
    (re.compile(r"\\log_\{? ?e ?\}?(?![A-Za-z])"), r"\\ln "),
    (re.compile(r"\\(?:geqslant|ge|geqq)(?![A-Za-z])|>="), r"\\geq "),
    (re.compile(r"\\lt(?![A-Za-z])"), "<"),
    (re.compile(r"\\gt(?![A-Za-z])"), ">"),
    (re.compile(r"\\ne(?![A-Za-z])|!="), r"\\neq "),
    (re.compile(r"\\varnothing(?![A-Za-z])"), r"\\emptyset "),
    (re.compile(r"\\(?:[lr]brack)(?![A-Za-z])\s*"), lambda match: "[" if "l" in match.group()[:2] else "]"),
    (re.compile(r"\\lbrace(?![A-Za-z])\s*"), r"\\{"),
    (re.compile(r"\\rbrace(?![A-Za-z])\s*"), r"\\}"),
    (re.compile(r"\\(?:infin|infinity)(?![A-Za-z])|(?<![A-Za-z\\])(?:infinity|inf|oo)(?![A-Za-z])"), r"\\infty "),
    (re.compile(r"\+\s*\\infty"), r"\\infty"),
    (re.compile(r"(?<![A-Za-z\\])pi(?![A-Za-z])"), r"\\pi "),
    (re.compile(r"(?<![A-Za-z\\])(sin|cos|tan|cot|sec|csc|log|ln)(?![A-Za-z])"), r"\\\1 "),
    (re.compile(r"(?<![A-Za-z\\])sqrt\s*\(([^()]*)\)"), r"\\sqrt{\1}"),
    (re.compile(r"(?<![A-Za-z\\])sqrt\s*(\d+)"), r"\\sqrt{\1}"),
    (re.compile(r"\\frac\s*([0-9a-zA-Z])\s*([0-9a-zA-Z])(?![0-9a-zA-Z}])"), r"\\frac{\1}{\2}"),
    (re.compile(r"\\frac\s*([0-9a-zA-Z])\s*([0-9a-zA-Z])"), r"\\frac{\1}{\2}"),
    (re.compile(r"\\frac\s*([0-9a-zA-Z])\s*\{"), r"\\frac{\1}{"),
    (re.compile(r"(\\frac\s*\{[^{}]*\})\s*([0-9a-zA-Z])"), r"\1{\2}"),
    (re.compile(r"\\sqrt\s*([0-9a-zA-Z])"), r"\\sqrt{\1}"),
    (re.compile(r"\\frac\s+\{"), r"\\frac{"),
    (re.compile(r"\\frac(\{[^{}]*\})\s+\{"), r"\\frac\1{"),
    (re.compile(r"\\begin\{[bvB]matrix\}"), r"\\begin{pmatrix}"),
    (re.compile(r"\\end\{[bvB]matrix\}"), r"\\end{pmatrix}"),
    (re.compile(r"[(\[]?\\begin\{array\}\{[^{}]*\}"), r"\\begin{pmatrix}"),
    (re.compile(r"\\end\{array\}[)\]]?"), r"\\end{pmatrix}"),
    (re.compile(r"\\\\\s*\\end\{pmatrix\}"), r"\\end{pmatrix}"),
    (re.compile(r"\\(?:mathbb|mathbf)\{R\}|\\R(?![A-Za-z])"), r"\\mathbb{R}"),
    (re.compile(r"\\emptyset *|\\\{ *\\\}"), r"\\emptyset "),
    (re.compile(r"\((\d+)\)_"), r"\1_"),
    (re.compile(r"_\{(\w)\}"), r"_\1"),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"(?<=\d), ?\\! ?(?=\d{3})"), ","),
]
_TEXT = re.compile(
    r"\\(?:text|textbf|textit|textrm|textnormal|textsf|mbox|hbox|mathrm|mathbf|mathit|mathsf|operatorname|emph"
    r"|bold|boldsymbol|underline|overline|hat|vec|tilde|bar|mathcal)\*?\s*\{([^{}]*)\}"
)
_WRAPPERS = [
    re.compile(r"\$\$(.*)\$\$", re.DOTALL),
    re.compile(r"\$([^$]*)\$", re.DOTALL),
    re.compile(r"\\\((.*)\\\)", re.DOTALL),
    re.compile(r"\\\[(.*)\\\]", re.DOTALL),
    re.compile(r"\\(?:boxed|fbox)\s*\{(.*)\}", re.DOTALL),
]
ONE_LETTER_UNITS = "mglsLJNVWCKFh"
# set as text behind a number, a letter is no factor but an annotation
_TEXT_LETTER = re.compile(rf"(?<=[\d}}]) *\\text(?:bf|rm|it)?\{{ *([^ie{ONE_LETTER_UNITS}\W\d_]) *\}} *$")
_REPEATING = re.compile(r"(\d*)\.(\d*)\\(?:overline|bar)\s*\{?(\d+)\}?")
_CURRENCY = re.compile(r"\\?\$|€|£|¥|₹|\\(?:pounds|euro|yen)(?![A-Za-z])")
_PERCENT = re.compile(r"\\?%|(?<![A-Za-z])(?:percentage points|percentage|percent|pct)(?![A-Za-z])")


def normalize(text: str) -> str:
    """The canonical spelling of one answer.

    Delimiters, sizes, thin spaces, currency signs and final punctuation go; fractions and roots get braces; words
    lose their text command; percent signs become `%` and the words between list items become commas.
    """
    text = _unwrapped(text.strip())
    text = text.translate(_WIDE_DIGITS)
    for character, spelling in _UNICODE.items():
        if character in text:
            text = text.replace(character, spelling)
    text = _GROUPED.sub(lambda match: re.sub(r"[^\d]", "", match.group()), text)
    text = re.sub(r"(?<=\d)[ \t]*[\r\n]\s*(?=\d)", "; ", text)  # numbers on two lines are two numbers
    if "\\begin" not in text:
        text = re.sub(r"\\\\(?=[A-Za-z{}])", r"\\", text)
    text = _SPACES.sub(" ", _REMOVED.sub("", text))
    for pattern, spelling in _SPELLINGS:
        text = pattern.sub(spelling, text)
    text = _REPEATING.sub(_repeating, text)
    text = _words(text)
    text = _PERCENT.sub("%", _CURRENCY.sub("", text))
    return _trimmed(in_symbols(_trimmed(text)))


def compact(text: str) -> str:
    """A normalised answer without white space, for literal comparison; a space between two digits stays."""
    text = re.sub(r"(?<=\d) +(?=\d)", "\0", text)
    text = re.sub(r"(\\[A-Za-z]+) +(?=[A-Za-z])", "\\1\1", text).replace(" ", "")
    return text.replace("\0", " ").replace("\1", " ")


def _repeating(match: re.Match[str]) -> str:
    """A repeating decimal as a fraction: 0.1\\overline{6} is 15/90."""
    whole, fixed, period = match.groups()
    if len(whole + fixed + period) > 40:
        return match.group()
    nines = 10 ** len(fixed) * (10 ** len(period) - 1)
    return f"\\frac{{{int(whole + fixed + period) - int(whole + fixed or 0)}}}{{{nines}}}"


def _unwrapped(text: str) -> str:
    for _ in range(4):
        before = text
        for wrapper in _WRAPPERS:
            match = wrapper.fullmatch(text.strip().rstrip(".,"))
            if match and _balanced(match.group(1)):
                text = match.group(1).strip()
        if text == before:
            return text
    return text


def _balanced(text: str) -> bool:
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", text):
        depth += 1 if brace == "{" else -1
        if depth < 0:
            return False
    return depth == 0


def _words(text: str) -> str:
    text = _TEXT_LETTER.sub(r" \\unit \1", text)
    for _ in range(4):
        unwrapped = _TEXT.sub(r" \1 ", text)
        if unwrapped == text:
            break
        text = unwrapped
    text = re.sub(r"\$?\s*,?\s*(?<![A-Za-z\\])(?:and|or)(?![A-Za-z])\s*\$?", " \\\\also ", text)
    text = re.sub(r"(?<=[\d)}])or(?=[\d(A-Za-z\\-])", " \\\\also ", text)
    return re.sub(r"\\(?:land|lor|vee|wedge)(?![A-Za-z])", " \\\\also ", text)


def _trimmed(text: str) -> str:
    text = re.sub(r"^(?:=|\\approx(?![A-Za-z])|\\therefore(?![A-Za-z])) *", "", text.replace("$", "").strip())
    if not text.endswith("..."):
        text = re.sub(r"(?:\s*[.,;:]|\\)+$", "", text) if not text.endswith("\\}") else text
    text = re.sub(r"\{ +", "{", re.sub(r" +\}", "}", text))
    return re.sub(r" +", " ", text).strip()
