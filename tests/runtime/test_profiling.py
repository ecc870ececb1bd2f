"""Traces of chosen steps: where they lie, and that phases are named in them as in metrics."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest
from etils import epath

from hsd_jax.errors import InputError
from hsd_jax.runtime import timing
from hsd_jax.runtime.timing import Clock


def test_steps_are_named_by_the_first_and_the_last() -> None:
    assert list(timing.steps_of("3:5")) == [3, 4, 5]
    assert list(timing.steps_of("7")) == [7] and list(timing.steps_of("")) == []


@pytest.mark.parametrize("text", ["0:2", "5:3", "3-5", ":", "3:", "-1", "a"])
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="profile-steps must be first:last"):
        timing.steps_of(text)


def run(workdir: Any) -> list[Any]:
    """Three steps of which the second is traced; the files that are left."""
    for step in (1, 2, 3):
        with timing.profiled(range(2, 3), step, epath.Path(workdir)), Clock().phase("grade"):
            jax.block_until_ready(jnp.ones(8) + step)
    found = [path for path in epath.Path(workdir).glob("profile/*/plugins/profile/*/*.xplane.pb")]
    assert [path.parent.parent.parent.parent.name for path in found] == ["step-000002"]
    return found


def test_a_traced_step_leaves_a_file_that_names_its_phases(tmp_path: Any) -> None:
    (file,) = run(tmp_path)
    assert b"grade" in file.read_bytes()


def test_traces_go_to_the_bucket(gcs: Any) -> None:
    (file,) = run("gs://bucket/run")
    assert b"grade" in file.read_bytes()
