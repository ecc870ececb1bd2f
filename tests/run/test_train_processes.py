"""The training command on several devices and in several processes: one run, whatever computes it."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hsd_jax.errors import EXIT_FAILED, EXIT_PREEMPTED
from hsd_jax.runtime import checkpoint, multihost
from tests.support.ports import free_port
from tests.support.train_process import IN_TURNS, TINY, Run, environment, finish, kill, lines, reach, start, trained

BATCH = [*TINY, "--data.problems-per-step", "8", "--sampling.group-size", "2", "--checkpoints.every", "1"]
BATCH += ["--evaluation.every", "1", "--evaluation.problems", "6"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def wanted(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of four steps on one device, in one process."""
    workdir = tmp_path_factory.mktemp("wanted") / "run"
    finish(start(environment(folder), workdir, *BATCH, "--steps", "4"))
    return workdir


def launch(folder: Path, workdir: Path, processes: int, *argv: str, **extra: str) -> list[Run]:
    """One run of so many processes with two devices each; `extra` are environment variables."""
    common = {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{free_port()}", "JAX_NUM_PROCESSES": str(processes)}
    assert {*common, "JAX_PROCESS_ID"} == {*multihost.VARIABLES}
    known = environment(folder, 2) | common | extra
    places = [known | {"JAX_PROCESS_ID": str(process)} for process in range(processes)]
    return [start(place, workdir, *argv, name=f"process-{k}") for k, place in enumerate(places)]


def assert_same_run(workdir: Path, wanted: Path) -> None:
    """One log with the same lines up to 1e-5, and with the very same rollouts."""
    assert [line["step"] for line in lines(workdir)] == list(range(len(lines(wanted))))
    for mine, theirs in zip(trained(workdir), trained(wanted), strict=True):
        assert mine.keys() == theirs.keys()
        for name in mine:
            np.testing.assert_allclose(mine[name], theirs[name], rtol=1e-5, atol=1e-5, err_msg=name)
    assert rollouts(workdir) == rollouts(wanted)


def rollouts(workdir: Path) -> dict[str, list[Any]]:
    """The rollout log: questions with the ids, rewards and peers of their responses, by file."""
    return {
        file.name: [
            [row["question_id"], [[r["token_ids"], r["reward"], r["peer"]] for r in row["rollouts"]]]
            for row in map(json.loads, file.read_text().splitlines())
        ]
        for file in (workdir / "rollouts").iterdir()
    }


def test_a_run_that_moves_to_other_devices_keeps_its_numbers(folder: Path, wanted: Path, tmp_path: Path) -> None:
    """Step 1 on one device, step 2 on two of a run with one process, the others on one again."""
    workdir = tmp_path / "moved"
    finish(start(environment(folder, 1), workdir, *BATCH, "--steps", "1"))
    (alone,) = launch(folder, workdir, 1, *BATCH, "--steps", "2", "--resume", "auto")
    assert "on 2 x cpu" in finish(alone) and "continuing after step 1" in alone.said()
    said = finish(start(environment(folder, 1), workdir, *BATCH, "--steps", "4", "--resume", "auto"))
    assert "on 1 x cpu" in said and "continuing after step 2" in said
    assert_same_run(workdir, wanted)


def test_two_processes_one_killed_and_all_restarted_are_one_run(folder: Path, wanted: Path, tmp_path: Path) -> None:
    workdir = tmp_path / "two"
    first, second = launch(folder, workdir, 2, *BATCH, "--steps", "4")
    reach(second, 2, "sample")
    while second.process.is_alive() and checkpoint.latest_valid_step(workdir / "checkpoints") is None:
        time.sleep(0.02)  # both write the first checkpoint in the background
    kill(second)
    said = finish(first, EXIT_FAILED, seconds=90)
    # it breaks the connection in the middle of a program, or is silent for a minute before there is one
    noticed = ("another process of this run has ended", "error: no sign of life from process 1")
    assert any(words in said for words in noticed) and "--resume auto" in said
    assert checkpoint.latest_valid_step(workdir / "checkpoints") in (1, 2, 3)
    for run in launch(folder, workdir, 2, *BATCH, "--steps", "4", "--resume", "auto"):
        finish(run)
    assert_same_run(workdir, wanted)
    assert_a_second_start_compiles_nothing_and_a_preemption_drops_its_step(folder, tmp_path / "again")


def assert_a_second_start_compiles_nothing_and_a_preemption_drops_its_step(folder: Path, workdir: Path) -> None:
    """Part of the test before, for its compiled programs. One host of two is told that it will be taken away."""
    first, second = launch(folder, workdir, 2, *BATCH, "--steps", "4")
    reach(second, 3, "sample")
    assert second.process.pid is not None
    os.kill(second.process.pid, signal.SIGTERM)
    for run in (first, second):
        finish(run, EXIT_PREEMPTED, seconds=200)
    assert checkpoint.latest_valid_step(workdir / "checkpoints") == lines(workdir)[-1]["step"]
    assert [line["compiled/programs"] for line in lines(workdir)[1:3]] == [0, 0]


def test_four_processes_are_one_run(folder: Path, tmp_path: Path) -> None:
    """Packed, with rows 0 and 4 of 8 on the first of them: on real slices, too, a host's rows lie apart.

    Questions are drawn again until all groups are unequal, by all together, and groups change their process.
    """
    wanted, workdir = tmp_path / "wanted", tmp_path / "four"
    given = [*BATCH, "--steps", "2", "--optimizer.layout", "packed", "--method.attempts", "3"]
    finish(start(environment(folder, 8), wanted, *given))  # how far rows are filled depends on their number
    for run in launch(folder, workdir, 4, *given, **{IN_TURNS: "1"}):
        finish(run)
    assert_same_run(workdir, wanted)
