r"""Reads the one answer a response commits to: its boxes, else what stands behind a marker, else its last number.

Exactly one candidate leaves this module; nothing searches a response for any text that happens to match. Only plain
searches for fixed strings run over a whole response; expressions see windows of at most WINDOW characters.
"""

import re
from dataclasses import dataclass

from hsd_jax.verifiers.equivalence import tables
from hsd_jax.verifiers.equivalence.tables import LONGEST_ANSWER

LONGEST_RESPONSE = 400_000
MOST_BOXES = 32
WINDOW = 2_000
LONGEST_JOINT = 160
BESIDE = 80  # characters that are looked at on each side of a box or number

_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_ANY_BRACE = re.compile(r"[{}]")
_WORD = re.compile(r"\\?[^\W\d_]+")
_SENTENCE_END = re.compile(r"[.!?;]\s|[。！？]|\n\s*\n|\$\$\s*\$\$")
_BULLET = re.compile(r"\n\s*(?:[-*•]|\(?[a-z0-9]{1,3}[.)])\s")
_JOINING = frozenset(
    "and or also the first second third other one another is are as well for with root roots part text quad qquad"
    " left right".split()
)
_MARKER = re.compile(
    r"(?:(?:(?:final|correct)\s+)?answers?|correct\s+(?:option|choice))\**\s*(?:is|are|:|=)\**\s*:?|####|答案(?:是|为|：|:)",
    re.IGNORECASE,
)
_MINUS = re.compile(r"(?:(?:[$=(&]|\\\(|\\\[)\s{0,9}[-−]\s{0,9}|(?<![A-Za-z])[-−])$")
_UNEQUAL = re.compile(r"(?:\\neq?|\\not\s{0,9}=?|≠)\s{0,9}$")
# what is glued to a box belongs to its answer: \boxed{7}^2, \boxed{7}0, \boxed{7}\pi
_GLUED = re.compile(
    r"(?:[\^!_/*(\d]|[:,](?=\d)|[A-Za-z](?![A-Za-z])|\s?\\(?:cdot|times|div|pi|sqrt|frac|pm|%)(?![A-Za-z])|\s?\+\s?(?=[\\\w])|-(?=\d))[^$\n=<>]{0,40}"
)
_PART_BEFORE = re.compile(
    r"(?:\\(?:[dtc]?frac(?:\s?\{[^{}]{0,40}\})?|sqrt|log|ln|sin|cos|tan|cdot|times|div)|[\w)}]\s?[+/]|[\^_])\s?\{?\s?$"
)
_DENIED_BEFORE = re.compile(
    r"(?<![A-Za-z])(?:not|either|never|cannot|[a-z]{2,6}n['’]t)(?:\s(?:be|equal|equal to|the answer|simply))?\W*$",
    re.IGNORECASE,
)
_DENIED_AFTER = re.compile(
    r"[^\w.]*(?:no|wait|actually|nope|or (?:maybe|perhaps|possibly|else|more|less|fewer|so))(?![A-Za-z])", re.IGNORECASE
)
_DENIED_SOON = re.compile(
    r"(?:\S+ ){0,2}(?:wrong|incorrect|false|cannot|\S+n't|(?:is|are|was|may|do|does|would|could|should) not"
    r"|not (?:right|correct|the answer|it|sure|valid))(?!\S)"
)
_REOPENED = re.compile(r"[.?!;]\W*(?:or|alternatively|maybe|perhaps|possibly|but)(?![A-Za-z])", re.IGNORECASE)
# a number without a box that is not said to be the answer
_QUALIFIED_BEFORE = re.compile(
    r"(?<![A-Za-z])(?:at least|at most|(?:less|more|fewer|greater) than|between \S{1,20} and|not|unknown)[\s$*]*$",
    re.IGNORECASE,
)
_QUALIFIED_AFTER = re.compile(
    r"[\s$*]*(?:squared|cubed|dozen|times|(?:is|was) (?:not|wrong|incorrect|false)|isn['’]t)(?![A-Za-z])", re.IGNORECASE
)
# a number within a formula that says no result: 4+3, 4 + 3, 3x+5, 2^{10}, 4+3=, 7-
_OPERAND_BEFORE = re.compile(r"(?:[\w)}\]][ \t]{0,3}[+*/^×·÷]|[\d)}\]][ \t]{0,3}[-−]|\\(?:times|cdot|div))[ \t]{0,3}$")
_OPERAND_AFTER = re.compile(
    r"\s{0,3}(?:\^|[×÷·]|\\(?:times|cdot|div)(?![A-Za-z])|\*\s?[\d(])"
    r"|[\s$]{0,9}(?:[-+*/=−]|\\(?:times|cdot|div|approx))[\s$]{0,9}$"
)
_UNSURE = re.compile(
    r"(?<![A-Za-z])(?:maybe|perhaps|possibly|either|also possible|guess|not sure)(?![A-Za-z])", re.IGNORECASE
)
_HOPE = re.compile(r"\.?\s*I hope it is correct\.?\s*$", re.IGNORECASE)
_NUMBER = re.compile(
    r"(?<![A-Za-z0-9_.\\^{])[-+−]?(?:\\[dtc]?frac\{-?\d{1,40}\}\{\d{1,40}\}"
    r"|\d{1,3}(?:,\d{3}){1,20}(?!\d)(?:\.\d{1,40})?|\d{1,80} \d{1,40}/\d{1,40}"
    r"|\d{1,80}(?:\.\d{1,80}|,\d\d(?![\d,]))?(?:\s?/\s?\d{1,80})?|\.\d{1,80})(?:\s?\\?%|\s?(?:percentage|percent|pct)(?![A-Za-z]))?"
)
_MATH = re.compile(
    r"\$\$([^$]{1,600})\$\$|\$([^$]{1,600})\$|\\\(([^$\\]{1,600}(?:\\[^()][^$\\]{0,80}){0,60})\\\)|\\\[([^$\\]{1,600})\\\]"
)
_ALTERNATIVE = re.compile(rf"[\s$)\]\\]{{0,6}}or\s{{1,3}}(?:\$|\\\()?({_NUMBER.pattern})", re.IGNORECASE)


@dataclass(frozen=True)
class Extracted:
    """What a response commits to: one answer text, or the contents of several boxes that belong together."""

    parts: tuple[str, ...]

    @property
    def text(self) -> str:
        """The answer as one text; several boxes are a list."""
        return " \\text{ and } ".join(self.parts)


def extract(response: str) -> str | None:
    """The answer text of a response, or None where it commits to none."""
    found = answer_of(response)
    return found.text if found else None


def answer_of(response: str) -> Extracted | None:
    """What a response commits to, or None.

    What precedes the last `</think>` is not read, nor what follows a `<think>` that never ends. Boxes of one sentence
    are one answer, a list; equal ones are one. An empty or unfinished box behind another one says nothing. A box of
    more than LONGEST_ANSWER characters, or with control characters, is no answer.
    """
    text = _after_thinking(response)
    starts = _box_starts(text)
    if starts:
        boxes = _boxes(text, starts)
        tail = text[starts[-1][1] :][-WINDOW:]
        if _HOPE.search(tail) and "inal answer is" in tail:  # the sentence that closes a solution in Minerva's form
            return _unboxed(tail)
        return _of_boxes(text, boxes) if boxes else None
    return _unboxed(text[-WINDOW:])


def closes_a_box(response: str) -> bool:
    """Whether a response commits to an answer in a box that it closed, and opened no other behind it."""
    text = _after_thinking(response)
    starts = _box_starts(text)
    return bool(starts) and bool(_boxes(text, starts[-1:]))


def _after_thinking(response: str) -> str:
    return response[-LONGEST_RESPONSE:].rpartition("</think>")[2].partition("<think>")[0]


def _box_starts(text: str) -> list[tuple[int, int]]:
    """Where the last boxes begin, in order: the command, and what it opens."""
    starts: list[tuple[int, int]] = []
    for command in ("\\boxed", "\\fbox"):
        end = len(text)
        for _ in range(MOST_BOXES):
            end = text.rfind(command, 0, end)
            if end < 0:
                break
            opens = end + len(command)
            if not text[opens : opens + 1].isalpha():
                starts.append((end, opens + len(text[opens : opens + 9]) - len(text[opens : opens + 9].lstrip())))
    return sorted(starts)[-MOST_BOXES:]


def _boxes(text: str, starts: list[tuple[int, int]]) -> list[tuple[int, int, str]]:
    """Begin, end and content of the boxes that are closed and hold something; inner boxes are part of the outer."""
    found: list[tuple[int, int, str]] = []
    for start, opens in starts:
        if found and start < found[-1][1]:
            continue
        end, content = _content(text, opens)
        if content is None and len(text) >= opens + 2 * LONGEST_ANSWER:
            found.append((start, end, "\0"))  # too long to be an answer
        elif content is not None and content.strip():
            found.append((start, end, _unwrapped(content.strip())))
    return found


def _unwrapped(content: str) -> str:
    """What a box holds that is nothing but another box."""
    for _ in range(3):
        match = re.match(r"\\(?:boxed|fbox)\s?(?=\{)", content)
        end, inner = _content(content, match.end()) if match else (0, None)
        if inner is None or content[end:].strip(" .$"):
            break
        content = inner.strip()
    return content


def _content(text: str, start: int) -> tuple[int, str | None]:
    """End and content of the group that opens at `start`; content None where it never closes."""
    window = text[start : start + 2 * LONGEST_ANSWER]
    if not window.startswith("{"):
        token = re.match(r"[^\s$\\{}]{1,600}", window)
        return (start + token.end(), token.group().rstrip(".,;:")) if token else (start, None)
    # a box may end in a stray backslash, \boxed{185\}: then its escaped brace closes it
    for braces in (_BRACE, _ANY_BRACE):
        depth = 0
        for brace in braces.finditer(window):
            depth += (brace.group() == "{") - (brace.group() == "}")
            if depth == 0 and brace.group() == "}":
                return start + brace.end(), window[1 : brace.end() - 1].rstrip("\\" if braces is _ANY_BRACE else "")
    return start, None


def _of_boxes(text: str, boxes: list[tuple[int, int, str]]) -> Extracted | None:
    parts = [boxes[-1]]
    for box in reversed(boxes[:-1]):
        joint = _joint(text[box[1] : parts[0][0]])
        if joint == "apart":
            break
        if joint == "unclear" and box[2] != parts[0][2]:
            return Extracted((box[2], "\\unclear", parts[0][2]))
        parts.insert(0, box)
    before, after = text[max(0, parts[0][0] - BESIDE) : parts[0][0]], text[parts[-1][1] : parts[-1][1] + BESIDE]
    if _taken_back(before, after):
        return Extracted(("\\unclear", parts[-1][2]))
    contents = tuple(dict.fromkeys(content for _, _, content in parts))
    if len(contents) == 1:
        contents = (_with_glued(contents[0], before if len(parts) == 1 else "", after),)
        alternative = _ALTERNATIVE.match(after)
        contents += (alternative[1].strip(),) if alternative else ()
    return Extracted(contents) if all(_admissible(content) for content in contents) else None


def _admissible(content: str) -> bool:
    return len(content) <= LONGEST_ANSWER and not any(c < " " and c not in "\n\r\t\v\f" for c in content)


def _joint(between: str) -> str:
    """How two boxes hang together: one answer, two statements (`apart`), or a sentence that does not say which."""
    if len(between) > LONGEST_JOINT:
        return "apart"
    if _REOPENED.match(between.lstrip("$ ")):
        return "unclear"
    if between.strip() == "$$" or _SENTENCE_END.search(between) and not _BULLET.search(between):
        return "apart"
    words = [word.lower() for word in _WORD.findall(between) if len(word) > 1]
    if all(word.lstrip("\\") in _JOINING for word in words):
        return "joined"
    return (
        "unclear"
        if re.search(r"(?<![A-Za-z])(?:not|but|no|wait|maybe|or|either|perhaps|rather|and)(?![A-Za-z])", between)
        else "apart"
    )


def _with_glued(content: str, before: str, after: str) -> str:
    """The content of a box with the sign, digits and operators that touch it from outside."""
    if _MINUS.search(before):
        content = f"-({content})" if re.search(r"[-+−]", content) else f"-{content}"
    digits, glued = re.search(r"\d{0,40}$", before), _GLUED.match(after)
    return (digits.group() if digits else "") + content + (glued.group() if glued else "")


def _taken_back(before: str, after: str) -> bool:
    """Whether a box is part of a formula or denied by what stands beside it: `\\sqrt{\\boxed{5}}`, `not \\boxed{5}`."""
    if any(pattern.search(before) for pattern in (_UNEQUAL, _PART_BEFORE, _DENIED_BEFORE)):
        return True
    sentence = after.partition(". ")[0].partition("\n")[0].replace("’", "'")
    return bool(
        _DENIED_AFTER.match(after) or _DENIED_SOON.match(" ".join(re.findall(r"[a-z']+", sentence.lower())[:4]))
    )


def _unboxed(text: str) -> Extracted | None:
    """The answer of a text without a box: behind its last marker if nothing follows, else its last number."""
    text = re.sub(r"\*\*([^*]{1,80})\*\*", r" \1 ", _HOPE.sub("", text.strip())).strip()
    markers = list(_MARKER.finditer(text))
    if markers:
        said = text[markers[-1].end() :].strip().strip("*").strip()
        line, _, rest = said.partition("\n")
        denied = not tables.DENIALS.isdisjoint(line.lower().split())
        if line and len(line) <= LONGEST_ANSWER // 2 and not rest.strip() and (denied or _clear(line, 4)):
            return Extracted((line.strip("*").strip(),))
    if len(text) <= LONGEST_ANSWER // 4 and "\n" not in text and _clear(text, 1):
        return Extracted((text,))
    return _last_number(text)


def _clear(line: str, most: int) -> bool:
    """Whether a line holds an answer and nothing else: formulas, units, harmless words, or at most some words alone."""
    if ". " in re.sub(r"^\W{0,4}[A-J]\. ", "", line) or not line.strip("*.$ "):
        return False
    words = re.sub(r"\\(?:begin|end)\{[a-z]+\}", " ", line)
    words = [word for word in _WORD.findall(words) if not word.startswith("\\") and len(word) > 1]
    unknown = [
        word for word in words if word.lower() not in tables.KNOWN and tables.unit(word) is None and not word.isupper()
    ]
    return not unknown or not re.search(r"\d", line) and len(line.split()) <= most


def _last_number(text: str) -> Extracted | None:
    numbers = list(_NUMBER.finditer(text))
    formulas = [
        match for match in _MATH.finditer(text) if not re.search(r"(?<![\\A-Za-z{])[a-z]{3,} +[a-z]{2,}", match.group())
    ]
    formulas = [match for match in formulas if re.search(r"\d", match.group())] or (formulas if not numbers else [])
    last = formulas[-1] if formulas and (not numbers or formulas[-1].end() >= numbers[-1].end()) else None
    last = last or (numbers[-1] if numbers else None)
    if last is None:
        return None
    content = next((group for group in last.groups() if group is not None), last.group()).strip()
    return Extracted(("\\unclear", content) if _qualified(text, *last.span()) else (content,)) if content else None


def _qualified(text: str, start: int, end: int) -> bool:
    """Whether what stands around a number does not commit to it: `at least 7`, `7 dozen`, `maybe 7`, `4 + 7`, `7 -`."""
    before, after = text[max(0, start - BESIDE) : start], text[end : end + BESIDE]
    signed = before + text[start] * (text[start] in "+-−")  # 4 +3 is a sum
    emphasized = before.endswith("*") and after.startswith("*")
    if not emphasized and (_OPERAND_BEFORE.search(signed) or _OPERAND_AFTER.match(after)):
        return True
    sentence = re.split(r"[.!?]\s|\n", before)[-1] + re.split(r"[.!?](?:\s|$)|\n", after)[0]
    return bool(_QUALIFIED_BEFORE.search(before) or _QUALIFIED_AFTER.match(after) or _UNSURE.search(sentence))
