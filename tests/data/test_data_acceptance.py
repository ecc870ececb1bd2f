"""GSM8K and HumanEval whole: no row is lost, and a reference solution given as the response is graded correct."""

import pytest

from hsd_jax.data.sources import load
from hsd_jax.rollout.test_suites import submit_all_tests
from hsd_jax.verifiers import pool
from tests.support.paths import CORPORA


def graded(problems, respond, workers=2):
    with pool.start(workers=workers, allow_unsandboxed=False) as graders:
        submit = submit_all_tests(graders)
        waiting = [(problem.id, submit(problem, respond(problem), True)) for problem in problems]
        return {name: future.result() for name, future in waiting}


def everything(corpus):
    return [rows[i] for rows in corpus.splits.values() for i in range(len(rows))]


@pytest.mark.skipif(not (CORPORA / "gsm8k").is_dir(), reason=f"GSM8K is not in {CORPORA}")
def test_every_gsm8k_solution_is_graded_correct(tmp_path):
    problems = everything(load("gsm8k", CORPORA / "gsm8k", cache=tmp_path))
    assert len(problems) == 7473 + 1319
    verdicts = graded(problems, lambda problem: problem.solution)
    assert {name: v for name, v in verdicts.items() if v.reward < 1} == {}
    wrong = graded(problems[::50], lambda problem: f"The answer is \\boxed{{{problem.answer}1}}.")
    assert all(verdict.reward == 0 for verdict in wrong.values())


@pytest.mark.sandbox
@pytest.mark.skipif(not (CORPORA / "humaneval").is_dir(), reason=f"HumanEval is not in {CORPORA}")
def test_every_humaneval_solution_is_graded_correct(tmp_path):
    problems = everything(load("humaneval", CORPORA / "humaneval", cache=tmp_path))
    assert len(problems) == 164
    verdicts = graded(problems, lambda problem: f"```python\n{problem.solution}\n```")
    assert {name: v for name, v in verdicts.items() if v.reward < 1} == {}
