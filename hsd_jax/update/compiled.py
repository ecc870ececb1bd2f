"""The programs of an update: one builds its inputs, one is the step for the rows that these fill."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from hsd_jax.reading.contexts import FixedTexts
from hsd_jax.runtime.timing import Clock
from hsd_jax.scoring.batch_layout import BatchLayout, RowSizes
from hsd_jax.scoring.bin_packing import Lengths, RowPlan
from hsd_jax.scoring.packing import Sizes
from hsd_jax.scoring.scorer import Scorer
from hsd_jax.types import Array, Problems, PyTree, Rollouts
from hsd_jax.update.device_arrays import global_array, replicate, replicate_key
from hsd_jax.update.inputs import build_inputs, choose_peers
from hsd_jax.update.metrics import measure
from hsd_jax.update.state import StepConfig, StepInputs, Trace, TrainState
from hsd_jax.update.step import update
from models.sharding import ROWS, batch_places, batch_sharding, replicated, spec_of

StepLengths = tuple[Array, list[tuple[Array, Array]]]
Prepare = Callable[[Problems, Rollouts, Array, Array], tuple[StepInputs, StepLengths]]
Update = Callable[[TrainState, StepInputs, Array], tuple[TrainState, dict[str, Any], Trace]]


@dataclass(frozen=True)
class CompiledStep:
    """The programs of a run's updates, one for each sizes of rows.

    `updates` fills as sizes are met; its keys, in that order, are part of a checkpoint, so that a continued run lays
    out its rows like an uninterrupted one.
    """

    settings: StepConfig
    layout: BatchLayout
    mesh: Mesh
    inputs: Prepare
    updates: dict[RowSizes, Update]


def compiled_step(settings: StepConfig, layout: BatchLayout, frame: FixedTexts, mesh: Mesh) -> CompiledStep:
    """The programs of a run; they compile when they first run."""
    return CompiledStep(settings, layout, mesh, jit_inputs(settings, frame, mesh), {})


def run_update(
    step: CompiledStep, state: TrainState, graded: tuple[Problems, Rollouts, Any], key: Array, clock: Clock
) -> tuple[TrainState, Mapping[str, Any], Trace]:
    """One update on the rows of all processes; returns the new state, host metrics, and the trace on the device.

    `graded` are this process's groups as host arrays, `key` (the same in all processes) draws the peers.
    """
    with clock.phase("update"):
        problems, rollouts, rewards_PG = global_array(step.mesh)(graded)
        inputs, lengths = step.inputs(problems, rollouts, rewards_PG, replicate_key(step.mesh, key))
        plan = plan_of(step, lengths)
        state, metrics, trace = update_for(step, plan.sizes)(state, inputs, replicate(step.mesh, plan.order_P))
        return state, to_host(metrics) | {"filled": plan.utilization}, trace


def plan_of(step: CompiledStep, lengths: StepLengths) -> RowPlan:
    """Assigns the step's problems to the update's rows and sizes these; the same on any slice."""
    length_PG, contexts = jax.device_get(lengths)
    places_P = batch_places(step.mesh, len(length_PG))
    streams = [Lengths(length_PM[places_P], of_PG[places_P]) for length_PM, of_PG in contexts]
    plan = step.layout.plan(length_PG[places_P], streams, tuple(step.updates))
    return replace(plan, order_P=places_P[plan.order_P])


def update_for(step: CompiledStep, sizes: RowSizes) -> Update:
    """The update for rows of these sizes; made when it is first asked for."""
    if sizes not in step.updates:
        step.updates[sizes] = jit_update(step.settings, step.layout.scorer(sizes), step.mesh)
    return step.updates[sizes]


def compiled_sizes(step: CompiledStep) -> list[list[dict[str, int]]]:
    """The sizes of rows met so far, as plain data for a checkpoint."""
    return [[vars(size) for size in sizes] for sizes in step.updates]


def restore_compiled_sizes(step: CompiledStep, met: Iterable[Sequence[Mapping[str, int]]]) -> None:
    """Takes over the sizes that a run had met; nothing compiles until they are needed."""
    for sizes in met:
        update_for(step, tuple(Sizes(**size) for size in sizes))


def jit_inputs(settings: StepConfig, frame: FixedTexts, mesh: Mesh) -> Prepare:
    """Peers and contexts of a step, and all lengths that its rows depend on: these whole on every process.

    The lengths are those of the responses, then of each stream's contexts, the student's first.
    """

    def build(problems: Problems, rollouts: Rollouts, rewards_PG: Array, key: Array) -> tuple[StepInputs, StepLengths]:
        chosen = choose_peers(settings.method, problems, rollouts, rewards_PG, key, settings.control_ids)
        inputs = build_inputs(settings, frame, problems, rollouts, rewards_PG, chosen)
        read = (inputs.student, *inputs.views)
        lengths = inputs.length_PE, [(contexts.length_PM, contexts.context_index_PG) for contexts in read]
        inputs = jax.lax.with_sharding_constraint(inputs, batch_sharding(mesh))
        return inputs, jax.lax.with_sharding_constraint(lengths, replicated(mesh))

    return jax.jit(build)


def jit_update(settings: StepConfig, scorer: Scorer, mesh: Mesh) -> Update:
    """The whole step on the device in one program: score, differentiate, update, measure.

    Problems are laid out in `order_P`, and what comes back is in the order of the batch again. The state keeps its
    layout from step to step (it is donated), and metrics are the same on every device.
    """

    def step(state: TrainState, inputs: StepInputs, order_P: Array) -> tuple[TrainState, dict[str, Any], Trace]:
        state, metrics, trace = update(settings, scorer, state, in_order(inputs, order_P, mesh))
        state = jax.lax.with_sharding_constraint(state, state_shardings(mesh, state))
        trace = replace(in_order(trace, jnp.argsort(order_P), mesh), inputs=inputs)
        metrics |= measure(settings, trace)
        return state, jax.lax.with_sharding_constraint(metrics, replicated(mesh)), trace

    return jax.jit(step, donate_argnums=0)


def state_shardings(mesh: Mesh, state: TrainState) -> TrainState:
    """The sharding of every array of a state: weights and moments by the axes in their names, counters replicated."""

    def place(path: Any, leaf: Any) -> NamedSharding:
        name = str(getattr(path[-1], "key", ""))
        return NamedSharding(mesh, spec_of(name)) if leaf.ndim else replicated(mesh)

    return jax.tree.map_with_path(place, state)


def in_order(tree: PyTree, order_P: Array, mesh: Mesh) -> PyTree:
    """Every leaf [P, ..] with its problems in another order, over the devices as before.

    Each device takes its own from all of them. Left to itself the partitioner would sum masked copies, and split the
    work over the tensor axis in a way on which the TPU compiler of libtpu 0.0.42 ends.
    """

    def own(tree: PyTree, order_p: Array) -> PyTree:
        return jax.tree.map(lambda x: jax.lax.all_gather(x, ROWS, axis=0, tiled=True)[order_p], tree)

    return jax.shard_map(own, mesh=mesh, in_specs=P(ROWS), out_specs=P(ROWS), check_vma=False)(tree, order_P)


def to_host(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Replicated device numbers as Python numbers and lists."""
    return {name: np.asarray(value).tolist() for name, value in jax.device_get(metrics).items()}
