"""Isolation for programs a model wrote: which tier this machine offers, and a session with one sandbox.

Tiers, probed by really running a program in each, best first:
    bubblewrap      own mount, pid, network and ipc namespaces, read-only system, 16 MiB of private /tmp, another
                    uid, seccomp, limits
    seccomp         another uid, seccomp, landlock (reading the standard library and nothing else), limits
    unsandboxed     limits only; used when the caller asked for it by name, never by itself
Without any of them `probe` returns the tier `none`, in which no program runs.
"""

import functools
import logging
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from hsd_jax.verifiers.sandbox import launch
from hsd_jax.verifiers.sandbox.session import (
    DEFAULT_LIMITS,
    Limits,
    SandboxLost,
    SandboxTimeout,
    Session,
    Tier,
    call,
    script,
    session,
)

__all__ = [
    "DEFAULT_LIMITS", "Limits", "NoSandbox", "SandboxLost", "SandboxTimeout", "Session", "Tier", "call", "candidates",
    "fails", "probe", "script", "session", "tier_for", "unsandboxed",
]  # fmt: skip

PACKAGE_HINT = (
    "install the package `bubblewrap` (tools/install_system_packages.sh); in a container it needs permission to make "
    "user namespaces, or run as root so that programs get a uid of their own"
)
_LOG = logging.getLogger(__name__)


class NoSandbox(RuntimeError):
    """This machine offers no isolation and the caller did not allow to go without."""


@functools.cache
def probe() -> Tier:
    """The best tier that works on this machine, found by running a program in it. Cached."""
    reasons = []
    for tier in candidates():
        error = fails(tier)
        if error is None:
            return replace(tier, missing="; ".join(reasons))
        reasons.append(f"{tier.name} does not work here: {error}")
    return Tier("none", "programs are refused", "; ".join([*reasons, PACKAGE_HINT]), "", "")


def unsandboxed() -> Tier:
    """The tier without isolation, for machines of which nothing can be lost. Says so in the log each time."""
    _LOG.warning("programs written by the model run WITHOUT isolation, as this user (allow_unsandboxed)")
    return Tier("unsandboxed", "resource limits only", "isolation was waived", launch.interpreter(), sys.base_prefix)


def tier_for(*, allow_unsandboxed: bool = False) -> Tier:
    """The probed tier.

    Raises:
        NoSandbox: there is none and the caller does not allow to go without.
    """
    tier = probe()
    if tier.name != "none":
        return tier
    if allow_unsandboxed:
        return unsandboxed()
    raise NoSandbox(f"no sandbox for programs: {tier.missing}; or pass --verifier.allow-unsandboxed")


def candidates() -> list[Tier]:
    """The tiers worth trying on this machine, best first."""
    root = os.geteuid() == 0
    # another user than root, which the last two tiers start as, may not read the home of root
    readable = _readable_python() if root else (launch.interpreter(), sys.base_prefix)
    tiers = []
    if shutil.which("bwrap"):
        namespaces = "namespaces, read-only system, no network, another uid, seccomp, limits"
        if root:
            tiers.append(Tier("bubblewrap", namespaces, "", launch.interpreter(), sys.base_prefix))
        if any(readable) and (not root or shutil.which("setpriv")):
            tiers.append(Tier("bubblewrap-userns", namespaces, "", *readable))
    if root and any(readable):
        tiers.append(Tier("seccomp", "another uid, seccomp, landlock, limits; no namespaces", "", *readable))
    return tiers


def fails(tier: Tier) -> str | None:
    """Why a program cannot run in this tier, or None where it can."""
    try:
        with session(tier, Limits(), program="import json, threading\ndef f(x):\n    return x + 1\n") as sandbox:
            answer = call(sandbox, "f", [41])
        return None if answer.get("value") == 42 else f"a test program answered {answer!r}"
    except (SandboxLost, SandboxTimeout, OSError, ValueError) as error:
        return str(error) or type(error).__name__


def _readable_python() -> tuple[str, str]:
    """An interpreter every user of the machine may run: this one, or the system's."""
    for python, prefix in ((launch.interpreter(), sys.base_prefix), ("/usr/bin/python3", "/usr")):
        parents = [Path(prefix), *Path(prefix).parents]
        if os.path.exists(python) and all(parent.stat().st_mode & 0o001 for parent in parents):
            return os.path.realpath(python), prefix
    return "", ""
