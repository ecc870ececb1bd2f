"""Every stage of every attempt of a step has randomness of its own."""

import jax

from hsd_jax.runtime.random_keys import STAGES, key_of


def test_no_two_stages_or_attempts_share_a_key() -> None:
    keys = {
        tuple(jax.random.key_data(key_of(3, step, stage, attempt)).tolist())
        for step in (1, 2)
        for stage in STAGES
        for attempt in range(4)
    }
    assert len(keys) == 2 * len(STAGES) * 4


def test_a_first_attempt_is_addressed_by_its_stage_alone() -> None:
    assert (key_of(3, 1, "sample") == key_of(3, 1, "sample", attempt=0)).all()
