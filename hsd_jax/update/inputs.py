"""Builds what an update reads, once a step: the peers of graded groups, the contexts of student and teacher."""

import jax
import jax.numpy as jnp

from hsd_jax.contexts import PeerMarkers, student_contexts, teacher_contexts
from hsd_jax.methods import Method
from hsd_jax.peers import NO_PEER, PEER_RANKINGS, free_of, peer_scores, select_peers
from hsd_jax.types import Array, Problems, Rollouts
from hsd_jax.update.state import StepConfig, StepInputs


def build_inputs(
    settings: StepConfig,
    markers: PeerMarkers,
    problems: Problems,
    rollouts: Rollouts,
    rewards_PG: Array,
    peers_PG: Array,
) -> StepInputs:
    """The contexts of student and teacher; `peers_PG` are those of `choose_peers`."""
    method, group = settings.method, rewards_PG.shape[1]
    teacher, read = teacher_contexts(
        problems,
        markers,
        rollouts,
        peers_PG,
        reads=method.reads,
        width=settings.context_tokens,
        count=most_contexts(method, group),
        min_peer_tokens=settings.min_peer_tokens,
    )
    student = student_contexts(problems, settings.prompt_tokens, group)
    peers_PG = jnp.where(read.has_peer_PG, peers_PG, NO_PEER)
    return StepInputs(problems.limit_P, rollouts, rewards_PG, peers_PG, student, teacher, read)


def choose_peers(
    method: Method,
    problems: Problems,
    rollouts: Rollouts,
    rewards_PG: Array,
    key: Array,
    control_ids: tuple[int, ...] = (),
) -> Array:
    """The peer of every rollout, from randomness that belongs to its question alone; none with chat markup inside."""
    keys_P = jax.vmap(jax.random.fold_in, (None, 0))(key, problems.id_P)
    rewards_PG = jnp.where(free_of(control_ids, rollouts), rewards_PG, 0.0)
    rule, scores_PG = PEER_RANKINGS[method.peer_rule], peer_scores(method.peer_rule, rollouts, rewards_PG)
    return select_peers(keys_P, rewards_PG, rule=rule, draws=method.peer_draws, scores_PG=scores_PG)


def most_contexts(method: Method, group: int) -> int:
    """How many distinct contexts the teachers of a group of this size read at the most."""
    each = method.reads.feedback or (method.reads.peer and method.peer_draws != "coupled")
    return group if each else 1 + method.reads.peer
