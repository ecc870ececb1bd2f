"""The verifier processes of a run and the checks that it makes with them, as its settings have them."""

from dataclasses import asdict, replace
from typing import Any

from hsd_jax import config
from hsd_jax.data.problems import Problem
from hsd_jax.errors import InputError
from hsd_jax.rollout.grading import Submit, VerifierPool, submit_to
from hsd_jax.verifiers import cases, comparison, function, pool
from hsd_jax.verifiers.sandbox import tiers


def open_graders(settings: config.Verifier, *, programs: bool) -> pool.Pool:
    """The verifier processes; the sandbox is probed only where `programs` will be graded.

    Raises: InputError if programs would have to run without isolation, or a function cannot be imported.
    """
    own = settings.function
    limits = replace(tiers.DEFAULT_LIMITS, seconds=settings.test_seconds, check_seconds=settings.check_seconds)
    functions = function.open_workers(own, limit_seconds=settings.seconds, count=settings.workers) if own else None
    try:
        graders = pool.start(
            workers=settings.workers,
            programs=programs and not own,
            math_limit_seconds=settings.seconds,
            limits=limits,
            tolerance=comparison.JSON_VALUES._replace(relative=settings.tolerance),
            allow_unsandboxed=settings.allow_unsandboxed,
        )
        return replace(graders, function=own, function_workers=functions)
    except tiers.NoSandbox as error:
        raise InputError(str(error)) from error


def check_graders(settings: config.Verifier, *, programs: bool) -> None:
    """Refuses what `open_graders` would, in seconds, before a run has written anything. Raises: InputError."""
    if settings.function:
        return function.check(settings.function, settings.seconds)
    try:
        if programs:
            tiers.tier_for(allow_unsandboxed=settings.allow_unsandboxed)
    except tiers.NoSandbox as error:
        raise InputError(str(error)) from error
    return None


def submit_in_training(graders: VerifierPool, settings: config.Verifier) -> Submit:
    """The checks of training: by the user's own function, or math by its answer and programs by visible tests."""
    if settings.function:
        return lambda problem, text, finished: graders.submit_function(text, problem.question, record_of(problem))
    return submit_to(graders, lambda problem: cases.visible(problem.visible))


def record_of(problem: Problem) -> dict[str, Any]:
    """The row that a user's function may read: all but the hidden tests, which training must not see."""
    return {key: value for key, value in asdict(problem).items() if key not in ("question", "hidden")}
