"""The compiled parts of a run: the sampler, the choice of peers, and the update, one program per sizes of its rows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from hsd_jax.rollout.collect import Batch
from hsd_jax.rollout.grading import Submit
from hsd_jax.runtime import random_keys
from hsd_jax.runtime.timing import Clock
from hsd_jax.sampler.decode import SamplerConfig
from hsd_jax.scoring.batch_layout import RowSizes
from hsd_jax.scoring.bin_packing import Lengths, RowPlan
from hsd_jax.scoring.packing import Sizes
from hsd_jax.setup.components import RunComponents, global_array, sampler
from hsd_jax.types import Array
from hsd_jax.update.compiled import Prepare, StepLengths, Update, jit_inputs, jit_update
from hsd_jax.update.state import Trace, TrainState
from models.sharding import batch_places, replicated


@dataclass(frozen=True)
class Programs:
    """What a run executes: sampler, choice of peers, updates, and how responses are graded in training and evaluation.

    `updates` fills as sizes of rows are met; its keys, in that order, are part of a checkpoint, so that a continued
    run lays out its rows like an uninterrupted one.
    """

    sampler: SamplerConfig
    inputs: Prepare
    updates: dict[RowSizes, Update]
    submit: Submit
    submit_hidden_tests: Submit


def build(parts: RunComponents, submit: Submit, examine: Submit) -> Programs:
    """Fixes the shapes of a run's programs; they compile when they first run."""
    config = parts.config
    rows = config.data.problems_per_step // jax.process_count() * config.sampling.group_size
    response = max(parts.texts.windows.response.values())
    made = sampler(parts, rows=rows, response_tokens=response)
    return Programs(made, jit_inputs(parts.settings, parts.texts.frame, parts.mesh), {}, submit, examine)


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
        inputs, lengths = programs.inputs(pieces, rollouts, rewards_PG, key)
        plan = plan_of(parts, programs, lengths)
        order_P = replicate(parts.mesh, plan.order_P)
        run = update_for(parts, programs, plan.sizes)
        state, metrics, trace = run(state, inputs, order_P)
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


def plan_of(parts: RunComponents, programs: Programs, lengths: StepLengths) -> RowPlan:
    """Where the step's problems lie in the update's rows, and how wide these are; the same on any slice."""
    length_PG, contexts = jax.device_get(lengths)
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
