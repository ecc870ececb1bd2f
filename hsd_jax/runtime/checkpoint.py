"""Checkpoints by Orbax: asynchronous, committed whole, verified by checksums; the newest good one is found by itself.

A checkpoint `checkpoints/<step>/` holds the state's arrays, `meta` (step, data position, best score, resolved config,
versions) and, soon after it is committed, `manifest.json` with the size and CRC-32 of every file.
"""

import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint import checkpoint_managers as policies

from hsd_jax.errors import InputError, RunStopped
from hsd_jax.runtime import faults, files, manifest, multihost, paths, storage
from hsd_jax.runtime.manifest import MANIFEST as MANIFEST
from hsd_jax.runtime.manifest import damage as verify
from hsd_jax.types import PyTree

log = logging.getLogger(__name__)
BEST = "pass@1"
WRITER = "async_save"  # Orbax's thread that writes
GRACE_SECONDS = 30.0
# With SILENT_SECONDS a failing storage is a fault after two minutes; TensorStore would try for a quarter of an hour.
RETRIES = {"max_retries": 5, "initial_delay": "1s", "max_delay": "8s"}
try:  # a part of Orbax that it may move; without it a failing storage is only noticed later
    from orbax.checkpoint._src.serialization import tensorstore_utils

    CONTEXTS = [v for k, v in vars(tensorstore_utils).items() if k.endswith("_TS_CONTEXT") and isinstance(v, dict)]
except ImportError:
    CONTEXTS = []
for known in CONTEXTS:
    known["gcs_request_retries"] = RETRIES


@dataclass(frozen=True)
class Store:
    """An open checkpoint directory; `close` waits until everything is on disk.

    `unsealed` are the steps that want a manifest. Others are left alone: Orbax may be deleting them. `failed` is what
    went wrong in the background, and `resume` the command that continues the run.
    """

    root: epath.Path
    manager: ocp.CheckpointManager
    sealer: ThreadPoolExecutor
    unsealed: set[int]
    resume: str
    failed: list[BaseException] = field(default_factory=list)
    beginning: threading.Lock = field(default_factory=threading.Lock)


def open_store(
    root: str | os.PathLike[str], *, keep: int = 2, keep_every: int = 0, resume: str = "--resume auto"
) -> Store:
    """Opens (creates) a checkpoint directory: the newest `keep`, the best of those with a score and every
    `keep_every`-th are preserved.
    """
    root = _absolute(root)
    root.mkdir(parents=True, exist_ok=True)
    best = policies.BestN(get_metric_fn=lambda m: m[BEST], n=1, keep_checkpoints_without_metrics=False)
    kept: list[Any] = [policies.LatestN(keep), best]
    if keep_every:
        kept.append(policies.EveryNSteps(keep_every))
    options = ocp.CheckpointManagerOptions(
        preservation_policy=policies.AnyPreservationPolicy(kept),
        best_fn=lambda metrics: metrics[BEST],  # without it scores are not written, and a resumed run forgets the best
        cleanup_tmp_directories=True,
    )
    unsealed = {step for step in steps(root) if not manifest.sealed(root / str(step))}
    manager = ocp.CheckpointManager(root, options=options)
    store = Store(root, manager, ThreadPoolExecutor(1, "seal"), unsealed, resume)
    logging.getLogger("absl").addFilter(_note_failures_in(store))
    return store


def save(store: Store, step: int, state: PyTree, meta: dict[str, Any], *, score: float | None = None) -> None:
    """Starts writing a checkpoint and returns as soon as the arrays have left the device.

    Raises: RunStopped in one line if this write cannot begin, or the last one has failed.
    """
    args = ocp.args.Composite(state=ocp.args.StandardSave(state), meta=ocp.args.JsonSave(meta))
    with _in_one_line(store):
        store.manager.wait_until_finished()
        write_manifests(store).result()  # what this write may delete in the end must not be in the sealer's hands then
        with store.beginning:
            store.unsealed.add(step)
            store.manager.save(step, args=args, metrics=None if score is None else {BEST: score}, force=True)


def add_score(store: Store, step: int, score: float) -> None:
    """Gives a checkpoint the score that it was saved without; all processes call it together."""
    if not jax.process_index():
        store.sealer.submit(_write_score, store.root / str(step), score).result()
    multihost.gather(f"score/{step}", True)
    with store.beginning:
        store.manager.reload()


def _write_score(step_dir: epath.Path, score: float) -> None:
    """As Orbax does, which reads it from there; whole at once, lest half of it keep the directory from being opened."""
    file = step_dir / "metrics" / "metrics"
    file.parent.mkdir(exist_ok=True)
    files.replace(file, json.dumps({BEST: score}))
    manifest.seal(step_dir)


def write_manifests(store: Store) -> Future[None]:
    """Starts sealing the checkpoints that have been committed since the last call; call it once in a while.

    Raises: RunStopped if the last write has failed, so that a run does not go on for long without any.
    """
    with _in_one_line(store):
        if store.failed:
            raise store.failed[0]
        with store.beginning:
            if store.manager.is_saving_in_progress():
                return store.sealer.submit(lambda: None)
            store.manager.wait_until_finished()  # which does not wait then, but raises
    return store.sealer.submit(_seal_all, store)


def close(store: Store) -> None:
    """Waits for writes in flight, seals what they wrote and closes the directory."""
    with _in_one_line(store):
        store.manager.wait_until_finished()
        write_manifests(store).result()
        if store.failed:
            raise store.failed[0]
        store.sealer.shutdown(wait=True)
        store.manager.close()


@contextmanager
def finishing(store: Store) -> Iterator[Store]:
    """Lets a write in flight come to its end if the block fails: it may be the last good state."""
    try:
        yield store
    except BaseException:
        if not store.failed:  # else Orbax waits for other hosts, which wait for this one
            try:
                store.manager.wait_until_finished()
                write_manifests(store).result()
            except Exception as error:
                log.warning("the checkpoint in flight was not finished: %s", faults.explain(error) or error)
        raise


@contextmanager
def watched(store: Store, report: Callable[[BaseException], object], *, grace: float = GRACE_SECONDS) -> Iterator[None]:
    """While its body runs, looks whether a write fails, and calls `report` if the body has not ended `grace` s later.

    A step may take long, and may wait for a host that this failure keeps from ever arriving.
    """
    done = threading.Event()

    def look() -> None:
        while not done.wait(1.0):
            with suppress(Exception):
                write_manifests(store)
            if store.failed and not done.wait(grace):
                report(_not_written(store, store.failed[0]))
                return

    thread = threading.Thread(target=look, name="watch checkpoints", daemon=True)
    thread.start()
    hear = _mute_echoes()
    try:
        yield
        if not store.failed:  # echoes come late, also of writes that a failing run gives up
            hear()
    finally:
        done.set()
        thread.join()


def _mute_echoes() -> Callable[[], None]:
    """Drops TensorStore's echoes of a failure, until the function that is returned is called."""
    before = sys.excepthook, sys.unraisablehook
    sys.excepthook = _without_echoes(before[0], lambda given: given[1])
    sys.unraisablehook = _without_echoes(before[1], lambda given: given[0].exc_value)

    def hear() -> None:
        sys.excepthook, sys.unraisablehook = before

    return hear


def _without_echoes(hook: Callable[..., Any], error_of: Callable[[Any], Any]) -> Callable[..., Any]:
    """When one array fails, TensorStore says for each of the others that Orbax no longer listens.

    It says so to one hook or the other, by where it meets the closed loop.
    """

    def tell(*given: Any) -> None:
        if str(error_of(given)) != "Event loop is closed":
            hook(*given)

    return tell


@contextmanager
def _in_one_line(store: Store) -> Iterator[None]:
    """Whatever Orbax raises (any exception of any thread) becomes one line; it stays the cause."""
    try:
        yield
    except RunStopped:
        raise
    except Exception as error:
        if faults.disk_code(error) is None and (faults.out_of_memory(error) or faults.other_process_gone(error)):
            raise
        if not store.failed:
            store.failed.append(error)
        raise _not_written(store, error) from error


def _not_written(store: Store, error: BaseException) -> RunStopped:
    """What failed, what is safe, how to go on, and where the traceback is."""
    step = max(store.unsealed, default=0)
    why = faults.disk_advice(error) or storage.advice(error) or "see the traceback"
    try:
        safe = max((found for found in steps(store.root) if found != step), default=None)
        kept = "no checkpoint was written before" if safe is None else f"checkpoint {safe} is whole"
    except Exception:  # the storage that has just failed
        kept = "earlier checkpoints are not touched"
    file = faults.keep_traceback(error, store.root.parent / "errors", f"save-{step}-process-{jax.process_index()}")
    return RunStopped(
        f"save: cannot use {store.root}: checkpoint {step} was not written ({faults.short(error)}): {why}. {kept};"
        f" continue with: {store.resume}. The traceback is in {file}"
    )


def _note_failures_in(store: Store) -> Callable[[logging.LogRecord], bool]:
    """Keeps the errors of Orbax's writing thread, which Orbax itself raises only after all hosts have met again.

    They are not logged then: what is raised is said once.
    """

    def note(record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[1] and record.threadName == WRITER:
            store.failed.append(record.exc_info[1])
        return not record.exc_info

    return note


def steps(root: str | os.PathLike[str]) -> list[int]:
    """The committed checkpoints of a directory, oldest first."""
    root = epath.Path(root)
    if not root.exists():
        return []
    return sorted(int(path.name) for path in _numbered(root) if ocp.utils.is_checkpoint_finalized(path))


def incomplete(root: str | os.PathLike[str]) -> list[epath.Path]:
    """What is left of checkpoints whose writing was interrupted; they were never committed."""
    root = epath.Path(root)
    if not root.exists():
        return []
    named = [path for path in root.iterdir() if ".orbax-checkpoint-tmp" in path.name]
    return named + [path for path in _numbered(root) if not ocp.utils.is_checkpoint_finalized(path)]


def _numbered(root: epath.Path) -> list[epath.Path]:
    return [path for path in root.iterdir() if path.name.isdigit()]


def latest_valid_step(root: str | os.PathLike[str], before: float = float("inf")) -> int | None:
    """The newest checkpoint (before a step) whose files are all there and unchanged; the log names damaged ones."""
    for step in reversed(steps(root)):
        if step >= before:
            continue
        fault = verify(epath.Path(root) / str(step))
        if not fault:
            return step
        log.warning("checkpoint %d is damaged (%s); trying the one before it", step, fault)
    return None


def restore_meta(root: str | os.PathLike[str], step: int) -> dict[str, Any]:
    """What a checkpoint says about itself: step, data position, best score, config, versions.

    Raises: InputError for data that cannot be read.
    """
    with readable(root, step), ocp.CheckpointManager(_absolute(root)) as manager:
        return manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore()))["meta"]


@contextmanager
def readable(root: str | os.PathLike[str], step: int) -> Iterator[None]:
    """Reading a checkpoint: whatever a library makes of damaged files is one refusal, faults of the machine stay.

    Raises: InputError.
    """
    hear = _mute_echoes()
    try:
        yield
        hear()
    except InputError:
        raise
    except Exception as error:
        gone = isinstance(error, FileNotFoundError) and not files.is_remote(root)
        if faults.explain(error) and not gone:
            raise
        what = f"checkpoint {root}/{step} cannot be read ({type(error).__name__}: {faults.short(error)})"
        raise InputError(f"{what}; delete it, then the one before it is taken") from error


def restore(root: str | os.PathLike[str], step: int, like: PyTree) -> PyTree:
    """Reads a state into the shapes, dtypes and shardings of `like` (arrays or ShapeDtypeStructs)."""
    target, hear = jax.tree.map(ocp.utils.to_shape_dtype_struct, like), _mute_echoes()
    with ocp.CheckpointManager(_absolute(root)) as manager:
        state = manager.restore(step, args=ocp.args.Composite(state=ocp.args.StandardRestore(target)))["state"]
    hear()
    return state


def restore_part(root: str | os.PathLike[str], step: int, like: PyTree) -> PyTree:
    """Reads a part of a state, as `restore` does, into jax arrays or, where `like` holds host arrays, into these.

    Raises: InputError for data that cannot be read.
    """
    with readable(root, step), ocp.PyTreeCheckpointer() as reader:
        args = ocp.checkpoint_utils.construct_restore_args(like)
        how = ocp.args.PyTreeRestore(item=like, restore_args=args, partial_restore=True)
        return reader.restore(epath.Path(root) / str(step) / "state", args=how)


def find(checkpoint: str | os.PathLike[str]) -> tuple[epath.Path, int]:
    """(directory of checkpoints, step) of one step's directory, or of the newest good step of a workdir.

    Raises: InputError if there is no good checkpoint.
    """
    path = _absolute(checkpoint)
    path = path / "checkpoints" if (path / "checkpoints").exists() else path
    root, step = (path.parent, int(path.name)) if path.name.isdigit() else (path, latest_valid_step(path))
    if step is None or not (root / str(step)).exists():
        raise InputError(
            f"--checkpoint {checkpoint}: no finished checkpoint here; expected <workdir>/checkpoints/<step>"
        )
    return root, step


def _absolute(path: str | os.PathLike[str]) -> epath.Path:
    """Orbax takes absolute paths only."""
    return epath.Path(paths.absolute(os.fspath(path), "the checkpoint directory", Path.cwd()))


def _seal_all(store: Store) -> None:
    if jax.process_index() or not store.unsealed:
        return
    try:
        for step in sorted(store.unsealed.intersection(steps(store.root))):
            manifest.seal(store.root / str(step))
            store.unsealed.discard(step)
    except Exception as error:
        store.failed.append(error)
