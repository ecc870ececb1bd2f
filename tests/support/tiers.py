"""Which sandbox tiers the tests can use here, and what a sandbox would leave behind."""

import functools
import os
import time
from pathlib import Path

import pytest

from hsd_jax.verifiers.sandbox import tiers as sandbox


@functools.cache
def usable_tiers() -> tuple[sandbox.Tier, ...]:
    """Every tier that works on this machine."""
    return tuple(tier for tier in sandbox.candidates() if sandbox.fails(tier) is None)


needs_sandbox = pytest.mark.skipif(
    sandbox.probe().name == "none",
    reason=f"no sandbox here: install the package bubblewrap ({sandbox.probe().missing})",
)
needs_bubblewrap = pytest.mark.skipif(
    not any(tier.name.startswith("bubblewrap") for tier in usable_tiers()),
    reason="needs the package bubblewrap and permission to make namespaces: tools/install_system_packages.sh",
)


def sandboxes_left(seconds: float = 10) -> list[str]:
    """What is still there of sandboxes that nothing uses, after waiting for its end; [] as soon as all is gone."""
    deadline = time.monotonic() + seconds
    while (left := processes_of_sandboxes()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def processes_of_sandboxes() -> list[str]:
    """Command lines of sandboxes' processes, zombies included: those below this process, and those that nobody owns.

    Another process of the same test session may have sandboxes of its own, which are left out.
    """
    seen: dict[int, tuple[int, str, bool]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = status.read_text()
            command = (status.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        parent = int(text.rpartition(")")[2].split()[1])
        name = text[text.index("(") + 1 : text.rindex(")")]
        zombie = parent == os.getpid() and " Z " in text
        isolated = name == "bwrap" or "int_max_str_digits=0" in command or zombie
        seen[int(status.parent.name)] = (parent, f"{name}: {command[:80]}", isolated)

    def owners(pid: int) -> list[int]:
        return [pid, *owners(seen[pid][0])] if pid in seen else [pid]

    mine, session = os.getpid(), os.getppid()
    owned = {pid: owners(pid) for pid, (_, _, isolated) in seen.items() if isolated}
    return [seen[pid][1] for pid, chain in owned.items() if mine in chain or session not in chain]
