"""Reads the one answer a response commits to: its last box or closing sentence, else the last number it states.

Exactly one candidate leaves this module; nothing searches a response for any text that happens to match.
"""

import re

LONGEST_ANSWER = 600
LONGEST_RESPONSE = 400_000
MOST_BOXES = 64

_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])\s*")
_BETWEEN_BOXES = re.compile(
    r"(?:[\s$,.;:&~]|[A-Za-z](?:_\{?\w+\}?)?\s*=|\\[()\[\],;:! ]|\\q?quad|\\text\{[a-z() ]{0,40}?(?:and|or)? *\}"
    r"|(?:\b[a-z]+ ){0,2}?\band\b|\bor\b)*"
)
_BRACE = re.compile(r"(?<!\\)(?:\\\\)*[{}]")
# no word of any script, but letters of formulas: single, Greek, raised and lowered ones
_BARE = re.compile(
    r"(?:[^\w\n]|[\d_\u0370-\u03ff\u00b2\u00b3\u00b9\u00bc-\u00be\u2070-\u209c]|\\[A-Za-z]+"
    r"|(?:and|or)[A-Z]?(?![A-Za-z])|(?<![A-Za-z])[A-Za-z](?![A-Za-z])|(?<=\{)[a-z]+(?=\}))+"
)
_PROSE = re.compile(r"(?<![\\A-Za-z{])[a-z]{3,} +[a-z]{2,}(?![^{}]*\})")
# the sentence that closes a solution in the widespread form of Minerva's prompt
_CLOSING_SENTENCE = re.compile(r"[Ff]inal answer is:? ?\$(?=([^$]{1,300}))\1\$\. I hope it is correct")
_MATH = re.compile(r"\$\$(.{1,600}?)\$\$|\$(.{1,600}?)\$|\\\((.{1,600}?)\\\)|\\\[(.{1,600}?)\\\]", re.DOTALL)
_NUMBER = re.compile(
    r"(?<![A-Za-z0-9_.\\^{])[-+−]?(?:\\[dtc]?frac\{-?\d+\}\{\d+\}|\d+ \d+/\d+"
    r"|(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+|,\d\d(?![\d,]))?(?:\s?/\s?\d+)?|\.\d+)"
    r"(?:\s?\\?%|\s?(?:percentage|percent|pct)(?![A-Za-z]))?"
)


def extract(response: str) -> str | None:
    """The answer text of a response, or None where it commits to none.

    What precedes the last `</think>` is not read. Boxes that follow one another with nothing but punctuation or
    "and" between them are one answer, a list. A box that is never closed, is empty or holds more than
    LONGEST_ANSWER characters is no answer.
    """
    text = response[-LONGEST_RESPONSE:].rpartition("</think>")[2]
    boxes = [(match.start(), match.end()) for match in _BOX.finditer(text)]
    closing = list(_CLOSING_SENTENCE.finditer(text, boxes[-1][1] if boxes else 0))
    if closing and "\\boxed" not in closing[-1].group(1):
        return _checked([closing[-1].group(1)])
    return _tail_of_boxes(text, boxes[-MOST_BOXES:]) if boxes else _last_span(text)


def _content(text: str, start: int) -> tuple[int, str | None]:
    """End and content of the group that opens at `start`; content None where it never closes."""
    if start >= len(text):
        return start, None
    if text[start] != "{":
        token = re.match(r"[^\s$\\{}]+", text[start:])
        return (start + token.end(), token.group().rstrip(".,;:")) if token else (start, None)
    window = text[start : start + 4 * LONGEST_ANSWER]
    # a box may end in a stray backslash, \boxed{185\}: then its escaped brace closes it
    for braces in (_BRACE, re.compile(r"[{}]")):
        depth = 0
        for brace in braces.finditer(window):
            depth += 1 if brace.group().endswith("{") else -1
            if depth == 0:
                return start + brace.end(), window[1 : brace.end() - 1]
    return start, None


def _tail_of_boxes(text: str, boxes: list[tuple[int, int]]) -> str | None:
    contents: list[str] = []
    follows = -1
    for start, opens in reversed(boxes):
        end, content = _content(text, opens)
        nested = follows >= 0 and end > follows
        if follows >= 0 and not nested and not _joined(text[end:follows]):
            break
        if content is None:
            return None if not contents else _checked(contents)
        if not nested:
            contents.insert(0, content)
        follows = start
    return _checked(contents)


def _joined(between: str) -> bool:
    """Whether two boxes are parts of one answer; displays that follow each other without a word are not."""
    return _BETWEEN_BOXES.fullmatch(between) is not None and between.strip() != "$$"


def _checked(contents: list[str]) -> str | None:
    answer = " \\text{ and } ".join(dict.fromkeys(content.strip() for content in contents))
    control = any(ord(character) < 32 and character not in "\n\r\t\v\f" for character in answer)
    return None if not answer or control or len(answer) > LONGEST_ANSWER else answer


def _last_span(text: str) -> str | None:
    """The last number of a text without a box, or the formula that holds it; a text that is one formula as such."""
    whole = text.strip()
    if whole and len(whole) <= LONGEST_ANSWER // 4 and _BARE.fullmatch(whole):
        return whole
    tail = text[-20_000:]
    numbers = list(_NUMBER.finditer(tail))
    formulas = [match for match in _MATH.finditer(tail) if not _PROSE.search(match.group())]
    formulas = [match for match in formulas if re.search(r"\d", match.group())] or (formulas if not numbers else [])
    if formulas and (not numbers or formulas[-1].end() >= numbers[-1].end()):
        inside = next(group for group in formulas[-1].groups() if group is not None)
        return inside.strip() or None
    return numbers[-1].group().strip() if numbers else None
