"""The records of the grammar: tokens, trees of tuples (`grammar` names their kinds), the refusal to read."""

from typing import Any, NamedTuple

Tree = tuple[Any, ...]


class Token(NamedTuple):
    """One token. `kind` is num, sym, word or op; `spaced` says that white space stood before it."""

    kind: str
    text: str
    spaced: bool = False


class Unread(Exception):
    """A text that the grammar does not read; the message is the verdict's reason."""


def joined(found: list[Token]) -> str:
    """The text of tokens; white space counts between two words or numbers only."""
    parts = []
    for before, token in zip([None, *found], found, strict=False):
        apart = before and before.kind in ("num", "word") and token.kind in ("num", "word")
        parts.append(f" {token.text}" if apart or before and before.text == "," else token.text)
    return "".join(parts)


def spelled(tree: Tree) -> str:
    """A tree as text, for names that are compared literally."""
    if tree[0] in ("num", "sym"):
        return str(tree[1])
    return (
        f"{tree[0]}({','.join(spelled(part) if isinstance(part, tuple) and part else str(part) for part in tree[1:])})"
    )
