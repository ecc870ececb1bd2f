"""In what two runs differ, whatever happened to them on the way."""

import json
from typing import Any

import numpy as np
from etils import epath

from hsd_jax.runtime import checkpoint
from tests.support.train_process import OF_TIME


def differences(whole: epath.Path, other: epath.Path, steps: int) -> list[str]:
    """In what two runs differ: lines of metrics (but for times), files of rollouts, arrays of the last checkpoint."""
    mine, theirs = lines(other), lines(whole)
    found = [f"{len(mine)} lines instead of {len(theirs)}"] if len(mine) != len(theirs) else []
    found += [f"metrics of step {b['step']}" for a, b in zip(mine, theirs, strict=False) if a != b]
    rollouts = [{file.name: file.read_bytes() for file in (root / "rollouts").iterdir()} for root in (whole, other)]
    names = rollouts[0].keys() | rollouts[1].keys()
    found += [f"rollouts/{name}" for name in sorted(names) if rollouts[0].get(name) != rollouts[1].get(name)]
    if checkpoint.latest_valid_step(other / "checkpoints") != steps:
        return [*found, "no last checkpoint"]
    a, b = (arrays(root / "checkpoints" / str(steps) / "state") for root in (whole, other))
    if a.keys() != b.keys():
        return [*found, "the arrays of the last checkpoint"]
    return found + [name for name in a if not np.array_equal(a[name], b[name])]


def lines(workdir: epath.Path) -> list[dict[str, Any]]:
    """The metrics without what depends on the machine's speed."""
    read = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return [{name: value for name, value in line.items() if not name.startswith(OF_TIME)} for line in read]


def arrays(folder: epath.Path) -> dict[str, np.ndarray]:
    """Every array of a state by its path, on the host."""
    import jax
    import orbax.checkpoint as ocp

    with ocp.PyTreeCheckpointer() as reader:
        tree = reader.metadata(folder).item_metadata.tree
        how = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
        read = reader.restore(folder, args=ocp.args.PyTreeRestore(restore_args=how))
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(read)}
