"""Teacher contexts, spliced from token ids by index arithmetic: nothing is decoded and encoded again."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.tree_util import register_dataclass

from hsd_jax.types import Array, Contexts, Padded, Problems, Rollouts


@register_dataclass
@dataclass(frozen=True)
class PeerMarkers:
    """The fixed texts around a peer, as ids: markers before and after it, and the closing line for the teacher."""

    peer_open: Padded
    peer_close: Padded
    closing: Padded


@dataclass(frozen=True)
class Reads:
    """What a teacher reads besides the question: the true answer, a reference solution, a successful peer.

    `feedback` is the verifier's on the rollout itself, where no peer is read.
    """

    answer: bool = False
    solution: bool = False
    peer: bool = False
    feedback: bool = False


@register_dataclass
@dataclass(frozen=True)
class TeacherInputs:
    """What became of each rollout's teacher context: is anything privileged in it, a peer, a peer without its tail."""

    has_context_PG: Array
    has_peer_PG: Array
    peer_truncated_PG: Array


def splice(pieces: Sequence[Padded], width: int) -> Padded:
    """Concatenates ragged pieces row by row into one right-padded window of `width` ids (pad id 0).

    All pieces share their leading axes. Ids past the window are cut; the caller makes room first.
    """
    lengths = jnp.stack([piece.length for piece in pieces])
    ends = jnp.cumsum(lengths, axis=0)
    position = jnp.arange(width)[(None,) * (ends.ndim - 1)]
    tokens = jnp.zeros((*ends.shape[1:], width), jnp.int32)
    for piece, end in zip(pieces, ends, strict=True):
        offset = position - (end - piece.length)[..., None]
        inside = (offset >= 0) & (offset < piece.length[..., None])
        ids = jnp.take_along_axis(piece.tokens, jnp.clip(offset, 0, piece.tokens.shape[-1] - 1), axis=-1)
        tokens = jnp.where(inside, ids, tokens)
    return Padded(tokens, jnp.minimum(ends[-1], width).astype(jnp.int32))


def student_contexts(problems: Problems, width: int, group: int) -> Contexts:
    """The question alone: one context for the whole group (M = 1)."""
    prompt = splice([problems.prefix, problems.suffix], width)
    of_PG = jnp.zeros((prompt.length.shape[0], group), jnp.int32)
    return Contexts(prompt.tokens[:, None], prompt.length[:, None], of_PG)


def teacher_contexts(
    problems: Problems,
    frame: PeerMarkers,
    rollouts: Rollouts,
    peers_PG: Array,
    *,
    reads: Reads,
    width: int,
    count: int,
    min_peer_tokens: int = 64,
) -> tuple[Contexts, TeacherInputs]:
    """The distinct privileged contexts of each group, and what every rollout's teacher reads in them.

    [head; answer; solution; feedback; peer_open; peer; peer_close; closing; tail], each part only where it is read and
    known; feedback only where there is no peer. Where the window is too small the TAIL OF THE PEER is cut, never
    anything else; where fewer than `min_peer_tokens` of it would remain, the context falls back to the one without a
    peer. `count` is M, the most distinct peers in a group (2 with coupled draws, G with independent ones); with
    feedback every rollout may have a context of its own (M = G), and who reads no peer needs one (M = 1). Contexts of
    the same content are one, and an unused context has length 0.

    Source: arXiv:2606.15576, Eq. 9.
    """
    peers_PG = peers_PG if reads.peer else jnp.full_like(peers_PG, -1)
    peer_PM, of_PG = _one_each(peers_PG) if reads.feedback else _distinct(peers_PG, count)
    endpoint = _endpoint_pieces(problems, frame, reads)
    room_P = width - sum((piece.length for piece in endpoint), start=jnp.zeros((), jnp.int32))
    room_PM = room_P[:, None] - (frame.peer_open.length + frame.peer_close.length)[None, None]
    peer = _peer_text(rollouts, peer_PM)
    kept_PM = (peer_PM >= 0) & (room_PM >= jnp.minimum(min_peer_tokens, peer.length))
    peer = Padded(peer.tokens, jnp.where(kept_PM, jnp.minimum(peer.length, room_PM), 0))
    cut_PM = kept_PM & (peer.length < _peer_text(rollouts, peer_PM).length)
    shape = peer_PM.shape
    head, answer, solution, closing, tail = (_over_contexts(piece, shape) for piece in endpoint)
    marker = [_only_where(_constant(m, shape), kept_PM) for m in (frame.peer_open, frame.peer_close)]
    feedback = _only_where(problems.feedback, ~kept_PM) if reads.feedback else _nothing(shape)
    window = splice([head, answer, solution, feedback, marker[0], peer, marker[1], closing, tail], width)
    known_PM = kept_PM | (answer.length + solution.length + feedback.length > 0)
    has_PG = peers_PG >= 0
    read = TeacherInputs(_of(known_PM, of_PG), has_PG & _of(kept_PM, of_PG), has_PG & _of(cut_PM, of_PG))
    return _merged(Contexts(window.tokens, window.length, of_PG)), read


def _endpoint_pieces(problems: Problems, frame: PeerMarkers, reads: Reads) -> list[Padded]:
    everywhere_P = jnp.ones_like(problems.prefix.length, bool)
    return [
        problems.prefix,
        _only_where(problems.answer, everywhere_P & reads.answer),
        _only_where(problems.solution, everywhere_P & reads.solution),
        _constant(frame.closing, everywhere_P.shape),
        problems.suffix,
    ]


def _one_each(peers_PG: Array) -> tuple[Array, Array]:
    """A context for every rollout, shared by nobody: its peer [P, G] and its own index [P, G]."""
    return peers_PG, jnp.broadcast_to(jnp.arange(peers_PG.shape[1], dtype=jnp.int32), peers_PG.shape)


def _distinct(peers_PG: Array, count: int) -> tuple[Array, Array]:
    """The distinct peers of each group [P, M] (repeats of -1 fill up) and which of them each rollout has [P, G]."""
    rows_PG = peers_PG - peers_PG.shape[1]  # negative, so that the filler 0 sorts last and stays apart

    def row(peers_G: Array) -> tuple[Array, Array]:
        values, inverse = jnp.unique(peers_G, size=count, fill_value=0, return_inverse=True)
        return values, inverse.reshape(peers_G.shape).astype(jnp.int32)

    values_PM, of_PG = jax.vmap(row)(rows_PG)
    return jnp.where(values_PM < 0, values_PM + peers_PG.shape[1], -1), of_PG


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


def _over_contexts(piece: Padded, shape: tuple[int, ...]) -> Padded:
    tokens = jnp.broadcast_to(piece.tokens[:, None], (*shape, piece.tokens.shape[-1]))
    return Padded(tokens, jnp.broadcast_to(piece.length[:, None], shape))


def _constant(piece: Padded, shape: tuple[int, ...]) -> Padded:
    tokens = piece.tokens[(None,) * len(shape)]
    return Padded(jnp.broadcast_to(tokens, (*shape, tokens.shape[-1])), jnp.broadcast_to(piece.length, shape))


def _nothing(shape: tuple[int, ...]) -> Padded:
    return Padded(jnp.zeros((*shape, 1), jnp.int32), jnp.zeros(shape, jnp.int32))


def _only_where(piece: Padded, condition: Array) -> Padded:
    return Padded(piece.tokens, jnp.where(condition, piece.length, 0))
