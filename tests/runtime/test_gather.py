"""Answers are shared by the processes of a run, and the order of problems is that of one process."""

import os
import socket
import subprocess
import sys

from hsd_jax.data.problems import Problem
from hsd_jax.evaluation.generate import Samples, answer_all
from hsd_jax.runtime.gather import gather_json
from tests.support.paths import ROOT

PROBLEMS = [Problem(f"q{i}", "x", "math", "1+1?", "2") for i in range(7)]


def ask(problems):
    return [Samples(p.id, (1.0,), ("correct",), ("2é",), (i,), (True,), ("2",)) for i, p in enumerate(problems)]


PROGRAM = """
import os, sys
os.environ["JAX_PLATFORMS"] = "cpu"
import jax
jax.distributed.initialize("127.0.0.1:" + sys.argv[1], 2, int(sys.argv[2]))
from tests.runtime.test_gather import PROBLEMS, ask
from hsd_jax.evaluation.generate import answer_all
from hsd_jax.runtime.gather import gather_json
me = jax.process_index()
print("gathered", gather_json({"me": me, "text": "x" * (3 + 5 * me)}))
print("order", [[one.id for one in part] for part in answer_all(ask, PROBLEMS, batch=2)])
"""


def test_one_process_gathers_its_own():
    assert gather_json({"a": [1, "é"]}) == [{"a": [1, "é"]}]
    assert [[one.id for one in part] for part in answer_all(ask, PROBLEMS, batch=3)] == [
        ["q0", "q1", "q2"],
        ["q3", "q4", "q5"],
        ["q6"],
    ]


def test_two_processes_answer_together():
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XLA_FLAGS": ""}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(port), str(me)],
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
