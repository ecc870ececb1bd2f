"""The records of an update: what is fixed in a run, what training changes, what a step reads and what it leaves."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import optax
from jax.tree_util import register_dataclass

from hsd_jax.losses import TokenInputs
from hsd_jax.methods.row import Method
from hsd_jax.reading.contexts import TeacherInputs
from hsd_jax.scoring.fused_loss import ONE_CHIP, LossSharding
from hsd_jax.types import Array, Contexts, Padded, Rollouts
from hsd_jax.update.teacher import full_weights
from models.qwen3 import Params


@register_dataclass
@dataclass(frozen=True)
class TrainState:
    """What training changes: the policy, its optimizer state, copies of weights, the method's memory, and steps.

    `params` is what trains: all weights of the policy, or its adapters.
    """

    params: Params
    opt_state: Any
    copies: dict[str, Params]
    memory: dict[str, Array]
    step: Array

    @property
    def policy(self) -> Params:
        """All weights of the policy, with adapters beside their matrices where these train."""
        return full_weights(self.copies, self.params)


@dataclass(frozen=True)
class StepConfig:
    """What is fixed in a run."""

    method: Method
    optimizer: optax.GradientTransformation
    prompt_tokens: int
    context_tokens: int
    min_peer_tokens: int
    micro_batches: int
    reference_every: int
    spread: LossSharding = ONE_CHIP
    control_ids: tuple[int, ...] = ()


@register_dataclass
@dataclass(frozen=True)
class StepInputs:
    """One step's graded groups, built once (`inputs.build_inputs`); every array begins with the problems.

    `views` are the contexts of every distinct privileged view (`row.readings`), the teacher's first; `read` says
    what became of its contexts, `limit_P` is the longest response allowed. `further` are rows that nobody sampled:
    contexts have an index for them, too, behind those of the rollouts.
    """

    limit_P: Array
    rollouts: Rollouts
    rewards_PG: Array
    student: Contexts
    views: tuple[Contexts, ...]
    read: TeacherInputs
    further: tuple[Padded, ...] = ()

    @property
    def length_PE(self) -> Array:
        """The lengths of all rows of a group: rollouts, then further rows."""
        return jnp.concatenate([self.rollouts.length_PG, *(row.length[:, None] for row in self.further)], axis=1)


@register_dataclass
@dataclass(frozen=True)
class MicroBatch:
    """What a micro-batch needs, after everything that looks at whole groups has been decided."""

    student: Contexts
    views: tuple[Contexts, ...]
    response_PGT: Array
    length_PG: Array
    token: TokenInputs
    weights_PGT: Array


@register_dataclass
@dataclass(frozen=True)
class Trace:
    """What a step read and measured, for logs: weights in the distillation and per-token statistics [P, G, T]."""

    inputs: StepInputs
    divergence_PG: Array
    weights_PGT: Array
    stats: dict[str, Array]
