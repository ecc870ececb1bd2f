"""Randomness is addressed, not streamed: a key follows from seed, step and stage, so any step can be replayed alone."""

import jax

from hsd_jax.types import Array

STAGES = ("sample", "peers", "evaluate")


def key_of(seed: int, step: int, stage: str) -> Array:
    """The key of a stage of a step; stages fold question ids (and rollout indices) into it."""
    with jax.transfer_guard_host_to_device("allow"):  # these three numbers go to the device, and it is meant so
        return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), step), STAGES.index(stage))
