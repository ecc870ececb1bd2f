"""The compiled parts of a run: the sampler's shapes and the jitted update, with their arrays put where they belong."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from hsd_jax import measures, randomness
from hsd_jax.clock import Clock
from hsd_jax.contexts import Frame
from hsd_jax.decoding import Program
from hsd_jax.grading import Submit
from hsd_jax.rollout import Batch
from hsd_jax.setup import Parts, global_array, sampler, state_shardings
from hsd_jax.sharding import replicated
from hsd_jax.types import Problems, Rollouts
from hsd_jax.update import Settings, Trace, TrainState, update

Update = Callable[..., tuple[TrainState, dict[str, Any], Trace]]


@dataclass(frozen=True)
class Programs:
    """What a run executes: the sampler, the update, and how responses are graded in training and in evaluation."""

    sampler: Program
    update: Update
    frame: Frame
    submit: Submit
    examine: Submit


def build(parts: Parts, submit: Submit, examine: Submit) -> Programs:
    """Fixes the shapes of a run's programs; they compile when they first run."""
    config = parts.config
    rows = config.data.problems_per_step // jax.process_count() * config.sampling.group_size
    response = max(parts.texts.windows.response.values())
    frame = jax.device_put(parts.texts.frame, replicated(parts.mesh))
    made = sampler(parts, rows=rows, response_tokens=response)
    return Programs(made, jit_update(parts.settings, parts.mesh), frame, submit, examine)


def jit_update(settings: Settings, mesh: Mesh) -> Update:
    """The whole step on the device in one program: decide peers, score, differentiate, update, measure.

    The state keeps its layout from step to step (it is donated), and metrics are the same on every device.
    """

    def step(
        state: TrainState, problems: Problems, frame: Frame, rollouts: Rollouts, rewards_PG: Any, key: Any
    ) -> tuple[TrainState, dict[str, Any], Trace]:
        state, metrics, trace = update(settings, state, problems, frame, rollouts, rewards_PG, key)
        state = jax.lax.with_sharding_constraint(state, state_shardings(mesh, state))
        metrics |= measures.measure(settings, rollouts, rewards_PG, trace)
        return state, jax.lax.with_sharding_constraint(metrics, replicated(mesh)), trace

    return jax.jit(step, donate_argnums=0)


def run_update(
    parts: Parts,
    programs: Programs,
    state: TrainState,
    batch: Batch,
    clock: Clock,
) -> tuple[TrainState, Mapping[str, Any], Trace]:
    """One update on the rows of all processes; returns the new state, host metrics, and the trace on the device."""
    with clock.phase("update"):
        pieces, rollouts, rewards_PG = global_array(parts.mesh)((batch.pieces, batch.rollouts, batch.graded.rewards_PG))
        key = jax.device_put(randomness.key_of(parts.config.seed, batch.step, "peers"), replicated(parts.mesh))
        state, metrics, trace = programs.update(state, pieces, programs.frame, rollouts, rewards_PG, key)
        return state, to_host(metrics), trace


def to_host(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Replicated device numbers as Python numbers and lists."""
    return {name: np.asarray(value).tolist() for name, value in jax.device_get(metrics).items()}
