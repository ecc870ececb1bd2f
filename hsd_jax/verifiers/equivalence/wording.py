"""What answers say in words: lead-ins, numbers and sets by name, magnitudes, times of day, labels of choices."""

import re

_LEAD = re.compile(
    r"(?:(?:so|thus|hence|therefore)\b,? +)?(?:(?:the|our|final|correct|required) +)*"
    r"(?:answer|solution|result|value)s? *(?:is|are|:|=)+ *(?=\S)",
    re.IGNORECASE,
)
_ADVERB = re.compile(r"(?:so|thus|hence|therefore),? +(?=.*[=<>\d])", re.IGNORECASE)
_TAIL = re.compile(r"(?<=\S) +is (?:the|our) (?:final )?(?:answer|solution)$", re.IGNORECASE)
_ARTICLE = re.compile(r"(?:an?|the) (?=[a-z]{3,}[a-z -]*$)", re.IGNORECASE)
_REALS = re.compile(r"(?:the set of )?(?:all|any) reals?(?: numbers?)?", re.IGNORECASE)
_NOTHING = re.compile(
    r"(?:there (?:is|are) )?no (?:real )?solutions?(?: exists?)?|the empty set|empty set", re.IGNORECASE
)
_MAGNITUDES = {"thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_MAGNITUDE = re.compile(rf"([-+]?[\d,]*\.?\d+) *({'|'.join(_MAGNITUDES)})(?![A-Za-z])", re.IGNORECASE)
_TIME = re.compile(r"(\d{1,2}:\d\d) *([ap])\.? ?m\.?", re.IGNORECASE)
_RATIO = re.compile(r"(\d+) to (\d+)")
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_NUMBERS = {
    word: value
    for value, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen".split()
    )
} | {word: 10 * value for value, word in enumerate(_TENS, 2)}
_BASE_WORD = re.compile(rf"_(?:\{{ *\(?({'|'.join(_NUMBERS)}|\d+)\)? *\}}|({'|'.join(_NUMBERS)})(?![A-Za-z]))")
_LETTER = re.compile(r"\(?([A-J])[).:]*")
_LABEL = re.compile(r"(?:\(([A-J])\)|([A-J])[).:])[ .:]*(\S.*)", re.DOTALL)


def in_symbols(text: str) -> str:
    """An answer in words as symbols: `The answer is seven` is `7`, `1.5 million` is `1.5 \\times 10^{6}`."""
    text = _TAIL.sub("", _LEAD.sub("", text, count=1) if _LEAD.match(text) else text)
    adverb = _ADVERB.match(text)
    text = text[adverb.end() :] if adverb else text
    article = _ARTICLE.match(text)
    text = text[article.end() :] if article else text
    for pattern, symbol in ((_REALS, "\\mathbb{R}"), (_NOTHING, "\\emptyset")):
        if pattern.fullmatch(text):
            return symbol
    ratio = _RATIO.fullmatch(text)
    if ratio:
        return f"{ratio.group(1)}:{ratio.group(2)}"
    number = spelled_number(text)
    if number is not None:
        return str(number)
    text = _BASE_WORD.sub(lambda match: _base(match.group(1) or match.group(2)), text)
    text = _TIME.sub(lambda match: f"{match.group(1)} {match.group(2).lower()}m", text)
    magnitude = _MAGNITUDE.match(text)
    if magnitude:
        power = _MAGNITUDES[magnitude.group(2).lower()]
        text = f"{magnitude.group(1)} \\times 10^{{{power}}}{text[magnitude.end() :]}"
    return text


def _base(word: str) -> str:
    return f"_{_NUMBERS.get(word, word)}"


def spelled_number(text: str) -> int | None:
    """The integer a text spells out in English, up to the thousands; None for any other text."""
    if not text or len(text) > 80 or not text[0].isalpha():
        return None
    first, *rest = re.split(r"[ -]+", text.casefold())
    sign, words = (-1, rest) if first in ("minus", "negative") else (1, [first, *rest])
    thousands, current, known = 0, 0, bool(words)
    for word in words:
        small = _NUMBERS.get(word)
        if small is not None and current % 100 == 0 or (small is not None and _is_unit_after_tens(small, current)):
            current += small
        elif word == "hundred" and 0 < current < 10:
            current *= 100
        elif word == "thousand" and current and not thousands:
            thousands, current = current * 1000, 0
        else:
            known = False
    return sign * (thousands + current) if known else None


def _is_unit_after_tens(small: int, current: int) -> bool:
    return 0 < small < 10 and current % 10 == 0 and current % 100 >= 20


def same_choice(gold: str, given: str) -> bool:
    """Whether both sides are the letter of one choice, one perhaps with the choice's text, `(C) 42`.

    A text that names a second letter commits to none.
    """
    letters = [_LETTER.fullmatch(side) for side in (gold, given)]
    if letters[0] and letters[1]:
        return letters[0].group(1) == letters[1].group(1)
    for letter, labelled in ((letters[0], given), (letters[1], gold)):
        label = _LABEL.fullmatch(labelled)
        if letter and label and letter.group(1) == (label.group(1) or label.group(2)):
            return re.search(r"(?<![A-Za-z\\])[A-J](?![A-Za-z])", label.group(3)) is None
    return False


def same_clock(gold: str, given: str) -> bool:
    """Whether two times of day are the same where one of them leaves out which half of the day it is."""
    times = [re.fullmatch(r"(\d{1,2}:\d\d)( [ap]m)?", text) for text in (gold, given)]
    if not times[0] or not times[1] or times[0].group(1) != times[1].group(1):
        return False
    return times[0].group(2) is None or times[1].group(2) is None
