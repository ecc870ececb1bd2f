"""The two programs of an update: one builds its inputs, one is the step for the rows that these fill."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from hsd_jax.reading.contexts import FixedTexts
from hsd_jax.scoring.scorer import Scorer
from hsd_jax.types import Array, Problems, PyTree, Rollouts
from hsd_jax.update.inputs import build_inputs, choose_peers
from hsd_jax.update.metrics import measure
from hsd_jax.update.state import StepConfig, StepInputs, Trace, TrainState
from hsd_jax.update.step import update
from models.sharding import ROWS, batch_sharding, replicated, spec_of

StepLengths = tuple[Array, list[tuple[Array, Array]]]
Prepare = Callable[[Problems, Rollouts, Array, Array], tuple[StepInputs, StepLengths]]
Update = Callable[[TrainState, StepInputs, Array], tuple[TrainState, dict[str, Any], Trace]]


def jit_inputs(settings: StepConfig, frame: FixedTexts, mesh: Mesh) -> Prepare:
    """Peers and contexts of a step, and all lengths that its rows depend on: these whole on every process.

    The lengths are those of the responses, then of each stream's contexts, the student's first.
    """

    def build(problems: Problems, rollouts: Rollouts, rewards_PG: Array, key: Array) -> tuple[StepInputs, StepLengths]:
        chosen = choose_peers(settings.method, problems, rollouts, rewards_PG, key, settings.control_ids)
        inputs = build_inputs(settings, frame, problems, rollouts, rewards_PG, chosen)
        read = (inputs.student, *inputs.views)
        lengths = rollouts.length_PG, [(contexts.length_PM, contexts.context_index_PG) for contexts in read]
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
    """Where every array of a state lies: weights and their moments by their names' axes, counters everywhere."""

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
