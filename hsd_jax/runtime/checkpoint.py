"""Checkpoints by Orbax: asynchronous, atomic, verified by checksums; the newest good one is found by itself.

A checkpoint `checkpoints/<step>/` holds the state's arrays, `meta` (step, data position, best score, resolved config,
versions) and, soon after it is committed, `manifest.json` with the size and CRC-32 of every file.
"""

import json
import logging
import os
import zlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from jax.sharding import Mesh
from orbax.checkpoint import checkpoint_managers as policies

from hsd_jax.errors import InputError
from hsd_jax.runtime import faults, paths
from hsd_jax.types import PyTree
from models.qwen3 import Params, Qwen3Config, param_shapes
from models.sharding import abstract_params

log = logging.getLogger(__name__)
MANIFEST = "manifest.json"
BEST = "pass@1"


@dataclass(frozen=True)
class Store:
    """An open checkpoint directory; `close` waits until everything is on disk.

    `unsealed` are the steps that want a manifest. Others are left alone: Orbax may be deleting them.
    """

    root: epath.Path
    manager: ocp.CheckpointManager
    sealer: ThreadPoolExecutor
    unsealed: set[int]


def open_store(root: str | os.PathLike[str], *, keep: int = 2, keep_every: int = 0) -> Store:
    """Opens (creates) a checkpoint directory: the newest `keep`, the best and every `keep_every`-th are preserved."""
    root = epath.Path(root)
    root.mkdir(parents=True, exist_ok=True)
    logging.getLogger("absl").addFilter(_is_not_raised_too)
    best = policies.BestN(get_metric_fn=lambda m: m[BEST], n=1, keep_checkpoints_without_metrics=False)
    kept: list[Any] = [policies.LatestN(keep), best]
    if keep_every:
        kept.append(policies.EveryNSteps(keep_every))
    options = ocp.CheckpointManagerOptions(
        preservation_policy=policies.AnyPreservationPolicy(kept),
        best_fn=lambda metrics: metrics[BEST],  # without it scores are not written, and a resumed run forgets the best
        cleanup_tmp_directories=True,
    )
    unsealed = {step for step in steps(root) if not (root / str(step) / MANIFEST).exists()}
    return Store(root, ocp.CheckpointManager(root, options=options), ThreadPoolExecutor(1, "seal"), unsealed)


def save(store: Store, step: int, state: PyTree, meta: dict[str, Any], *, score: float | None = None) -> None:
    """Starts writing a checkpoint and returns as soon as the arrays have left the device."""
    args = ocp.args.Composite(state=ocp.args.StandardSave(state), meta=ocp.args.JsonSave(meta))
    store.manager.wait_until_finished()
    seal(store).result()  # what this write may delete in the end must not be in the sealer's hands then
    store.unsealed.add(step)
    store.manager.save(step, args=args, metrics=None if score is None else {BEST: score}, force=True)


def seal(store: Store) -> Future[None]:
    """Starts sealing the checkpoints that have been committed since the last call; call it once in a while.

    Raises: what went wrong while the last one was written, so that a run does not go on for long without any.
    """
    if not store.manager.is_saving_in_progress():
        store.manager.wait_until_finished()  # which does not wait then, but raises
    return store.sealer.submit(_seal_all, store)


def close(store: Store) -> None:
    """Waits for writes in flight, seals what they wrote and closes the directory."""
    store.manager.wait_until_finished()
    seal(store)
    store.sealer.shutdown(wait=True)
    store.manager.close()


@contextmanager
def finishing(store: Store) -> Iterator[Store]:
    """Lets a write in flight come to its end if the block fails: it may be the last good state."""
    try:
        yield store
    except BaseException:
        try:
            store.manager.wait_until_finished()
            seal(store).result()
        except Exception as error:
            log.warning("the checkpoint in flight was not finished: %s", faults.explain(error) or error)
        raise


def steps(root: str | os.PathLike[str]) -> list[int]:
    """The committed checkpoints of a directory, oldest first."""
    root = epath.Path(root)
    if not root.exists():
        return []
    return sorted(int(path.name) for path in root.iterdir() if path.name.isdigit())


def unfinished(root: str | os.PathLike[str]) -> list[epath.Path]:
    """What is left of checkpoints whose writing was interrupted; they never had their final names."""
    root = epath.Path(root)
    return [path for path in root.iterdir() if ".orbax-checkpoint-tmp" in path.name] if root.exists() else []


def newest_good(root: str | os.PathLike[str], before: float = float("inf")) -> int | None:
    """The newest checkpoint (before a step) whose files are all there and unchanged; the log names damaged ones."""
    for step in reversed(steps(root)):
        if step >= before:
            continue
        fault = damage(epath.Path(root) / str(step))
        if not fault:
            return step
        log.warning("checkpoint %d is damaged (%s); trying the one before it", step, fault)
    return None


def restore_meta(root: str | os.PathLike[str], step: int) -> dict[str, Any]:
    """What a checkpoint says about itself: step, data position, best score, config, versions."""
    with ocp.CheckpointManager(root) as manager:
        return manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore()))["meta"]


def restore(root: str | os.PathLike[str], step: int, like: PyTree) -> PyTree:
    """Reads a state into the shapes, dtypes and shardings of `like` (arrays or ShapeDtypeStructs)."""
    target = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    with ocp.CheckpointManager(root) as manager:
        return manager.restore(step, args=ocp.args.Composite(state=ocp.args.StandardRestore(target)))["state"]


def restore_params(checkpoint: str | os.PathLike[str], mesh: Mesh | None = None) -> tuple[Qwen3Config, Params, str]:
    """The float32 weights of a checkpoint, with the model's configuration and the directory its tokenizer came from.

    Only the weights are read: sharded over `mesh`, or without one as host arrays. `checkpoint` is one step's
    directory, or a workdir or checkpoint directory, of which the newest good step is taken.
    Raises: InputError if there is no good checkpoint.
    """
    path = epath.Path(checkpoint)
    path = path / "checkpoints" if (path / "checkpoints").exists() else path
    root, step = (path.parent, int(path.name)) if path.name.isdigit() else (path, newest_good(path))
    if step is None or not (root / str(step)).exists():
        raise InputError(
            f"--checkpoint {checkpoint}: no finished checkpoint here; expected <workdir>/checkpoints/<step>"
        )
    meta = restore_meta(root, step)
    model = Qwen3Config(**meta["model"])
    target = {"params": _on_host(model) if mesh is None else abstract_params(model, mesh, np.float32)}
    with ocp.PyTreeCheckpointer() as reader:
        how = ocp.args.PyTreeRestore(
            item=target, restore_args=ocp.checkpoint_utils.construct_restore_args(target), partial_restore=True
        )
        params = reader.restore(root / str(step) / "state", args=how)["params"]
    return model, params, paths.absolute(meta["config"]["model"]["path"], "model.path", paths.ROOT)


def _on_host(model: Qwen3Config) -> Any:
    shapes = param_shapes(model)
    return jax.tree.map(lambda shape: np.empty(shape, np.float32), shapes, is_leaf=lambda x: isinstance(x, tuple))


def damage(step_dir: epath.Path) -> str:
    """What is wrong with a checkpoint's files ('' if nothing is); remote files are checked by size alone."""
    manifest = step_dir / MANIFEST
    if not manifest.exists():  # committed, but the run ended before it was sealed: Orbax renames only whole checkpoints
        return "" if all((step_dir / part).exists() for part in ("state", "meta")) else "it is incomplete"
    try:
        expected: dict[str, list[int]] = json.loads(manifest.read_text())
    except ValueError:
        return f"{MANIFEST} is not readable"
    for name, (size, checksum) in expected.items():
        file = step_dir / name
        if not file.exists():
            return f"{name} is missing"
        if file.stat().length != size:
            return f"{name} has {file.stat().length} bytes instead of {size}"
        if not paths.is_remote(step_dir) and _crc(file) != checksum:
            return f"{name} has changed since it was written"
    return ""


def _is_not_raised_too(record: logging.LogRecord) -> bool:
    """Orbax logs the errors of its threads with their traceback, and raises them as well; once is enough."""
    return not record.exc_info


def _seal_all(store: Store) -> None:
    if jax.process_index():
        return
    for step in sorted(store.unsealed.intersection(steps(store.root))):
        _seal(store.root / str(step))
        store.unsealed.discard(step)


def _seal(step_dir: epath.Path) -> None:
    entries = {
        str(path.relative_to(step_dir)): [path.stat().length, 0 if paths.is_remote(step_dir) else _crc(path)]
        for path in _files(step_dir)
        if not path.name.startswith(MANIFEST)  # the rest of a seal that was interrupted
    }
    part = step_dir / f"{MANIFEST}.part"
    part.write_text(json.dumps(entries))
    part.replace(step_dir / MANIFEST)


def _files(folder: epath.Path) -> Iterator[epath.Path]:
    for path in folder.iterdir():
        yield from _files(path) if path.is_dir() else [path]


def _crc(path: epath.Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            checksum = zlib.crc32(block, checksum)
    return checksum
