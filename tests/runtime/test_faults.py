"""Faults while running: one line that says where, what and what to do; unexpected errors keep their traceback."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hsd_jax.data.problems import Problem
from hsd_jax.errors import EXIT_FAILED, EXIT_REFUSED, InputError, RunStopped
from hsd_jax.rollout import grading
from hsd_jax.runtime import checkpoint, cli, faults, signals
from hsd_jax.runtime.timing import Clock, count_compilations
from hsd_jax.types import Rollouts, Verdict
from hsd_jax.verifiers import pool


def ended(error: BaseException, stage: str, capsys: pytest.CaptureFixture[str]) -> tuple[str, Any]:
    """What a command whose stage fails with an error prints, and its exit code."""

    def main(argv: Sequence[str]) -> int:
        with Clock().phase(stage):
            raise error

    with pytest.raises(SystemExit) as stop:
        cli.run(main)
    line = capsys.readouterr().err.strip()
    assert line.startswith("error: ") and "\n" not in line
    return line, stop.value.code


OOM = "RESOURCE_EXHAUSTED: Out of memory allocating 17179869184 bytes.\n[tf-allocator-allocation-error='']"
SETTINGS = {
    "sample": ["sampling.slots"],
    "update": ["optimizer.micro-batches", "optimizer.loss-chunk", "model.remat"],
    "evaluate": ["sampling.slots", "evaluation.problems"],
}


@pytest.mark.parametrize("stage", list(SETTINGS))
@pytest.mark.parametrize("kind", [jax.errors.JaxRuntimeError, MemoryError])
def test_out_of_memory_says_which_stage_and_what_to_lower(
    stage: str, kind: type[Exception], capsys: pytest.CaptureFixture[str]
) -> None:
    line, code = ended(kind(OOM), stage, capsys)
    assert code == EXIT_FAILED and f"{stage}: out of memory" in line and "--resume auto" in line
    assert all(setting in line for setting in SETTINGS[stage])


def test_advice_names_settings_that_exist() -> None:
    from hsd_jax.config import Config

    known = set(cli.flags(Config()))
    named = {word for advice in faults.ROOM.values() for word in advice.replace(",", " ").split() if "." in word}
    assert named and {f"--{word}" for word in named} <= known


@pytest.mark.parametrize("code", list(faults.DISK))
def test_disk_faults_name_the_file_and_the_way_on(code: int, capsys: pytest.CaptureFixture[str]) -> None:
    line, exit_code = ended(OSError(code, os.strerror(code), "runs/x/metrics.jsonl"), "log", capsys)
    assert exit_code == EXIT_FAILED and "runs/x/metrics.jsonl" in line and "--resume auto" in line


def test_a_full_disk_is_not_taken_for_a_full_device(capsys: pytest.CaptureFixture[str]) -> None:
    """The words in which the array library puts it."""
    message = (
        'RESOURCE_EXHAUSTED: Error writing "x/0" in OCDBT database at local file "c/": Failed writing: "c/d/8e": '
        "Failed to write 14303232 bytes to file 4: No space left on device [os_error_code='28']"
    )
    line, _ = ended(ValueError(message), "save", capsys)
    assert "the disk is full" in line and "out of memory" not in line


def test_the_innermost_stage_counts() -> None:
    with pytest.raises(MemoryError) as caught, faults.stage("outer"), faults.stage("inner"):
        raise MemoryError
    assert faults.stage_of(caught.value) == "inner"


@pytest.mark.parametrize(
    ("error", "code"), [(InputError("steps: bad"), EXIT_REFUSED), (RunStopped("why"), EXIT_FAILED)]
)
def test_own_words_are_kept(error: Exception, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(error, "update", capsys) == (f"error: {error}", code)


def test_an_unexpected_error_keeps_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def main(argv: Sequence[str]) -> int:
        raise KeyError("a bug")

    with pytest.raises(SystemExit) as stop:
        cli.run(main)
    said = capsys.readouterr().err
    assert stop.value.code == EXIT_FAILED and "Traceback" in said and "KeyError: 'a bug'" in said


VANISHED = """
import sys
from pathlib import Path

import numpy as np

from hsd_jax.runtime import checkpoint, cli, faults
from hsd_jax.runtime.timing import Clock

root = Path(sys.argv[1])


def main(argv):
    store = checkpoint.open_store(root)
    with checkpoint.finishing(store):
        checkpoint.save(store, 2, {"x": np.arange(4)}, {"step": 2})
        store.manager.wait_until_finished()
        root.rename(root.with_name("moved"))
        root.write_text("")
        with Clock().phase("save"):
            checkpoint.save(store, 4, {"x": np.arange(4)}, {"step": 4})
            checkpoint.close(store)
    return 0


cli.run(main, leave=faults.hard_exit)
"""


def test_a_vanished_workdir_ends_the_run_at_once_and_leaves_the_last_good_state(tmp_path: Path) -> None:
    command = [sys.executable, "-c", VANISHED, str(tmp_path / "checkpoints")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    last = ended.stderr.strip().splitlines()[-1]
    assert ended.returncode == EXIT_FAILED and "Traceback" not in ended.stderr, ended.stderr
    assert last.startswith("error: save: cannot use") and "checkpoints" in last and "--resume auto" in last
    assert checkpoint.latest_valid_step(tmp_path / "moved") == 2


# --- signals


@pytest.mark.parametrize(
    ("sent", "asked"),
    [
        ([signal.SIGINT], "interrupt"),
        ([signal.SIGTERM], "preemption"),
        ([signal.SIGTERM, signal.SIGTERM], "preemption"),
        ([signal.SIGINT, signal.SIGTERM], "preemption"),
        ([signal.SIGTERM, signal.SIGINT], "preemption"),
    ],
)
def test_a_preemption_stays_one_whatever_else_is_sent(sent: Sequence[int], asked: str) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with signals.watch() as stop:
        for number in sent:
            signal.raise_signal(number)
        assert stop.asked == asked
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_second_interrupt_leaves_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    with signals.watch():
        signal.raise_signal(signal.SIGINT)
        assert codes == []
        signal.raise_signal(signal.SIGINT)
    assert codes == [signals.EXIT_LEFT_AT_ONCE]


# --- verifier processes that die

PROBLEM = Problem(id="q-1", source="test", kind="math", question="1+1?", answer="2")
ROWS = Rollouts(*(np.ones((1, 20, *tail), np.int32) for tail in ((3,), (), (), (3,))))  # type: ignore[arg-type]


class Tokenizer:
    """Decodes every response to the same text."""

    def decode(self, ids: Sequence[int], **_: Any) -> str:
        return "2"


def graded_after(fails: Sequence[bool]) -> grading.GradedBatch:
    """20 checks, of which the named ones (in the order of asking) fail by their process."""
    asked = iter([*fails, *[False] * 100])

    def submit(problem: Problem, text: str, finished: bool) -> Future[Verdict]:
        if next(asked):
            raise RuntimeError("cannot schedule new futures after shutdown")
        done: Future[Verdict] = Future()
        done.set_result(Verdict(1.0, "correct", "2"))
        return done

    marking = grading.start_grading([PROBLEM], submit, Tokenizer(), [])
    for rollout in range(20):
        marking.submit_rollout(0, rollout, np.array([5, 6, 7]))
    return marking.collect(ROWS)


def test_a_failed_check_is_asked_once_more() -> None:
    assert graded_after([True] * 20).counts()["verdict/correct"] == 20


def test_a_check_that_fails_twice_is_a_crash_and_is_said(caplog: pytest.LogCaptureFixture) -> None:
    counts = graded_after([True] + [False] * 19 + [True]).counts()
    assert counts["verdict/crash"] == 1 and counts["verdict/correct"] == 19
    assert "1 of 20 checks failed" in caplog.text and "q-1" in caplog.text


def test_a_pool_that_is_gone_stops_the_run() -> None:
    with pytest.raises(RunStopped, match=r"20 of 20 checks failed.*q-1.*verifier.workers.*--resume auto"):
        graded_after([True] * 40)


def test_an_error_of_the_program_is_not_taken_for_a_failed_check() -> None:
    def submit(problem: Problem, text: str, finished: bool) -> Future[Verdict]:
        raise TypeError("hidden tests")

    with pytest.raises(TypeError, match="hidden tests"):
        grading.start_grading([PROBLEM], submit, Tokenizer(), []).submit_rollout(0, 0, np.array([5]))


def test_killed_verifier_processes_are_replaced() -> None:
    with pool.start(workers=1) as graders:
        for worker in list(graders.math_workers.idle):
            os.kill(worker.process.pid, signal.SIGKILL)
            worker.process.wait()
        assert graders.submit_math(r"\boxed{(x+1)^2}", "x^2+2x+1").result().reason == "correct"


# --- compilations and clocks


def test_a_compilation_in_a_warm_phase_is_counted_and_explained(caplog: pytest.LogCaptureFixture) -> None:
    double = jax.jit(lambda x: x * 2)
    first, other = jnp.ones(3), jnp.ones(5)
    clock = Clock()
    with count_compilations(clock) as seen:
        with clock.phase("update"):
            double(first)
        assert seen.take() == 0
        clock.lap()
        with clock.phase("update"):
            double(first)
        assert seen.take() == 0
        with clock.phase("update"):
            double(other)
        with clock.phase("evaluate"):
            jax.jit(lambda x: x * 3)(other)
        assert seen.take() == 1
    (said,) = (record.getMessage() for record in caplog.records)
    assert (
        said.startswith("update: compiled")
        and "TRACING CACHE MISS" in said
        and "f32[5]" in said.replace("float32", "f32")
    )


def test_a_clock_that_jumps_does_not_move_the_times(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(time, "time", lambda: -1e9)
    with clock.phase("update"):
        monkeypatch.setattr(time, "time", lambda: 1e9)
    assert 0 <= clock.lap()["time/update"] < 60


def test_every_disk_fault_is_one_that_the_system_knows() -> None:
    assert all(code in errno.errorcode for code in faults.DISK)
