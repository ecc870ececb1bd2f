"""The verifier processes of a run, as its settings have them."""

from dataclasses import replace

from hsd_jax import config
from hsd_jax.errors import InputError
from hsd_jax.verifiers import comparison, pool
from hsd_jax.verifiers.sandbox import tiers


def open_graders(settings: config.Verifier, *, programs: bool) -> pool.Pool:
    """The verifier processes; the sandbox is probed only where `programs` will be graded.

    Raises: InputError if programs would have to run without isolation.
    """
    limits = replace(tiers.DEFAULT_LIMITS, seconds=settings.test_seconds, check_seconds=settings.check_seconds)
    try:
        return pool.start(
            workers=settings.workers,
            programs=programs,
            math_limit_seconds=settings.seconds,
            limits=limits,
            tolerance=comparison.JSON_VALUES._replace(relative=settings.tolerance),
            allow_unsandboxed=settings.allow_unsandboxed,
        )
    except tiers.NoSandbox as error:
        raise InputError(str(error)) from error
