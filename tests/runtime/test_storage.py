"""Checkpoints on an object store, against an emulator: what is committed, and how a failure ends the run."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from jax._src import compilation_cache, compiler, distributed

from hsd_jax import report
from hsd_jax.config import Config
from hsd_jax.errors import InputError, RunStopped
from hsd_jax.reporting.write import credit_profile
from hsd_jax.runtime import checkpoint, compile_cache, faults, manifest, multihost, storage, workdir
from hsd_jax.runtime.timing import Clock, count_compilations
from models import hf
from models.config import Qwen3Config
from models.sharding import make_mesh
from tests.support.gcs_emulator import WRITES, Cloud, Rule
from tests.support.paths import ROOT
from tests.support.ports import free_port
from tests.support.random_qwen3 import hf_config, hf_weights, write_hf
from tests.support.report_workdir import make_workdir

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
CHECKPOINTS = "gs://bucket/run/checkpoints"
META = {"step": 0}
MIN_SECONDS = "jax_persistent_cache_min_compile_time_secs"


def state_of(step: int) -> dict[str, Any]:
    return {"weights": jnp.full(64, step, jnp.float32), "step": jnp.int32(step)}


def written(*steps: int, root: str = CHECKPOINTS) -> None:
    store = checkpoint.open_store(root)
    for step in steps:
        checkpoint.save(store, step, state_of(step), META)
    checkpoint.close(store)


def restores(root: str, step: int) -> None:
    assert checkpoint.latest_valid_step(root) == step
    jax.tree.map(np.testing.assert_array_equal, checkpoint.restore(root, step, state_of(0)), state_of(step))


def fails(do: Any) -> str:
    """The one line with which it ends."""
    with pytest.raises(RunStopped) as failed:
        do()
    assert "\n" not in str(failed.value)
    return str(failed.value)


def until_it_fails(store: checkpoint.Store) -> None:
    """Seals again and again, as a run does after every step."""
    for _ in range(600):
        checkpoint.write_manifests(store)
        time.sleep(0.05)


def test_a_checkpoint_is_neither_seen_nor_sealed_before_it_is_committed(gcs: Cloud) -> None:
    """Orbax gives it its final name when it begins to write, so a slow upload looks like a checkpoint."""
    written(5)
    gcs.rules.append(Rule("10/state", seconds=0.1))
    store = checkpoint.open_store(CHECKPOINTS)
    checkpoint.save(store, 10, state_of(10), META)
    in_flight = 0
    while store.manager.is_saving_in_progress():
        checkpoint.write_manifests(store).result()
        in_flight += bool(gcs.names("run/checkpoints/10/")) and checkpoint.steps(CHECKPOINTS) == [5]
        time.sleep(0.05)
    assert in_flight and not gcs.names("run/checkpoints/10/manifest")[1:]
    checkpoint.close(store)
    assert manifest.COMMIT in manifest_of(10) and checkpoint.verify(epath.Path(CHECKPOINTS) / "10") == ""
    restores(CHECKPOINTS, 10)


def manifest_of(step: int) -> dict[str, Any]:
    return json.loads((epath.Path(CHECKPOINTS) / str(step) / manifest.MANIFEST).read_text())


def test_who_dies_during_a_save_goes_on_from_the_one_before(gcs: Cloud) -> None:
    written(5, 10)
    gcs.rules.append(Rule("15/commit_success", seconds=1, times=1))
    store = checkpoint.open_store(CHECKPOINTS)
    checkpoint.save(store, 15, state_of(15), META)
    while not any("15/commit_success" in line for line in gcs.seen):
        time.sleep(0.02)
    gcs.copy("run/", "dead/")
    checkpoint.close(store)
    restores(CHECKPOINTS, 15)
    left = "gs://bucket/dead/checkpoints"
    assert checkpoint.steps(left) == [5, 10]
    assert [path.name for path in checkpoint.incomplete(left)] == ["15"]
    restores(left, 10)
    workdir.discard_after(epath.Path("gs://bucket/dead"), 10)
    assert not gcs.names("dead/checkpoints/15")
    written(15, root=left)
    restores(left, 15)


@pytest.mark.parametrize("content", ['{"state/d/gone": [17, 0], "state/commit_success.txt": [1, 0]}', "{", ""])
def test_a_manifest_of_an_unfinished_save_is_no_evidence_of_damage(gcs: Cloud, content: str) -> None:
    written(5)
    (epath.Path(CHECKPOINTS) / "5" / manifest.MANIFEST).write_text(content)
    restores(CHECKPOINTS, 5)
    checkpoint.close(checkpoint.open_store(CHECKPOINTS))
    assert manifest.COMMIT in manifest_of(5), "it is sealed anew"


def test_an_object_that_is_lost_later_is_named(gcs: Cloud, caplog: pytest.LogCaptureFixture) -> None:
    written(5, 10)
    gcs.lose("run/checkpoints/10/state/d/")
    assert checkpoint.latest_valid_step(CHECKPOINTS) == 5
    assert "checkpoint 10 is damaged (state/d/" in caplog.text and "is missing" in caplog.text


@pytest.mark.parametrize(
    ("pattern", "word"),
    [("state/ocdbt.process_0", "a permission"), ("meta/metadata", "a permission"), ("10/commit", "a permission")],
)
def test_a_refused_upload_is_one_line(gcs: Cloud, pattern: str, word: str) -> None:
    written(5)
    gcs.rules.append(Rule(pattern, status=403))
    store = checkpoint.open_store(CHECKPOINTS, resume="python -m hsd_jax.train --resume auto")

    def run() -> None:
        checkpoint.save(store, 10, state_of(10), META)
        until_it_fails(store)

    line = fails(run)
    assert word in line and storage.ROLES in line and "checkpoint 10 was not written" in line
    assert "checkpoint 5 is whole; continue with: python -m hsd_jax.train --resume auto" in line
    file = epath.Path(line.split("The traceback is in ")[1])
    assert "gs://bucket/run/errors/save-10-process-0.txt" == str(file) and "Traceback" in file.read_text()
    gcs.rules.clear()
    restores(CHECKPOINTS, 5)


def test_a_storage_that_fails_again_and_again_is_one_line_soon(gcs: Cloud, monkeypatch: Any) -> None:
    """TensorStore alone would try 32 times, with pauses of half a minute."""
    written(5)
    assert checkpoint.CONTEXTS
    for known in checkpoint.CONTEXTS:
        assert known["gcs_request_retries"]["max_retries"] * 8 + 6 * storage.SILENT_SECONDS < 150
        quick = {"max_retries": 3, "initial_delay": "10ms", "max_delay": "10ms"}
        monkeypatch.setitem(known, "gcs_request_retries", quick)
    gcs.rules.append(Rule("10/state/ocdbt", status=503))
    store = checkpoint.open_store(CHECKPOINTS)

    def run() -> None:
        checkpoint.save(store, 10, state_of(10), META)
        checkpoint.close(store)

    assert "the storage does not answer" in fails(run)
    gcs.rules.clear()
    restores(CHECKPOINTS, 5)


def test_a_lost_upload_never_becomes_the_state_that_a_run_goes_on_from(gcs: Cloud) -> None:
    """The storage says that it was done, and it was not."""
    written(5)
    gcs.rules.append(Rule("10/state/ocdbt.process_0/d", status=200))
    store = checkpoint.open_store(CHECKPOINTS)

    def run() -> None:
        checkpoint.save(store, 10, state_of(10), META)
        checkpoint.close(store)

    assert "checkpoint 10 was not written" in fails(run)
    gcs.rules.clear()
    restores(CHECKPOINTS, 5)


def test_a_deletion_that_is_refused_is_one_line(gcs: Cloud) -> None:
    written(5, 10)
    gcs.rules.append(Rule("GET /storage/v1/b/bucket?", methods=("GET",), status=403))
    gcs.rules.append(Rule("/o/", methods=("DELETE",), status=403))
    store = checkpoint.open_store(CHECKPOINTS)

    def run() -> None:
        checkpoint.save(store, 15, state_of(15), META)
        checkpoint.close(store)

    assert storage.ROLES in fails(run)
    gcs.rules.clear()
    restores(CHECKPOINTS, 15)


# --- two processes


def two_processes(gcs: Cloud, rule: Rule, *, seconds: float = 600) -> list[tuple[int, list[str], float]]:
    """(exit code, what was said, seconds after the fault began) of two processes that meet a rule in a long step."""
    gcs.rules.append(rule)
    port, running = free_port(), []
    command = [sys.executable, str(ROOT / "tests/support/fakes/saving_process.py"), "gs://bucket/run", str(seconds)]
    for me in range(2):
        place = dict(zip(multihost.VARIABLES, (f"127.0.0.1:{port}", "2", str(me)), strict=True))
        environment = {**os.environ, **gcs.environment, "PYTHONPATH": str(ROOT), **place}
        running.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    ends = []
    try:
        for process in running:
            said = process.communicate(timeout=300)[1]
            ends.append((process.returncode, said.splitlines(), time.monotonic() - rule.first))
    finally:
        for process in running:
            process.kill()
            process.wait()
    return ends


@pytest.mark.parametrize("host", [0, 1])
def test_a_write_that_fails_on_one_host_ends_all_hosts_soon_with_a_line_each(gcs: Cloud, host: int) -> None:
    """In the midst of a step that would take ten minutes, and although Orbax waits 20 minutes for the other host."""
    ends = two_processes(gcs, Rule(f"10/state/ocdbt.process_{host}", status=403))
    for process, (code, said, seconds) in enumerate(ends):
        lines = [line for line in said if not re.match(r"WARNING:|I\d{4} ", line)]
        assert (code, len(lines)) == (1, 1) and lines[0].startswith("error: "), said
        assert storage.ROLES in lines[0] and "--resume auto" in lines[0]
        assert (process == host) != (f"no sign of life from process {host}" in lines[0])
        assert seconds < 30, "the grace of 1 s and the heartbeat of 4 s"
    gcs.rules.clear()
    assert checkpoint.latest_valid_step(CHECKPOINTS) == 5


# --- the check at start


@pytest.mark.parametrize(
    ("rule", "word"),
    [
        (Rule("GET /storage/v1/b/bucket?", methods=("GET",), status=403), "cannot read the bucket's settings"),
        (Rule("probe", methods=("POST", "PUT"), status=403), "cannot write a file"),
        (Rule("moveTo", status=403), "cannot rename a file"),
        (Rule("delimiter", methods=("GET",), status=403), "cannot"),
        (Rule("probe", methods=("DELETE",), status=403), "cannot delete a file"),
        (Rule("probe", status=401), "credentials"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name_before_a_run(gcs: Cloud, rule: Rule, word: str) -> None:
    gcs.rules.append(rule)
    if "moveTo" in rule.pattern:  # gcsfs then copies and deletes
        gcs.rules.append(Rule("rewriteTo", status=403))
    with pytest.raises(InputError, match=word) as refused:
        storage.preflight(epath.Path("gs://bucket/run"))
    assert ("credentials" in word) or storage.ROLES in str(refused.value)


def test_a_storage_that_refuses_is_bad_input_only_until_a_run_has_begun(gcs: Cloud) -> None:
    """`watch` starts a failed run again, and gives up one whose input is refused."""

    def start() -> None:
        workdir.open_workdir(
            "gs://bucket/run", Config(), resume=True, overwrite=False, allow_changes=False, command=["train"]
        )

    gcs.rules.append(Rule("probe", status=403))
    with pytest.raises(InputError, match="cannot write a file"):
        start()
    gcs.rules.clear()
    (epath.Path("gs://bucket/run/logs") / "w0.log").write_text("a start that was refused")
    start()
    for rule in (Rule("probe", status=403), Rule("/", ("GET", *WRITES), status=401)):
        gcs.rules[:] = [rule]
        with pytest.raises(RunStopped, match="continue with --resume auto"):
            start()
    gcs.rules[:] = [Rule("config.json", methods=("GET",), status=403)]
    with pytest.raises(OSError) as refused:
        start()
    assert "cannot use the object store" in (faults.explain(refused.value) or "")


def test_a_check_that_passes_leaves_nothing(gcs: Cloud) -> None:
    storage.preflight(epath.Path("gs://bucket/run"))
    assert gcs.names() == []


def test_a_storage_that_does_not_answer_is_refused(gcs: Cloud) -> None:
    gcs.rules.append(Rule("probe", seconds=3))
    with pytest.raises(InputError, match="cannot write a file: no answer within 0.3 s"):
        storage.preflight(epath.Path("gs://bucket/run"), seconds=0.3)


def test_a_bucket_that_is_not_there_is_refused(gcs: Cloud) -> None:
    with pytest.raises(InputError, match="--workdir gs://absent/run: cannot read the bucket's settings"):
        storage.preflight(epath.Path("gs://absent/run"))


# --- what a pod reads


def uploaded(folder: Path, to: str) -> str:
    for file in folder.rglob("*"):
        if file.is_file():
            (epath.Path(to) / str(file.relative_to(folder))).write_bytes(file.read_bytes())
    return to


def test_weights_stream_from_the_bucket_and_texts_are_copied(gcs: Cloud, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(storage, "CACHE", tmp_path)
    config = hf_config(vocab_size=96)
    folder = write_hf(tmp_path / "model", config, hf_weights(config))
    remote = uploaded(folder, "gs://bucket/weights/tiny")
    mesh = make_mesh(1, 2, 2, jax.devices()[:4])
    model = Qwen3Config.from_hf(remote)
    assert model == Qwen3Config.from_hf(folder)
    near, far = (hf.load_params(place, model, mesh) for place in (folder, remote))
    jax.tree.map(np.testing.assert_array_equal, near, far)
    copy = Path(storage.local_copy(remote))
    assert {f.name for f in copy.iterdir()} == {f.name for f in folder.iterdir() if f.suffix != ".safetensors"}
    assert storage.local_copy(remote) == str(copy), "it is copied once"
    (epath.Path(remote) / "config.json").write_text("{}")
    assert storage.local_copy(remote) != str(copy), "and again when it has changed"


def test_a_report_is_read_from_the_bucket_and_written_there(gcs: Cloud, tmp_path: Path) -> None:
    near = report.write_report(report.Arguments(str(make_workdir(tmp_path / "run", problems=2, group=4, steps=2))))[0]
    page = near.read_text()
    shutil.rmtree(tmp_path / "run" / "report")
    remote = uploaded(tmp_path / "run", "gs://bucket/runs/run")
    epath.Path(f"{remote}/checkpoints/2/weights").write_text("large")
    assert report.main(["--workdir", remote, "--figures"]) == 0
    assert epath.Path(f"{remote}/report/index.html").read_text() == page
    assert any(name.endswith(".csv") for name in gcs.names("runs/run/report/figures/"))
    assert credit_profile(remote) == credit_profile(tmp_path / "run")
    assert not any("GET" in line and "checkpoints" in line for line in gcs.seen), "only what a page shows is copied"


def test_a_report_of_no_run_is_refused(gcs: Cloud) -> None:
    with pytest.raises(InputError, match="gs://bucket/runs/none: there is no run here"):
        report.main(["--workdir", "gs://bucket/runs/none"])


def test_every_process_keeps_its_programs_in_the_bucket(gcs: Cloud, monkeypatch: Any) -> None:
    """JAX lets process 0 alone write, and a host's own programs are no other's."""
    monkeypatch.setenv(compile_cache.NAMED, "gs://bucket/compiled")
    kept = {name: jax.config.values[name] for name in ("jax_compilation_cache_dir", MIN_SECONDS)}
    inner = compiler._cache_write
    monkeypatch.setattr(distributed.global_state, "process_id", 1)
    clock = Clock()
    try:
        with count_compilations(clock) as seen:
            made = []
            for _ in range(2):
                compile_cache.enable_compilation_cache(1, 2)
                compilation_cache.reset_cache()
                jax.clear_caches()
                jax.jit(lambda x: 3 * x + 1)(np.float32(1))
                made.append(seen.take_programs()["compiled/programs"])
    finally:
        compiler._cache_write = inner
        for name, value in kept.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()
    assert made == [1, 0]
    assert gcs.names("compiled/") and gcs.names("compiled/") == gcs.names("compiled/process-1/")


def test_a_bucket_without_files_is_refused(gcs: Cloud) -> None:
    with pytest.raises(InputError, match="gs://bucket/nothing: there are no files here"):
        storage.local_copy("gs://bucket/nothing")
    with pytest.raises(InputError, match="config.json: cannot be read"):
        Qwen3Config.from_hf("gs://bucket/nothing")
