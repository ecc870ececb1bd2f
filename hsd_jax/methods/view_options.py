"""The words by which a config changes what views read, and in which a run says what they do."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hsd_jax.methods.row import View, Views
from hsd_jax.reading.peers import PER_ROLLOUT
from hsd_jax.reading.pieces import (
    ANSWER,
    FEEDBACK,
    PEER,
    QUESTION,
    SOLUTION,
    Attempts,
    Fixed,
    Piece,
    Reads,
    content,
    privileged,
)

READS: dict[str, Reads] = {
    "none": privileged(),
    "answer": privileged(ANSWER),
    "solution": privileged(SOLUTION),
    "peer": privileged(PEER),
    "answer_and_peer": privileged(ANSWER, PEER),
    "feedback": privileged(FEEDBACK),
    "peer_or_feedback": privileged(replace(FEEDBACK, spare=True), PEER),
}


def changed_views(views: Views, given: Mapping[str, Any]) -> Views:
    """The views with other things read by the teacher, and rollouts chosen by another rule."""
    if "reads" in given:
        (name, view), *others = views
        ruled = {piece.rule: piece for piece in view.reads if isinstance(piece, Attempts)}
        reads = READS[given["reads"]]
        for own in ruled.values():
            reads = tuple(replace(own, outcome="successes") if piece == PEER else piece for piece in reads)
        views = ((name, View(view.weights, reads)), *others)

    def changed(piece: Piece) -> Piece:
        if not (isinstance(piece, Attempts) and piece.is_drawn):
            return piece
        rule, draws = given.get("peer_rule", piece.rule), given.get("peer_draws", piece.draws)
        return replace(piece, rule=rule, draws="independent" if rule in PER_ROLLOUT else draws)

    return tuple((name, View(view.weights, tuple(map(changed, view.reads)))) for name, view in views)


def words_of(reads: Reads) -> str:
    """What a view reads besides the question, in order."""
    blind = " without the question" * (QUESTION not in reads)
    return (" + ".join(map(_piece_words, content(reads))) or "nothing") + blind


def _piece_words(piece: Piece) -> str:
    if isinstance(piece, Fixed):
        return f"[{piece.name}]"
    if not isinstance(piece, Attempts):
        return f"{piece.block} of another problem" if piece.whose == "other" else piece.block
    if piece.whose == "other":
        return "peer of another problem"
    named = {"successes": "peer", "failures": "failed peer", "any": "any peer", "itself": "itself"}
    word = named.get(piece.outcome, "failed peer, else peer")
    return f"{piece.count} x {word}" * (piece.count > 1) or word
