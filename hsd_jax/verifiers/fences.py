"""Finds the program in a response: its fenced blocks, which of them is the solution, and what that takes from others.

Every expression here is linear in the text: quantifiers are possessive, and no text can match in two ways.
"""

import re
from collections.abc import Collection
from typing import NamedTuple

LONGEST_RESPONSE = 500_000  # characters
_LABEL = r"(?:i?py(?:thon)?|pypy)[\d.]*+"
# a fence that begins its line, or a labelled one glued to the words before it; or the end of the thinking
_OPENING = re.compile(
    r"(?P<think>(?<![`'\"])</think>)"
    r"|^[ \t]*+(?:(?:[-*+>]|\d++[.)])[ \t]++)?+(?P<fence>`{3,}+|~{3,}+)[ \t]*+(?P<label>[\w.+#-]*+)(?P<info>[^\n]*+)\n"
    rf"|(?<!`)(?P<glued>`{{3,}}+)[ \t]*+(?P<python>{_LABEL})[ \t]*+\n",
    re.MULTILINE | re.IGNORECASE,
)
# outside strings and comments a fence is no Python: it ends the block wherever it stands
_END_OF_PYTHON = re.compile(
    r"(?P<quotes>\"\"\"|''')(?:[^\\\"']|\\(?:.|\Z)|(?!(?P=quotes))[\"'])*+(?:(?P=quotes)|(?P<unterminated>\Z))"
    r"|\"(?:[^\\\"\n]|\\(?:.|\Z))*+\"?+|'(?:[^\\'\n]|\\(?:.|\Z))*+'?+|\#[^\n]*+|\\."
    r"|(?P<think></think>)|(?<!`)(?P<fence>`{3,}+)|^[ \t]*+(?P<tildes>~{3,}+)[ \t]*+$",
    re.MULTILINE | re.DOTALL,
)
_END_OF_TEXT = re.compile(
    r"(?P<think>(?<![`'\"])</think>)|^[ \t]*+(?:(?P<fence>`{3,}+)|(?P<tildes>~{3,}+))[ \t]*+$", re.MULTILINE
)
_STATEMENT = re.compile(
    r"^[ \t]*+(?:(?:def|class|for|while|if|with|try|async)\b[^\n]*:[ \t]*+$|import[ \t]+\w|from[ \t]+\S++[ \t]+import\b"
    r"|[A-Za-z_][\w.]*+[ \t]*+(?:[-+*/%&|^]|//|\*\*|<<|>>)?+=(?!=)|[A-Za-z_][\w.]*+\([^\n]*\)[ \t]*+$)",
    re.MULTILINE,
)
_READS = re.compile(r"\binput[ \t]*+\(|\bstdin\b|\bopen[ \t]*+\([ \t]*+0\b|\bread[ \t]*+\([ \t]*+0\b|\bfileinput\b")
_ACTS = re.compile(
    r"^(?!(?:async|def|class|import|from)\b|[@#\s)\]}'\"]|[A-Za-z_]\w*+[ \t]*+=[ \t]*+[\w.]++[ \t]*+$)\S", re.MULTILINE
)
_DEFINITION = r"^[ \t]*+(?:async[ \t]++)?+(?:def|class)[ \t]++{0}\b|^{0}[ \t]*+(?::[^=\n]*+)?+=(?!=)"
_DEFINED = re.compile(r"^(?:async[ \t]++)?+(?:def|class)[ \t]++(\w++)", re.MULTILINE)
_SHARED = re.compile(
    r"^([A-Z_][A-Z_\d]*+)[ \t]*+=(?!=)|^(?:from[ \t]++\S++[ \t]++)?+import[ \t]++([^\n#]++)", re.MULTILINE
)
_CODE = re.compile(r"[ \t]*+(?=(?:def|class|import|from|for|while|print|input)\b)")
_BOUND = re.compile(
    r"\b(?:def|class|as|for|import)[ \t]++(\w++)|(?<![\w.])([A-Za-z_]\w*+)[ \t]*+(?::=|[-+*/%&|^]?+=(?!=))"
)
_WORD = re.compile(r"(?<![\w.])[A-Za-z_]\w*+")


class Block(NamedTuple):
    """The code of one fenced block that may be Python, and whether its label says that it is."""

    code: str
    labelled: bool


def program_of(response: str, wanted: Collection[str] | None = None) -> str | None:
    """The program of a response, or None where it has none.

    It is the last Python block that defines one of the `wanted` names or, where they are empty, one that reads the
    input; `None` asks for neither. Helpers, imports and constants that it uses and other blocks define stand in front
    of it. A block without label counts only where it looks like Python and no labelled one will do. What is thought
    is no answer.
    """
    blocks = list(_blocks(response.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff")))
    chosen = _choose(blocks, wanted)
    return None if chosen is None else _joined(blocks, chosen, set(wanted or ()))


def _blocks(text: str) -> list[Block]:
    found: list[Block] = []
    thinking = text.lstrip().startswith("<think>")
    position = 0
    while opening := _OPENING.search(text, position):
        position = opening.end()
        if opening["think"]:
            found, thinking = [], False
            continue
        label, info = opening["python"] or opening["label"] or "", opening["info"] or ""
        if "`" in info:
            continue  # code within a line
        is_python = re.fullmatch(_LABEL, label, re.IGNORECASE)
        glued = _CODE.match(info) if is_python else None  # the code begins behind the label
        begin = opening.start("info") + glued.end() if glued else opening.end()
        end, position, thought = _closing(text, opening, bool(is_python or not label))
        if thought:
            found, thinking = [], False
        elif (is_python or not label) and not text[begin:end].isspace() and begin < end:
            found.append(Block(_flush_left(text[begin:end]), bool(is_python)))
    return [] if thinking else [block for block in found if block.code.strip()]


def _closing(text: str, opening: re.Match[str], python: bool) -> tuple[int, int, bool]:
    """Where a block's code ends, where the next block may begin, and whether all up to there was thought."""
    fence = opening["fence"] or opening["glued"]
    for found in (_END_OF_PYTHON if python else _END_OF_TEXT).finditer(text, opening.end()):
        if found["think"]:
            return found.start(), found.end(), True
        if python and found["unterminated"] is not None:
            return _closing(text, opening, False)  # a string that never ends: not Python, the next fence counts
        closing = found["fence"] or found["tildes"] or ""
        if closing[:1] == fence[0] and (python or len(closing) >= len(fence)):
            start = found.start("fence" if found["fence"] else "tildes")
            again = _OPENING.match(text, start)  # it may open the next block as well
            glued = again and re.fullmatch(_LABEL, again["label"] or again["python"] or "", re.IGNORECASE)
            return start, start if glued else found.end(), False
    return len(text), len(text), False


def _flush_left(code: str) -> str:
    """Code without the indentation of its first line, and without a byte order mark."""
    code = code.replace("\ufeff", "", 1) if code.lstrip().startswith("\ufeff") else code
    first = re.search(r"^[ \t]*+(?=\S)", code, re.MULTILINE)
    return re.sub(rf"^{first[0]}", "", code, flags=re.MULTILINE) if first and first[0] else code


def _choose(blocks: list[Block], wanted: Collection[str] | None) -> int | None:
    """The number of the block that is the solution: by what it does first, by its label next, the last of equals."""
    ranks = []
    for number, (code, labelled) in enumerate(blocks):
        if labelled or _STATEMENT.search(code):
            fit = _fit(code, wanted)
            ranks.append((fit == 2, labelled, fit, number))
    return max(ranks)[-1] if ranks else None


def _fit(code: str, wanted: Collection[str] | None) -> int:
    """2 for a block that answers the tests by itself, 1 for one that does part of it."""
    if wanted is None:
        return 0
    if wanted:
        defined = sum(bool(re.search(_DEFINITION.format(re.escape(name)), code, re.MULTILINE)) for name in wanted)
        return 2 * (defined == len(wanted)) or min(defined, 1)
    acts = bool(_ACTS.search(code))
    return acts + (acts and bool(_READS.search(code)))


def _joined(blocks: list[Block], chosen: int, wanted: set[str]) -> str:
    """The chosen block behind those of the others that define a name it uses, or one of the wanted."""
    homes: dict[str, int] = {}
    for number in (*range(chosen + 1, len(blocks)), *range(chosen)):  # the nearest before it wins
        homes.update(dict.fromkeys(_offered(blocks[number].code), number))
    taken, waiting, needed = {chosen}, [chosen], wanted - _bound(blocks[chosen].code)
    while waiting:
        code = blocks[waiting.pop()].code
        needed |= set(_WORD.findall(code)) - _bound(code)
        fresh = {homes[name] for name in needed if name in homes} - taken
        taken |= fresh
        waiting += fresh
        needed = set()
    return "\n".join(blocks[number].code for number in [*sorted(taken - {chosen}), chosen])


def _offered(code: str) -> set[str]:
    """Names that a block has for others: functions and classes; imports and constants where it does nothing else."""
    shared = [] if _ACTS.search(code) else [" ".join(pair) for pair in _SHARED.findall(code)]
    return {*_DEFINED.findall(code), *_WORD.findall(" ".join(shared))} - {"as"}


def _bound(code: str) -> set[str]:
    return {name for pair in _BOUND.findall(code) for name in pair if name}
