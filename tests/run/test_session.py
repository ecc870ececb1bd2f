"""Opening a run: a checkpoint whose files agree but cannot be read is passed over, and nothing is removed too early."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from etils import epath

from hsd_jax.config import Config, Verifier
from hsd_jax.errors import InputError, RunStopped
from hsd_jax.run import session
from hsd_jax.runtime import checkpoint
from hsd_jax.runtime.workdir import Workdir
from hsd_jax.update import frozen
from hsd_jax.update.state import TrainState
from hsd_jax.verifiers.sandbox import tiers

QUESTIONS = {"seed": 0, "fingerprint": "f"}


def initial() -> Any:
    return state_of(0)


def state_of(step: int) -> dict[str, Any]:
    return {"weights": jax.numpy.full(64, step, jax.numpy.float32), "step": jax.numpy.int32(step)}


@pytest.fixture
def run(tmp_path: Path) -> Workdir:
    """A workdir with checkpoints of steps 2 and 4, to be continued from the newest."""
    store = checkpoint.open_store(tmp_path / "checkpoints")
    for step in (2, 4):
        checkpoint.save(store, step, state_of(step), {"step": step, "questions": QUESTIONS})
    checkpoint.close(store)
    return Workdir(epath.Path(tmp_path), 4, None)


def garble(run: Workdir, step: int) -> None:
    """Every array file becomes nonsense, and the seal agrees with that."""
    folder = run.checkpoints / str(step)
    for file in (Path(folder) / "state").rglob("*"):
        if file.is_file() and file.name != "_CHECKPOINT_METADATA":
            file.write_bytes(b"nonsense")
    (folder / checkpoint.MANIFEST).unlink()
    checkpoint.close(checkpoint.open_store(run.checkpoints))
    assert checkpoint.verify(folder) == ""


def test_the_newest_checkpoint_is_restored(run: Workdir) -> None:
    state, found = session.first_state(initial, QUESTIONS, run)
    jax.tree.map(np.testing.assert_array_equal, state, state_of(4))
    assert found.start == 4 and checkpoint.steps(run.checkpoints) == [2, 4]


def test_an_unreadable_checkpoint_is_passed_over_and_then_removed(
    run: Workdir, caplog: pytest.LogCaptureFixture
) -> None:
    garble(run, 4)
    state, found = session.first_state(initial, QUESTIONS, run)
    jax.tree.map(np.testing.assert_array_equal, state, state_of(2))
    assert found.start == 2 and checkpoint.steps(run.checkpoints) == [2]
    assert "checkpoint 4 cannot be read" in caplog.text


def test_nothing_is_removed_where_no_checkpoint_can_be_read(run: Workdir) -> None:
    garble(run, 4)
    garble(run, 2)
    with pytest.raises(RunStopped, match="none was removed"):
        session.first_state(initial, QUESTIONS, run)
    assert checkpoint.steps(run.checkpoints) == [2, 4]


def test_other_questions_are_refused_and_a_full_device_is_not_taken_for_damage(
    run: Workdir, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="seed"):
        session.first_state(initial, QUESTIONS | {"seed": 1}, run)

    def full(*_: Any) -> None:
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")

    monkeypatch.setattr(checkpoint, "restore", full)
    with pytest.raises(jax.errors.JaxRuntimeError):
        session.first_state(initial, QUESTIONS, run)
    assert checkpoint.steps(run.checkpoints) == [2, 4]


# --- copies of weights that never change


def train_state(step: int, initial: float) -> TrainState:
    copies = {"initial": {"w": jax.numpy.full(8, initial, jax.numpy.bfloat16)}}
    return TrainState({"w": jax.numpy.full(8, step, jax.numpy.float32)}, {}, copies, {}, jax.numpy.int32(step))


@pytest.mark.parametrize("old", [False, True])
def test_a_frozen_copy_comes_from_where_it_came_before(tmp_path: Path, old: bool) -> None:
    """Older checkpoints hold it themselves; the others name its source and hash, and other weights are refused."""
    state = train_state(4, 0.5)
    meta = {"step": 4, "questions": QUESTIONS}
    store = checkpoint.open_store(tmp_path / "checkpoints")
    if old:
        checkpoint.save(store, 4, state, meta)
    else:
        named = {name: ["weights/base", value] for name, value in frozen.hashes(state).items()}
        checkpoint.save(store, 4, frozen.without_frozen(state), meta | {"frozen": named})
    checkpoint.close(store)
    run = Workdir(epath.Path(tmp_path), 4, None)
    begun = lambda weight: session.first_state(lambda: train_state(0, weight), QUESTIONS, run)  # noqa: E731
    jax.tree.map(np.testing.assert_array_equal, begun(0.5)[0], state)
    if old:
        jax.tree.map(np.testing.assert_array_equal, begun(0.25)[0], state)
    else:
        with pytest.raises(InputError, match="not those of weights/base that the run began with"):
            begun(0.25)


@pytest.mark.parametrize("verifier", [Verifier(function="no_such_module:f"), Verifier()])
def test_graders_that_cannot_work_are_refused_before_the_workdir_is_touched(
    verifier: Verifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(**settings: Any) -> None:
        raise tiers.NoSandbox("no sandbox here")

    monkeypatch.setattr(tiers, "tier_for", none)
    monkeypatch.setattr(session, "open_together", lambda *given: pytest.fail("the workdir was opened"))
    run = SimpleNamespace(config=replace(Config(), verifier=verifier))
    parts: Any = SimpleNamespace(run=run, questions=SimpleNamespace(identity={"weights": {"code": 1}}))
    given: Any = None
    screen: Any = None
    with (
        pytest.raises(InputError, match="no_such_module|no sandbox here"),
        session.open_run(given, parts, screen, []),
    ):
        pytest.fail("the run began")
