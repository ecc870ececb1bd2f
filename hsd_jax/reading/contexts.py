"""Contexts, spliced from token ids by index arithmetic: nothing is decoded and encoded again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import jax
import jax.numpy as jnp
from jax.tree_util import register_dataclass

from hsd_jax.reading.pieces import Attempts, Fixed, Piece, Reads, Text, attempts, informs, is_per_rollout, most_contexts
from hsd_jax.reading.ragged import constant, nothing, only_where, over_contexts, splice, without_start
from hsd_jax.types import Array, Contexts, Padded, Problems, Rollouts

FixedTexts = Mapping[str, Padded]  # the fixed texts around pieces as ids, by name; NAME_open and NAME_close wrap


@register_dataclass
@dataclass(frozen=True)
class Chosen:
    """What was chosen for a step: `peers` of each drawn piece [P, G, count] (-1: none), and what other problems give.

    `given` maps "prefix", "answer", "solution" and "attempt" to texts of another problem [P] (length 0: none).
    """

    peers: Mapping[Attempts, Array]
    given: Mapping[str, Padded]


@register_dataclass
@dataclass(frozen=True)
class Window:
    """How many tokens a context may have, and the least of an attempt that is still worth reading."""

    width: int = field(metadata={"static": True})
    min_peer_tokens: int = 64


@register_dataclass
@dataclass(frozen=True)
class TeacherInputs:
    """What became of each rollout's context: is anything privileged in it, an attempt, one without its tail, whose.

    `peer_PG` is the first attempt of the own group that is read; -1 where there is none.
    """

    has_context_PG: Array
    has_peer_PG: Array
    peer_truncated_PG: Array
    peer_PG: Array


def student_contexts(problems: Problems, width: int, group: int) -> Contexts:
    """The question alone: one context for the whole group (M = 1)."""
    prompt = splice([problems.prefix, problems.suffix], width)
    of_PG = jnp.zeros((prompt.length.shape[0], group), jnp.int32)
    return Contexts(prompt.tokens[:, None], prompt.length[:, None], of_PG)


def read_contexts(
    reads: Reads,
    problems: Problems,
    frame: FixedTexts,
    rollouts: Rollouts,
    chosen: Chosen,
    window: Window,
) -> tuple[Contexts, TeacherInputs]:
    """The distinct contexts of each group under a view, and what every rollout reads in them.

    The pieces in their order, each only where it is known, and the suffix (the teacher's own where it has one). Where
    the window is too small the TAILS OF THE ATTEMPTS are cut, never anything else, each to its share of the room; where
    fewer than `min_peer_tokens` of one would remain, it is left out. M is `pieces.most_contexts`. Contexts of the
    same content are one, and an unused context has length 0.

    Source: arXiv:2606.15576, Eq. 9.
    """
    peers_PGK = _peers(reads, rollouts, chosen)
    of_each, most = any(map(is_per_rollout, reads)), most_contexts(reads, peers_PGK.shape[1])
    peer_PMK, of_PG = _one_each(peers_PGK) if of_each else _distinct(peers_PGK, most)
    shape = peer_PMK.shape[:2]
    whole = [_whole_piece(piece, problems, frame, chosen, shape) for piece in reads]
    suffix = over_contexts(problems.further.get("teacher_tail", problems.suffix), shape)
    spare = [isinstance(piece, Text) and piece.spare for piece in reads]
    taken_PM = sum((text.length for text, idle in zip(whole, spare, strict=True) if not idle), start=suffix.length)
    there = _attempts_there(reads, frame, rollouts, chosen, peer_PMK)
    kept = _fitted(there, window.width - taken_PM, window.min_peer_tokens)
    some_PM = sum((attempt.kept_PM for attempt in kept), start=jnp.zeros(shape, bool))
    whole = [only_where(text, ~some_PM) if idle else text for text, idle in zip(whole, spare, strict=True)]
    text = splice([*_in_order(reads, whole, kept), suffix], window.width)
    known_PM = _is_known(reads, whole, kept) & (taken_PM <= window.width)
    pairs = zip(there, kept, strict=True)
    cut_PM = sum((b.kept_PM & (b.text.length < a.text.length) for a, b in pairs), start=jnp.zeros(shape, bool))
    read = TeacherInputs(*(_of(x, of_PG) for x in (known_PM, some_PM, cut_PM, _first_own(kept, shape))))
    return _merged(Contexts(text.tokens, text.length, of_PG)), read


@dataclass(frozen=True)
class _Attempt:
    """One attempt in every context [P, M]: the fixed texts around it, its text, whether it is there, whose it is."""

    opens: Padded
    closes: Padded
    text: Padded
    kept_PM: Array
    peer_PM: Array

    def parts(self) -> list[Padded]:
        """What is spliced."""
        shape = self.kept_PM.shape
        around = (only_where(constant(marker, shape), self.kept_PM) for marker in (self.opens, self.closes))
        opens, closes = around
        return [opens, self.text, closes]


def _peers(reads: Reads, rollouts: Rollouts, chosen: Chosen) -> Array:
    """Which rollouts of its group each rollout reads [P, G, K]; a column of -1 where the view reads none."""
    shape = rollouts.length_PG.shape
    itself_PG1 = jnp.broadcast_to(jnp.arange(shape[1], dtype=jnp.int32)[None, :, None], (*shape, 1))
    own = [piece for piece in attempts(reads) if piece.whose == "own"]
    found = [chosen.peers[piece] if piece.is_drawn else itself_PG1 for piece in own]
    return jnp.concatenate(found, axis=2) if found else jnp.full((*shape, 1), -1, jnp.int32)


def _whole_piece(piece: Piece, problems: Problems, frame: FixedTexts, chosen: Chosen, shape: tuple[int, ...]) -> Padded:
    """A piece that is never cut, for every context; nothing for attempts, which are."""
    if isinstance(piece, Fixed):
        return constant(frame[piece.name], shape)
    if isinstance(piece, Attempts):
        return nothing(shape)
    text = problems.text(piece.block) if piece.whose == "own" else chosen.given[piece.block]
    if piece.whose == "other" and piece.block == "prefix":
        text = without_start(text, frame["opening"].length)
    return text if text.length.ndim == 2 else over_contexts(text, shape)


def _attempts_there(
    reads: Reads, frame: FixedTexts, rollouts: Rollouts, chosen: Chosen, peer_PMK: Array
) -> list[_Attempt]:
    """Every attempt of the view, whole."""
    found, own = [], iter(jnp.moveaxis(peer_PMK, 2, 0))
    for piece in attempts(reads):
        marks = frame[f"{piece.wrapper}_open"], frame[f"{piece.wrapper}_close"]
        if piece.whose == "other":
            text, nobody_PM = (
                over_contexts(chosen.given["attempt"], peer_PMK.shape[:2]),
                jnp.full(peer_PMK.shape[:2], -1),
            )
            found.append(_Attempt(*marks, text, text.length > 0, nobody_PM))
            continue
        for peer_PM in (next(own) for _ in range(piece.count)):
            found.append(_Attempt(*marks, _peer_text(rollouts, peer_PM), peer_PM >= 0, peer_PM))
    return found


def _fitted(there: Sequence[_Attempt], room_PM: Array, least: int) -> list[_Attempt]:
    """The attempts cut to what the room allows: those still waiting share what is left of it evenly."""
    waiting_PM = sum((attempt.kept_PM.astype(jnp.int32) for attempt in there), start=jnp.zeros((), jnp.int32))
    kept = []
    for attempt in there:
        text, markers = attempt.text, attempt.opens.length + attempt.closes.length
        share_PM = room_PM // jnp.maximum(waiting_PM, 1) - markers
        kept_PM = attempt.kept_PM & (share_PM >= jnp.minimum(least, text.length))
        cut = Padded(text.tokens, jnp.where(kept_PM, jnp.minimum(text.length, share_PM), 0))
        kept.append(replace(attempt, text=cut, kept_PM=kept_PM))
        room_PM = room_PM - jnp.where(kept_PM, cut.length + markers, 0)
        waiting_PM = waiting_PM - attempt.kept_PM
    return kept


def _in_order(reads: Reads, whole: Sequence[Padded], kept: Sequence[_Attempt]) -> list[Padded]:
    """Everything to be spliced, in the order of the view."""
    parts, waiting = [], iter(kept)
    for piece, text in zip(reads, whole, strict=True):
        is_attempt = isinstance(piece, Attempts)
        parts += [part for _ in range(piece.count) for part in next(waiting).parts()] if is_attempt else [text]
    return parts


def _is_known(reads: Reads, whole: Sequence[Padded], kept: Sequence[_Attempt]) -> Array:
    """Whether anything privileged is read, and all that is needed; always where the view has nothing privileged."""
    shape, waiting = whole[0].length.shape, iter(kept)
    some_PM, all_PM = jnp.full(shape, not any(map(informs, reads))), jnp.ones(shape, bool)
    for piece, text in zip(reads, whole, strict=True):
        if isinstance(piece, Attempts):
            there_PM = sum((next(waiting).kept_PM for _ in range(piece.count)), start=jnp.zeros(shape, bool))
        else:
            there_PM = (text.length > 0) | isinstance(piece, Fixed)
        some_PM |= there_PM & informs(piece)
        all_PM &= there_PM | (not getattr(piece, "needed", False))
    return some_PM & all_PM


def _first_own(kept: Sequence[_Attempt], shape: tuple[int, ...]) -> Array:
    """The first attempt of the own group that is kept in each context; -1 where there is none."""
    first_PM = jnp.full(shape, -1, jnp.int32)
    for attempt in reversed(kept):
        first_PM = jnp.where(attempt.kept_PM & (attempt.peer_PM >= 0), attempt.peer_PM, first_PM)
    return first_PM


def _one_each(peers_PGK: Array) -> tuple[Array, Array]:
    """A context for every rollout, shared by nobody: its peers [P, G, K] and its own index [P, G]."""
    return peers_PGK, jnp.broadcast_to(jnp.arange(peers_PGK.shape[1], dtype=jnp.int32), peers_PGK.shape[:2])


def _distinct(peers_PGK: Array, count: int) -> tuple[Array, Array]:
    """The distinct lists of peers of each group [P, M, K] (-1 fills up), and which of them each rollout has [P, G]."""

    def row(peers_GK: Array) -> tuple[Array, Array]:
        values_MK, of_G = jnp.unique(peers_GK, axis=0, size=count, fill_value=-1, return_inverse=True)
        return values_MK, of_G.reshape(peers_GK.shape[:1]).astype(jnp.int32)

    return jax.vmap(row)(peers_PGK)


def _merged(contexts: Contexts) -> Contexts:
    """Of contexts with the same content the first one for all; length 0 where nobody reads one."""
    tokens_PMC, length_PM = contexts.tokens_PMC, contexts.length_PM
    same_PMM = jnp.all(tokens_PMC[:, :, None] == tokens_PMC[:, None], axis=3)
    same_PMM &= length_PM[:, :, None] == length_PM[:, None]
    of_PG = _of(jnp.argmax(same_PMM, axis=2).astype(jnp.int32), contexts.context_index_PG)
    used_PM = jnp.any(of_PG[:, None, :] == jnp.arange(length_PM.shape[1])[None, :, None], axis=2)
    return Contexts(tokens_PMC, jnp.where(used_PM, length_PM, 0), of_PG)


def _peer_text(rollouts: Rollouts, peer_PM: Array) -> Padded:
    """The peers' responses without their stop ids; length 0 where there is no peer."""
    index_PM = jnp.maximum(peer_PM, 0)
    text_PG = rollouts.length_PG - rollouts.finished_PG.astype(jnp.int32)
    tokens = jnp.take_along_axis(rollouts.response_PGT, index_PM[..., None], axis=1)
    return Padded(tokens, jnp.where(peer_PM >= 0, jnp.take_along_axis(text_PG, index_PM, axis=1), 0))


def _of(values_PM: Array, of_PG: Array) -> Array:
    return jnp.take_along_axis(values_PM, of_PG, axis=1)
