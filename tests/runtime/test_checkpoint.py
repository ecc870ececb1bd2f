"""Checkpoints: damage of every kind is found, the one before is used, the policy keeps what it should."""

import errno
import json
import os
import resource
import shutil
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from hsd_jax.errors import InputError
from hsd_jax.runtime import checkpoint, faults
from hsd_jax.setup import trained
from hsd_jax.update.state import TrainState
from models.qwen3 import Params, init_params
from models.sharding import make_mesh
from tests.support.paths import TINY_MODEL
from tests.support.tiny_config import tiny_config

MODEL = tiny_config(layers=1)
PARAMS: Params = init_params(MODEL, jax.random.key(0), jnp.float32)
META = {"model": vars(MODEL), "config": {"model": {"path": "assets/tiny_qwen3"}}}


def state_of(step: int) -> TrainState:
    moved = jax.tree.map(lambda x: x + step, PARAMS)
    return TrainState(moved, {"mu": moved}, {}, {"median": jnp.float32(step)}, jnp.int32(step))


def written(root: Path, scores: dict[int, float | None], **policy: int) -> Path:
    store = checkpoint.open_store(root, **policy)
    for step, score in scores.items():
        checkpoint.save(store, step, state_of(step), META | {"step": step}, score=score)
        store.manager.wait_until_finished()
        checkpoint.write_manifests(store)
    checkpoint.close(store)
    return root


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("two") / "checkpoints", {2: 0.1, 4: 0.2})


@pytest.fixture
def copy(two: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(two, tmp_path / "checkpoints"))


def largest(folder: Path) -> Path:
    return max((file for file in folder.rglob("*") if file.is_file()), key=lambda file: file.stat().st_size)


def truncate(step: Path) -> None:
    file = largest(step / "state")
    file.write_bytes(file.read_bytes()[:-1])


def flip(step: Path) -> None:
    file = largest(step / "state")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))


def remove(step: Path) -> None:
    largest(step / "state").unlink()


def garble_the_manifest(step: Path) -> None:
    (step / checkpoint.MANIFEST).write_text("{")


def lose_a_part(step: Path) -> None:
    (step / checkpoint.MANIFEST).unlink()
    shutil.rmtree(step / "state")


@pytest.mark.parametrize(
    ("harm", "word"),
    [
        (truncate, "bytes instead of"),
        (flip, "has changed"),
        (remove, "is missing"),
        (garble_the_manifest, "not readable"),
        (lose_a_part, "incomplete"),
    ],
)
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(
    copy: Path, harm: Any, word: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert checkpoint.latest_valid_step(copy) == 4
    harm(copy / "4")
    assert checkpoint.latest_valid_step(copy) == 2
    assert "checkpoint 4 is damaged" in caplog.text and word in caplog.text
    restored = checkpoint.restore(copy, 2, state_of(0))
    jax.tree.map(np.testing.assert_array_equal, restored, state_of(2))


def test_a_checkpoint_without_manifest_is_accepted_if_it_is_whole(copy: Path) -> None:
    (copy / "4" / checkpoint.MANIFEST).unlink()
    assert checkpoint.latest_valid_step(copy) == 4


def test_an_interrupted_seal_is_made_anew(copy: Path) -> None:
    (copy / "4" / checkpoint.MANIFEST).rename(copy / "4" / f"{checkpoint.MANIFEST}.part")
    checkpoint.close(checkpoint.open_store(copy))
    assert checkpoint.verify(epath.Path(copy / "4")) == "" and (copy / "4" / checkpoint.MANIFEST).exists()


def test_a_half_written_checkpoint_is_not_seen(copy: Path) -> None:
    half = copy / "6.orbax-checkpoint-tmp"
    (half / "state").mkdir(parents=True)
    assert checkpoint.latest_valid_step(copy) == 4
    assert checkpoint.incomplete(copy) == [epath.Path(half)]


def test_the_newest_the_best_and_every_mth_are_kept(tmp_path: Path) -> None:
    scores = {1: 0.1, 2: 0.9, 3: 0.2, 4: 0.3, 5: None, 6: 0.1}
    root = written(tmp_path / "checkpoints", scores, keep=2, keep_every=3)
    assert checkpoint.steps(root) == [2, 3, 5, 6]


def test_a_continued_run_remembers_the_best_of_before(tmp_path: Path) -> None:
    """Scores are read back from the checkpoints, so the best one survives a restart."""
    root = written(tmp_path / "checkpoints", {1: 0.9, 2: 0.1, 3: 0.2}, keep=1)
    assert checkpoint.steps(root) == [1, 3]
    written(root, {4: 0.3, 5: None}, keep=1)
    assert checkpoint.steps(root) == [1, 5]


def test_a_score_that_comes_late_counts_at_once_and_after_a_restart(tmp_path: Path) -> None:
    root = written(tmp_path / "checkpoints", {1: 0.2, 2: None}, keep=1)
    store = checkpoint.open_store(root, keep=1)
    checkpoint.add_score(store, 2, 0.9)
    checkpoint.save(store, 3, state_of(3), META, score=0.3)
    checkpoint.close(store)
    assert checkpoint.steps(root) == [2, 3] and checkpoint.verify(epath.Path(root / "2")) == ""
    written(root, {4: 0.4}, keep=1)
    assert checkpoint.steps(root) == [2, 4]


@pytest.mark.parametrize("meshed", [False, True])
def test_the_weights_alone_are_read(two: Path, meshed: bool) -> None:
    mesh = make_mesh(1, 2, 1, jax.devices()[:2]) if meshed else None
    config, params, source = trained.restore_params(two / "4", mesh)
    assert (config, source) == (MODEL, str(TINY_MODEL))
    jax.tree.map(np.testing.assert_array_equal, params, state_of(4).params)
    kinds = {type(leaf) for leaf in jax.tree.leaves(params)}
    assert all(issubclass(kind, jax.Array if meshed else np.ndarray) for kind in kinds)
    if mesh is not None:
        assert params["embed_VD"].sharding.shard_shape((32, 16)) == (32, 8)


def test_the_weights_do_not_need_the_optimizer(copy: Path) -> None:
    """A workdir is accepted too, and the newest good step of it is taken."""
    truncate(copy / "4")
    _, params, _ = trained.restore_params(copy.parent)
    np.testing.assert_array_equal(params["embed_VD"], state_of(2).params["embed_VD"])


@pytest.mark.parametrize("part", ["state/_METADATA", "state/manifest.ocdbt", "meta/metadata", "meta"])
def test_a_damaged_checkpoint_without_a_manifest_is_refused_in_one_line(copy: Path, part: str) -> None:
    (copy / "4" / checkpoint.MANIFEST).unlink()
    file = copy / "4" / part
    shutil.rmtree(file) if file.is_dir() else file.write_bytes(b"Z" + file.read_bytes()[1:])
    with pytest.raises(InputError, match="4 cannot be read .*delete it, then the one before it is taken"):
        trained.restore_params(copy / "4")


def test_no_checkpoint_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no finished checkpoint here"):
        trained.restore_params(tmp_path)


def test_a_failing_run_still_finishes_the_write_in_flight(tmp_path: Path) -> None:
    store = checkpoint.open_store(tmp_path / "checkpoints")
    with pytest.raises(KeyError), checkpoint.finishing(store):
        checkpoint.save(store, 3, state_of(3), META)
        raise KeyError
    assert checkpoint.latest_valid_step(tmp_path / "checkpoints") == 3
    assert set(json.loads((tmp_path / "checkpoints" / "3" / checkpoint.MANIFEST).read_text()))
    checkpoint.close(store)


def test_a_write_that_fails_in_the_background_is_said_after_the_next_step(tmp_path: Path) -> None:
    """Not only when the next checkpoint is due: until then a run would train on without any."""
    store = checkpoint.open_store(tmp_path / "checkpoints")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))  # as a full disk, which a test cannot have
    try:
        checkpoint.save(store, 1, {"x": np.random.default_rng(0).standard_normal(100_000)}, META)
        with pytest.raises(Exception, match=os.strerror(errno.EFBIG)) as failed:
            for _ in range(600):
                checkpoint.write_manifests(store)
                time.sleep(0.1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert faults.disk_code(failed.value) == errno.EFBIG
    assert checkpoint.latest_valid_step(tmp_path / "checkpoints") is None


def test_a_checkpoint_that_is_being_deleted_is_not_sealed_again(tmp_path: Path) -> None:
    """Orbax deletes file by file; a manifest written meanwhile would leave a directory that cannot be removed."""
    store = checkpoint.open_store(tmp_path / "checkpoints")
    checkpoint.save(store, 1, state_of(1), META)
    store.manager.wait_until_finished()
    checkpoint.write_manifests(store).result()
    manifest = tmp_path / "checkpoints" / "1" / checkpoint.MANIFEST
    manifest.unlink()  # the first file to go
    checkpoint.write_manifests(store).result()
    assert not manifest.exists()
    checkpoint.close(store)


def test_a_checkpoint_is_sealed_before_the_write_that_may_delete_it(tmp_path: Path) -> None:
    store = checkpoint.open_store(tmp_path / "checkpoints", keep=1)
    for step in (1, 2, 3):
        checkpoint.save(store, step, state_of(step), META)
        assert store.unsealed == {step}
    checkpoint.close(store)
    assert checkpoint.steps(tmp_path / "checkpoints") == [3] and not store.unsealed


def test_echoes_of_a_write_that_failed_are_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: said.append(f"raised {error}"))
    monkeypatch.setattr(sys, "unraisablehook", lambda given: said.append(f"lost {given.exc_value}"))
    store: Any = SimpleNamespace(failed=[])
    with checkpoint.watched(store, lambda error: said.append(str(error))):
        for error in (RuntimeError("Event loop is closed"), RuntimeError("disk full")):
            sys.excepthook(RuntimeError, error, None)
            sys.unraisablehook(cast(Any, SimpleNamespace(exc_value=error)))
    assert said == ["raised disk full", "lost disk full"]
