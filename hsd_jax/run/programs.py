"""The compiled parts of a run: the sampler, the choice of peers, and the update, one program per sizes of its rows."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jax.tree_util import register_dataclass

from hsd_jax import methods
from hsd_jax.contexts import PeerMarkers, student_contexts
from hsd_jax.rollout.collect import Batch
from hsd_jax.rollout.grading import Submit
from hsd_jax.runtime import random_keys
from hsd_jax.runtime.timing import Clock
from hsd_jax.sampler.decode import SamplerConfig
from hsd_jax.scoring.batch_layout import RowSizes
from hsd_jax.scoring.bin_packing import Lengths, RowPlan
from hsd_jax.scoring.packing import Sizes
from hsd_jax.scoring.scorer import Scorer
from hsd_jax.setup.components import RunComponents, global_array, sampler, state_shardings
from hsd_jax.types import Array, Problems, PyTree, Rollouts
from hsd_jax.update.metrics import measure
from hsd_jax.update.step import StepConfig, Trace, TrainState, choose_peers, privileged_contexts, update
from models.sharding import ROWS, batch_places, batch_sharding, replicated

Update = Callable[..., tuple[TrainState, dict[str, Any], Trace]]


@dataclass(frozen=True)
class Programs:
    """What a run executes: sampler, choice of peers, updates, and how responses are graded in training and evaluation.

    `updates` fills as sizes of rows are met; its keys, in that order, are part of a checkpoint, so that a continued
    run lays out its rows like an uninterrupted one.
    """

    sampler: SamplerConfig
    assign_peers: Callable[..., "PeerAssignment"]
    updates: dict[RowSizes, Update]
    frame: PeerMarkers
    submit: Submit
    submit_hidden_tests: Submit


@register_dataclass
@dataclass(frozen=True)
class PeerAssignment:
    """The peer of every rollout, and all lengths that the rows of the update depend on, student's contexts first."""

    peers_PG: Array
    length_PG: Array
    contexts: tuple[tuple[Array, Array], ...]


def build(parts: RunComponents, submit: Submit, examine: Submit) -> Programs:
    """Fixes the shapes of a run's programs; they compile when they first run."""
    config = parts.config
    rows = config.data.problems_per_step // jax.process_count() * config.sampling.group_size
    response = max(parts.texts.windows.response.values())
    frame = replicate(parts.mesh, parts.texts.frame)
    made = sampler(parts, rows=rows, response_tokens=response)
    return Programs(made, jit_assign_peers(parts.settings, parts.mesh), {}, frame, submit, examine)


def jit_assign_peers(settings: StepConfig, mesh: Mesh) -> Callable[..., PeerAssignment]:
    """Peers by masked argmax, and how long everything becomes with them; the same on every process."""

    def decide(
        problems: Problems, frame: PeerMarkers, rollouts: Rollouts, rewards_PG: Array, key: Array
    ) -> PeerAssignment:
        peers_PG = choose_peers(settings.method, problems, rollouts, rewards_PG, key, settings.control_ids)
        read = [student_contexts(problems, settings.prompt_tokens, rewards_PG.shape[1])]
        if any(stream.privileged for stream in methods.streams(settings.method).values()):
            read.append(privileged_contexts(settings, problems, frame, rollouts, peers_PG)[0])
        lengths = rollouts.length_PG, tuple((contexts.length_PM, contexts.context_index_PG) for contexts in read)
        known = jax.lax.with_sharding_constraint(lengths, replicated(mesh))
        return PeerAssignment(jax.lax.with_sharding_constraint(peers_PG, batch_sharding(mesh)), *known)

    return jax.jit(decide)


def jit_update(settings: StepConfig, scorer: Scorer, mesh: Mesh) -> Update:
    """The whole step on the device in one program: score, differentiate, update, measure.

    Problems are laid out in `order_P`, and what comes back is in the order of the batch again. The state keeps its
    layout from step to step (it is donated), and metrics are the same on every device.
    """

    def step(
        state: TrainState,
        problems: Problems,
        frame: PeerMarkers,
        rollouts: Rollouts,
        rewards_PG: Array,
        peers_PG: Array,
        order_P: Array,
    ) -> tuple[TrainState, dict[str, Any], Trace]:
        ordered = in_order((problems, rollouts, rewards_PG, peers_PG), order_P, mesh)
        problems, rollouts_in_rows, rewards_in_rows, peers_PG = ordered
        state, metrics, trace = update(
            settings, scorer, state, problems, frame, rollouts_in_rows, rewards_in_rows, peers_PG
        )
        state = jax.lax.with_sharding_constraint(state, state_shardings(mesh, state))
        trace = in_order(trace, jnp.argsort(order_P), mesh)
        metrics |= measure(settings, rollouts, rewards_PG, trace)
        return state, jax.lax.with_sharding_constraint(metrics, replicated(mesh)), trace

    return jax.jit(step, donate_argnums=0)


def in_order(tree: PyTree, order_P: Array, mesh: Mesh) -> PyTree:
    """Every leaf [P, ..] with its problems in another order, over the devices as before.

    Each device takes its own from all of them. Left to itself the partitioner would sum masked copies, and split the
    work over the tensor axis in a way on which the TPU compiler of libtpu 0.0.42 ends.
    """

    def own(tree: PyTree, order_p: Array) -> PyTree:
        return jax.tree.map(lambda x: jax.lax.all_gather(x, ROWS, axis=0, tiled=True)[order_p], tree)

    return jax.shard_map(own, mesh=mesh, in_specs=P(ROWS), out_specs=P(ROWS), check_vma=False)(tree, order_P)


def run_update(
    parts: RunComponents,
    programs: Programs,
    state: TrainState,
    batch: Batch,
    clock: Clock,
) -> tuple[TrainState, Mapping[str, Any], Trace]:
    """One update on the rows of all processes; returns the new state, host metrics, and the trace on the device."""
    with clock.phase("update"):
        pieces, rollouts, rewards_PG = global_array(parts.mesh)((batch.pieces, batch.rollouts, batch.graded.rewards_PG))
        key = replicate_key(parts.mesh, random_keys.key_of(parts.config.seed, batch.step, "peers"))
        decided = programs.assign_peers(pieces, programs.frame, rollouts, rewards_PG, key)
        plan = plan_of(parts, programs, decided)
        order_P = replicate(parts.mesh, plan.order_P)
        run = update_for(parts, programs, plan.sizes)
        state, metrics, trace = run(state, pieces, programs.frame, rollouts, rewards_PG, decided.peers_PG, order_P)
        return state, to_host(metrics) | {"filled": plan.utilization}, trace


def replicate(mesh: Mesh, tree: Any) -> Any:
    """Puts host arrays, the same in every process, whole on every device of the mesh."""

    def put(x: Any) -> jax.Array:
        x = np.asarray(x)
        return jax.make_array_from_callback(x.shape, replicated(mesh), lambda index: x[index])

    with jax.transfer_guard_host_to_device("allow"):  # with several processes JAX calls this transfer implicit
        return jax.tree.map(put, tree)


def replicate_key(mesh: Mesh, key: Array) -> Array:
    """A random key of this process, which every process has made alike, as one key of the whole mesh."""
    data = replicate(mesh, jax.device_get(jax.random.key_data(key)))
    return jax.random.wrap_key_data(data, impl=jax.random.key_impl(key))


def plan_of(parts: RunComponents, programs: Programs, decided: PeerAssignment) -> RowPlan:
    """Where the step's problems lie in the update's rows, and how wide these are; the same on any slice."""
    length_PG, contexts = jax.device_get((decided.length_PG, decided.contexts))
    places_P = batch_places(parts.mesh, len(length_PG))
    streams = [Lengths(length_PM[places_P], of_PG[places_P]) for length_PM, of_PG in contexts]
    plan = parts.layout.plan(length_PG[places_P], streams, tuple(programs.updates))
    return replace(plan, order_P=places_P[plan.order_P])


def update_for(parts: RunComponents, programs: Programs, sizes: RowSizes) -> Update:
    """The update for rows of these sizes; made when it is first asked for."""
    if sizes not in programs.updates:
        programs.updates[sizes] = jit_update(parts.settings, parts.layout.scorer(sizes), parts.mesh)
    return programs.updates[sizes]


def compiled_sizes(programs: Programs) -> list[list[dict[str, int]]]:
    """The sizes of rows met so far, as plain data for a checkpoint."""
    return [[vars(size) for size in sizes] for sizes in programs.updates]


def restore_compiled_sizes(
    parts: RunComponents, programs: Programs, met: Iterable[Sequence[Mapping[str, int]]]
) -> None:
    """Takes over the sizes that a run had met; nothing compiles until they are needed."""
    for sizes in met:
        update_for(parts, programs, tuple(Sizes(**size) for size in sizes))


def to_host(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Replicated device numbers as Python numbers and lists."""
    return {name: np.asarray(value).tolist() for name, value in jax.device_get(metrics).items()}
