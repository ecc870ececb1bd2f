"""Which sandbox tiers the tests can use here, and what a sandbox would leave behind."""

import functools
import os
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


def processes_of_sandboxes() -> list[str]:
    """Command lines of processes below this one that belong to sandboxes, zombies included."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = status.read_text()
            command = (status.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        parent = int(text.rpartition(")")[2].split()[1])
        name = text[text.index("(") + 1 : text.rindex(")")]
        if name == "bwrap" or "int_max_str_digits=0" in command or (parent == os.getpid() and " Z " in text):
            found.append(f"{name}: {command[:80]}")
    return found
