"""Two runs that must be one: what each has left in its directory, to the bit."""

import re
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from hsd_jax.runtime import checkpoint
from tests.support.train_process import lines, trained


def assert_same(workdir: Path, whole: Path) -> None:
    """Metrics, rollouts, files and every array of every checkpoint agree, to the bit."""
    steps = [line["step"] for line in lines(whole)]
    assert [line["step"] for line in lines(workdir)] == steps == [*range(len(steps))], "trained twice, or not at all"
    assert trained(workdir) == trained(whole)
    assert contents(workdir / "rollouts") == contents(whole / "rollouts")
    assert listing(workdir) == listing(whole)
    assert checkpoint.steps(workdir / "checkpoints") == checkpoint.steps(whole / "checkpoints")
    for kept in checkpoint.steps(whole / "checkpoints"):
        mine, theirs = state_at(workdir, kept), state_at(whole, kept)
        assert jax.tree.structure(mine) == jax.tree.structure(theirs)
        jax.tree.map(np.testing.assert_array_equal, mine, theirs)


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def listing(workdir: Path) -> set[str]:
    """Every file of a run; names that are drawn anew by each process count as one."""
    names = (str(file.relative_to(workdir)) for file in workdir.rglob("*"))
    return {re.sub(r"[0-9a-f]{32}|tfevents.*", "*", name) for name in names}


def state_at(workdir: Path, step: int) -> Any:
    """All arrays of a checkpoint, on the host."""
    folder = workdir / "checkpoints" / str(step) / "state"
    with ocp.PyTreeCheckpointer() as reader:
        tree = reader.metadata(folder).item_metadata.tree
        how = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
        return reader.restore(folder, args=ocp.args.PyTreeRestore(restore_args=how))
