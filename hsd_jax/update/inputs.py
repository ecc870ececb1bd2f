"""Builds what an update reads, once a step: sets of rollouts, texts of other problems, the contexts of every view."""

from dataclasses import replace
from functools import reduce

import jax
import jax.numpy as jnp

from hsd_jax.methods import row
from hsd_jax.methods.row import Method
from hsd_jax.reading import donors
from hsd_jax.reading.contexts import Chosen, FixedTexts, TeacherInputs, Window, read_contexts, student_contexts
from hsd_jax.reading.peers import PEER_RANKINGS, allowed, free_of, peer_scores, select_peers, successful
from hsd_jax.reading.pieces import Attempts, attempts
from hsd_jax.types import Array, Contexts, Problems, Rollouts
from hsd_jax.update.state import StepConfig, StepInputs


def build_inputs(
    settings: StepConfig,
    frame: FixedTexts,
    problems: Problems,
    rollouts: Rollouts,
    rewards_PG: Array,
    chosen: Chosen,
) -> StepInputs:
    """The contexts of the student and of every distinct privileged view; `chosen` is that of `choose_peers`.

    A rollout has a context where every view has one: contrasted with nothing, a view teaches nothing.
    """
    group = rewards_PG.shape[1]
    window = Window(settings.context_tokens, settings.min_peer_tokens)
    views = row.readings(settings.method)
    found = [read_contexts(reads, problems, frame, rollouts, chosen, window) for reads in views]
    rows = [row_.make(problems, rollouts, successful(rewards_PG)) for row_ in settings.method.rows]
    student = with_places(student_contexts(problems, settings.prompt_tokens, group), len(rows))
    views = tuple(with_places(contexts, len(rows)) for contexts, _ in found)
    read = _read_by_all([inputs for _, inputs in found], rewards_PG)
    return StepInputs(problems.limit_P, rollouts, rewards_PG, student, views, read, tuple(rows))


def with_places(contexts: Contexts, rows: int) -> Contexts:
    """Contexts that so many further rows of each group read, too: what its first rollout does."""
    of_PG = contexts.context_index_PG
    places = jnp.concatenate([of_PG, jnp.repeat(of_PG[:, :1], rows, axis=1)], axis=1)
    return replace(contexts, context_index_PG=places) if rows else contexts


def _read_by_all(found: list[TeacherInputs], rewards_PG: Array) -> TeacherInputs:
    """What became of the teacher's contexts, and whether every view has one."""
    nobody_PG = jnp.zeros(rewards_PG.shape, bool)
    nothing = TeacherInputs(nobody_PG, nobody_PG, nobody_PG, jnp.full(rewards_PG.shape, -1, jnp.int32))
    first = found[0] if found else nothing
    every_PG = reduce(jnp.logical_and, (inputs.has_context_PG for inputs in found), first.has_context_PG)
    return TeacherInputs(every_PG, first.has_peer_PG, first.peer_truncated_PG, first.peer_PG)


def choose_peers(
    method: Method,
    problems: Problems,
    rollouts: Rollouts,
    rewards_PG: Array,
    key: Array,
    control_ids: tuple[int, ...] = (),
) -> Chosen:
    """Sets of rollouts, and who gives to whom, from randomness that belongs to each question; none with chat markup.

    It looks at the whole batch, since another problem may give; what follows looks at one problem at a time.
    """
    pieces, readable_PG = row.pieces(method), free_of(control_ids, rollouts)
    keys_P = jax.vmap(jax.random.fold_in, (None, 0))(key, problems.id_P)

    def drawn(place: int, piece: Attempts) -> Array:
        own_P = jax.vmap(jax.random.fold_in, (0, None))(keys_P, place) if place else keys_P
        return _set_of(piece, own_P, rollouts, allowed(piece.outcome, rewards_PG, readable_PG))

    sets = dict.fromkeys(piece for piece in attempts(pieces) if piece.is_drawn)
    peers = {piece: drawn(place, piece) for place, piece in enumerate(sets)}
    given = donors.give(pieces, problems, rollouts, rewards_PG, readable_PG, key) if donors.borrowed(pieces) else {}
    return Chosen(peers, given)


def _set_of(piece: Attempts, keys_P: Array, rollouts: Rollouts, allowed_PG: Array) -> Array:
    rule, scores_PG = PEER_RANKINGS[piece.rule], peer_scores(piece.rule, rollouts, allowed_PG > 0)
    return select_peers(keys_P, allowed_PG, rule=rule, draws=piece.draws, count=piece.count, scores_PG=scores_PG)
