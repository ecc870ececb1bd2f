"""How answers are graded where nothing is trained: programs by all tests, visible and hidden."""

from concurrent.futures import Future

from hsd_jax.data.problems import Problem
from hsd_jax.rollout.grading import Submit
from hsd_jax.types import Verdict
from hsd_jax.verifiers import cases, code
from hsd_jax.verifiers.pool import Pool

TESTS_KEPT = 64  # problems whose tests stay in memory; those of one contest problem can be many MB


def tests_of(problem: Problem, *, allow_unsandboxed: bool = False) -> cases.HiddenTests:
    """All tests of a programming problem.

    A test {"check", "call"} (HumanEval) is first turned into calls with the values that the reference solution
    returns, in a sandbox. Raises: ValueError if the reference does not pass its own check.
    """
    checks = [test for test in problem.hidden if "check" in test]
    if checks:
        test = checks[0]
        return code.recorded_tests(problem.solution, test["check"], test["call"], allow_unsandboxed=allow_unsandboxed)
    return cases.hidden([*problem.visible, *problem.hidden])


def submit_all_tests(graders: Pool) -> Submit:
    """Checks math against the true answer and programs against all their tests."""
    made: dict[str, cases.HiddenTests] = {}

    def submit(problem: Problem, text: str, finished: bool) -> Future[Verdict]:
        if problem.kind == "math":
            return graders.submit_math(text, problem.answer, finished=finished)
        if problem.id not in made:
            if len(made) == TESTS_KEPT:
                made.pop(next(iter(made)))
            made[problem.id] = tests_of(problem, allow_unsandboxed=graders.allow_unsandboxed)
        return graders.submit_hidden(text, made[problem.id])

    return submit
