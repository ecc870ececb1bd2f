"""Controls: a method whose teacher reads something else in place of its context, so that what this adds is measured.

Each changes one thing; loss, rollouts, weights and wording stay. What stands in for the context is needed: a rollout
for which there is none is left out, never filled. Sources of the constructions: arXiv:2608.09228 (another problem),
arXiv:2609.20612 (wrong answer), arXiv:2606.11709 (a failure in the same words), arXiv:2608.09263 (the rollout itself).
"""

from collections.abc import Callable
from dataclasses import replace

from hsd_jax.methods.row import Distilled, Method, View
from hsd_jax.reading.pieces import (
    CLOSING,
    OPENING,
    PEER,
    QUESTION,
    Attempts,
    Fixed,
    Piece,
    Reads,
    Text,
    content,
)
from hsd_jax.types import Array

BORROWED = ("answer", "solution")  # texts that another problem has, too


def other_problem(pieces: Reads) -> Reads:
    """The same pieces of another problem behind its question, honestly announced as an example."""
    success = replace(PEER, whose="other", needed=True)
    example = tuple(piece for piece in pieces if _can_be_borrowed(piece)) or (success,)
    example = _with_attempt(example, success) if any(isinstance(piece, Attempts) for piece in example) else example
    borrowed = [replace(piece, whose="other", needed=True) for piece in example if not isinstance(piece, Fixed)]
    question = Text("prefix", whose="other", needed=True)
    return (Fixed("other_open"), question, *borrowed, Fixed("other_close"))


def shuffled_peer(pieces: Reads) -> Reads:
    """A success of another problem in the words of the peer, nearest to the group in length."""
    return _with_attempt(pieces, replace(PEER, whose="other", needed=True))


def wrong_peer(pieces: Reads) -> Reads:
    """A failure of the same group in the words that call it correct."""
    return _with_attempt(pieces, replace(PEER, outcome="failures", needed=True))


def itself(pieces: Reads) -> Reads:
    """The rollout's own text in the words of the peer."""
    return _with_attempt(pieces, replace(PEER, outcome="itself", needed=True))


def wrong_answer(pieces: Reads) -> Reads:
    """A wrong final answer of the group in the words of the answer; in place of everything where none is read."""
    wrong = Text("wrong_answer", needed=True)
    swapped = tuple(wrong if isinstance(piece, Text) and piece.block == "answer" else piece for piece in pieces)
    return swapped if wrong in swapped else (wrong,)


def framing_only(pieces: Reads) -> Reads:
    """The words around every piece, and nothing between them."""
    return tuple(words for piece in pieces for words in _words_around(piece))


CONTROLS: dict[str, Callable[[Reads], Reads]] = {
    "other_problem": other_problem,
    "shuffled_peer": shuffled_peer,
    "wrong_peer": wrong_peer,
    "itself": itself,
    "wrong_answer": wrong_answer,
    "framing_only": framing_only,
}


def controlled(method: Method, control: str) -> Method:
    """The method with its teacher's context replaced; other views, of a contrast for example, stay as they are."""
    (name, view), *others = method.views
    opening = view.reads[0] if view.reads[0] in (QUESTION, OPENING) else QUESTION
    reads = (opening, *CONTROLS[control](content(view.reads)), CLOSING)
    return replace(method, views=((name, View(view.weights, reads)), *others), distilled=_as_if_read(method.distilled))


def _as_if_read(distilled: Distilled) -> Distilled:
    def as_if_read(success_PG: Array, kept_PG: Array, length_PG: Array) -> Array:
        return distilled(success_PG, kept_PG | True, length_PG)

    return as_if_read


def _can_be_borrowed(piece: Piece) -> bool:
    return isinstance(piece, Attempts) or (isinstance(piece, Text) and piece.block in BORROWED)


def _with_attempt(pieces: Reads, attempt: Attempts) -> Reads:
    """The pieces with this attempt in place of the first one and no other; alone where none is read."""
    places = [place for place, piece in enumerate(pieces) if isinstance(piece, Attempts)]
    if not places:
        return (attempt,)
    return tuple(
        attempt if place == places[0] else piece for place, piece in enumerate(pieces) if place not in places[1:]
    )


def _words_around(piece: Piece) -> Reads:
    if isinstance(piece, Attempts):
        return (Fixed(f"{piece.wrapper}_open", counts=True), Fixed(f"{piece.wrapper}_close")) * piece.count
    return (Fixed(f"{piece.block.rstrip('0123456789')}_empty", counts=True),) if isinstance(piece, Text) else (piece,)
