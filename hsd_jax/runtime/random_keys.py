"""Randomness is addressed, not streamed: a key follows from seed, step and stage, so any step can be replayed alone."""

import jax

from hsd_jax.types import Array

STAGES = ("sample", "peers", "evaluate")


def start_key(seed: int) -> Array:
    """The key of what is drawn before a run's first step: an address that no step has."""
    return jax.random.fold_in(jax.random.key(seed), (1 << 32) - 1)


def key_of(seed: int, step: int, stage: str, attempt: int = 0) -> Array:
    """The key of an attempt at a stage of a step; stages fold question ids (and rollout indices) into it."""
    address = STAGES.index(stage) + attempt * len(STAGES)
    with jax.transfer_guard_host_to_device("allow"):  # these three numbers go to the device, and it is meant so
        return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), step), address)
