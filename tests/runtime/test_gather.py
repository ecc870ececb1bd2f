"""Answers are shared by the processes of a run, and the order of problems is that of one process."""

import os
import subprocess
import sys

from hsd_jax.evaluation.generate import answer_all
from hsd_jax.runtime.multihost import gather_json
from tests.support.fakes.gather_process import PROBLEMS, ask
from tests.support.paths import ROOT
from tests.support.ports import free_port

PROGRAM = ROOT / "tests" / "support" / "fakes" / "gather_process.py"


def test_one_process_gathers_its_own():
    assert gather_json({"a": [1, "é"]}) == [{"a": [1, "é"]}]
    assert [[one.id for one in part] for part in answer_all(ask, PROBLEMS, batch=3)] == [
        ["q0", "q1", "q2"],
        ["q3", "q4", "q5"],
        ["q6"],
    ]


def test_two_processes_answer_together():
    port = free_port()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XLA_FLAGS": ""}
    running = [
        subprocess.Popen(
            [sys.executable, str(PROGRAM), str(port), str(me)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for me in range(2)
    ]
    try:
        for process in running:
            output = process.communicate(timeout=120)[0]
            assert process.returncode == 0, output
            assert "gathered [{'me': 0, 'text': 'xxx'}, {'me': 1, 'text': 'xxxxxxxx'}]" in output
            assert "order [['q0', 'q1', 'q2', 'q3'], ['q4', 'q5', 'q6']]" in output
    finally:
        for process in running:
            process.kill()
