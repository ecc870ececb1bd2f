"""What can be read before a response: pieces, of which a view is an ordered list.

A view always ends in the problem's suffix (task instruction and generation prompt), the same for student and teachers.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Whose = Literal["own", "other"]
Outcome = Literal["successes", "failures", "any", "failures_first", "itself"]


@dataclass(frozen=True)
class Text:
    """A text about the problem: its question, or what the data set or the verifier knows (empty where unknown).

    `block` names a text of `Problems` ("prefix" is the question); "feedback" and "wrong_answer" are of every rollout.
    `whose` "other" is that of another problem. A view in which a `needed` piece is empty reads nothing at all; a
    `spare` one is read only where there is no attempt.
    """

    block: str
    whose: Whose = "own"
    needed: bool = False
    spare: bool = False


@dataclass(frozen=True)
class Fixed:
    """A fixed text by its name in `FixedTexts`; with `counts`, one that stands where something would be read."""

    name: str
    counts: bool = False


@dataclass(frozen=True, order=True)
class Attempts:
    """Rollouts of the group, never the reader itself, each between two fixed texts (`wrapper`).

    Of those with this `outcome` the first `count` by `rule` (`peers.PEER_RANKINGS`); "failures_first" takes failures as
    long as there are any. With `draws` "coupled" a group reads at most count + 1 different sets. "itself" is the
    reader's own. `whose` "other" is one success of another problem.
    """

    outcome: Outcome = "successes"
    count: int = 1
    rule: str = "uniform"
    draws: Literal["coupled", "independent"] = "coupled"
    wrapper: str = "peer"
    whose: Whose = "own"
    needed: bool = False

    @property
    def is_drawn(self) -> bool:
        """Whether rollouts of the group are chosen."""
        return self.whose == "own" and self.outcome != "itself"


Piece = Text | Fixed | Attempts
Reads = tuple[Piece, ...]

QUESTION, ANSWER, SOLUTION, FEEDBACK = Text("prefix"), Text("answer"), Text("solution"), Text("feedback")
PEER, OPENING, CLOSING = Attempts(), Fixed("opening"), Fixed("closing")
STUDENT: Reads = (QUESTION,)


def privileged(*pieces: Piece) -> Reads:
    """The question, these pieces, and the closing line."""
    return (QUESTION, *pieces, CLOSING)


def informs(piece: Piece) -> bool:
    """Whether a piece tells more than the question does, or stands where such a piece would."""
    return piece.counts if isinstance(piece, Fixed) else piece != QUESTION


def content(reads: Reads) -> Reads:
    """The pieces that tell more than the question does."""
    return tuple(piece for piece in reads if informs(piece))


def attempts(reads: Iterable[Piece]) -> tuple[Attempts, ...]:
    """The pieces that are rollouts."""
    return tuple(piece for piece in reads if isinstance(piece, Attempts))


def reads_block(reads: Iterable[Piece], block: str) -> bool:
    """Whether one of the pieces is this text."""
    return any(isinstance(piece, Text) and piece.block == block for piece in reads)


def is_per_rollout(piece: Piece) -> bool:
    """Whether every rollout of a group may read something else here."""
    if isinstance(piece, Attempts):
        return piece.outcome == "itself" or (piece.is_drawn and piece.draws == "independent")
    return isinstance(piece, Text) and piece.block in ("feedback", "wrong_answer") and piece.whose == "own"


def most_contexts(reads: Reads, group: int) -> int:
    """How many distinct contexts a group of this size reads at the most.

    Everybody reads the same coupled sets but those who are in one, and each of these lacks itself.
    """
    if any(map(is_per_rollout, reads)):
        return group
    return min(group, 1 + sum(piece.count for piece in attempts(reads) if piece.is_drawn))
