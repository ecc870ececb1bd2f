"""Processes of one run on this machine: they meet, decide together, and end with a word when one is missing or dies."""

import os
import socket
import subprocess
import sys
import time

import pytest

from hsd_jax.errors import InputError
from hsd_jax.runtime import multihost
from hsd_jax.runtime.multihost import ProcessInfo, from_environment
from tests.support.paths import ROOT
from tests.support.ports import free_port


def run(case: str, processes: int, *, start: int = 2, **extra: str) -> list[tuple[int, str, float]]:
    """(exit code, output, seconds) of the first `start` of `processes` processes."""
    port = free_port()
    began = time.monotonic()
    running = []
    for me in range(start):
        place = dict(zip(multihost.VARIABLES, (f"127.0.0.1:{port}", str(processes), str(me)), strict=True))
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **place, **extra}
        command = [sys.executable, str(ROOT / "tests" / "support" / "fakes" / "process.py"), case]
        running.append(
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        )
    ends = []
    try:
        for process in running:
            output = process.communicate(timeout=60)[0]
            ends.append((process.returncode, output, time.monotonic() - began))
    finally:
        for process in running:
            process.kill()
    return ends


def test_two_processes_compute_and_decide_together() -> None:
    ends = run("decide", 2)
    for code, output, _ in ends:
        assert code == 0, output
        assert "sum 6.0 [{'me': 0}, {'me': 1}]" in output
        assert "stop True False" in output


def test_a_difference_names_the_process() -> None:
    for code, output, _ in run("differ", 2):
        assert code == 1
        assert "step differs between processes: process 0 has 0; process 1 has 1" in output


def test_the_start_names_who_is_missing() -> None:
    for code, output, _ in run("decide", 3, START="3"):
        assert code == 1
        assert "2 of 3 processes arrived within 3 s; missing: process 2." in output


def test_without_process_0_the_others_say_so() -> None:
    place = ProcessInfo(f"127.0.0.1:{free_port()}", 2, 1)
    with pytest.raises(RuntimeError, match="missing: process 0"):
        multihost.rendezvous(place, 0.5)


def test_a_process_that_gives_no_answer_is_named_with_its_host() -> None:
    first = run("silent", 2)[0]
    assert first[0] == 1
    assert f"stop/1: no word from process 1 ({socket.gethostname()}) within 2 s" in first[1]


@pytest.mark.parametrize(("case", "code"), [("refuse", 2), ("killed", -9)])
def test_one_process_that_ends_ends_the_others(case: str, code: int) -> None:
    first, second = run(case, 2)
    assert second[0] == code
    assert first[0] == 1, first[1]
    assert f"error: no sign of life from process 1 ({socket.gethostname()})" in first[1]
    assert first[2] < 40, "within the heartbeat timeout of 10 s and what starting takes"
    assert (case != "refuse") or "error: data.path: not on this host" in second[1]


def test_one_process_needs_no_cluster() -> None:
    assert from_environment({}) is None
    with multihost.distributed_session(None):
        assert multihost.gather("x", 3) == [3]
        assert multihost.any_host("y", True)
        multihost.same_everywhere("z", 1)


def test_the_place_comes_from_three_variables() -> None:
    three = dict(zip(multihost.VARIABLES, ("host:1", "4", "3"), strict=True))
    assert from_environment(three) == ProcessInfo("host:1", 4, 3)
    for name, value, message in [
        ("JAX_PROCESS_ID", "4", "JAX_PROCESS_ID must be in"),
        ("JAX_NUM_PROCESSES", "many", "JAX_PROCESS_ID must be in"),
        ("JAX_COORDINATOR_ADDRESS", "host", "must be host:port"),
        ("JAX_PROCESS_ID", "", "JAX_PROCESS_ID is not; set all three"),
    ]:
        with pytest.raises(InputError, match=message):
            from_environment({**three, name: value})
