"""A run's directory: who may use it, what it already holds, and what a resumed run takes over."""

import fcntl
import importlib.metadata
import json
import os
import platform
import re
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from etils import epath

from hsd_jax.config import Config
from hsd_jax.errors import InputError, RunStopped
from hsd_jax.runtime import checkpoint, faults, files, multihost, storage
from hsd_jax.runtime.files import is_remote
from hsd_jax.runtime.paths import as_record

FILES, FOLDERS = (
    ("config.json", "metrics.jsonl", "lock"),
    ("checkpoints", "rollouts", "report", "tensorboard", "evaluations", "errors", "profile"),
)
PARTS = FILES + FOLDERS
# What may be in a directory before a run has begun there: other starts were refused, or ended before it.
EARLIER = re.compile(rf"lock|logs|errors|config\.json\.part|{storage.PROBE}.*")
PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "transformers", "grain", "math-verify", "numpy")

ROLLOUTS = re.compile(r"step-(\d+)(?:\.\d+)?(?:\.jsonl)?(\.part)?")

# Settings that may differ between a run and its continuation without changing a single trained number.
FREE_TO_CHANGE = (
    *("steps", "logging.", "checkpoints.", "evaluation.", "verifier.workers", "guards."),
    "data.allow_shared_questions",
)
FREE_IN_FLOAT32 = ("sampling.slots",)  # in bfloat16 the order of sums shows in the rollouts


@dataclass(frozen=True)
class Workdir:
    """An opened run directory; `start` is the checkpoint to continue from, or None for a new run."""

    path: epath.Path
    start: int | None
    lock: IO[str] | None

    @property
    def checkpoints(self) -> epath.Path:
        """The directory of the checkpoints."""
        return self.path / "checkpoints"


def open_workdir(
    path: str, config: Config, *, resume: bool, overwrite: bool, allow_changes: bool, command: list[str]
) -> Workdir:
    """Creates or takes over a run directory and writes `config.json`.

    Raises: InputError if it holds another run, other files, only damaged checkpoints, or is in use; nothing is changed
    then. RunStopped if the storage of a run that has begun refuses now.
    """
    root = epath.Path(path)
    if is_remote(root):
        _try_storage(root, resume=resume)
    _refuse_misshapen(root)
    held = _held(root)
    if held is None:
        _refuse_foreign(root)
    elif not overwrite:
        _refuse_or_take_over(root, held, config, resume=resume, allow_changes=allow_changes)
    _create(root)
    lock = _lock(root)
    if held is not None and overwrite:
        clear(root)
    start = checkpoint.latest_valid_step(root / "checkpoints") if resume and not overwrite else None
    if start is None and checkpoint.steps(root / "checkpoints"):
        _refuse_to_lose(root, lock)
    discard_after(root, -1 if start is None else start)
    _write_config(root, config, command)
    return Workdir(root, start, lock)


def same_start(path: str, config: Config) -> None:
    """Compares what hosts must agree on before anything is built: their commit, the run's directory, its settings.

    Raises: RunStopped naming the processes and settings that differ.
    """
    multihost.same_everywhere("commit", commit())
    multihost.same_everywhere("start", {"workdir": path} | flat(as_record(config)))


def flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """A nested record as dotted names and values."""
    items: dict[str, Any] = {}
    for key, value in config.items():
        items |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return items


def differences(held: dict[str, Any], config: Config) -> dict[str, tuple[Any, Any]]:
    """Settings in which a run differs from a config: name -> (the run's, the config's)."""
    old, new = flat(held), flat(json.loads(json.dumps(as_record(config))))
    return {name: (old.get(name), new.get(name)) for name in sorted(old | new) if old.get(name) != new.get(name)}


def clear(root: epath.Path) -> None:
    """Removes what a run wrote, and nothing else."""
    for name in PARTS:
        part = root / name
        if name != "lock" and part.exists():
            part.rmtree() if part.is_dir() else part.unlink()


def discard_after(root: epath.Path, step: int) -> None:
    """Removes what was written after `step`, so that a resumed run writes it again, once."""
    for later in checkpoint.steps(root / "checkpoints"):
        if later > step:
            (root / "checkpoints" / str(later)).rmtree()
    for half in checkpoint.incomplete(root / "checkpoints"):
        half.rmtree()
    if (root / "rollouts").exists():
        for file in (root / "rollouts").iterdir():
            found = ROLLOUTS.fullmatch(file.name)
            if found and (int(found[1]) > step or found[2]):
                file.unlink()
    metrics = root / "metrics.jsonl"
    if metrics.exists():
        text = metrics.read_bytes().decode("utf-8", errors="replace")
        lines = [line for line in text.split("\n") if _step_of(line) <= step]
        files.replace(metrics, "".join(f"{line}\n" for line in lines))


def _step_of(line: str) -> float:
    try:
        step = json.loads(line)["step"]
    except (ValueError, KeyError, TypeError, RecursionError):  # the last line of a run that was killed while writing it
        return float("inf")
    return step if type(step) is int else float("inf")


def _try_storage(root: epath.Path, *, resume: bool) -> None:
    """What worked when a run began may work again: its input is not wrong, and whoever watches starts it once more."""
    try:
        storage.preflight(root)
    except InputError as error:
        if resume and _may_have_begun(root):
            raise RunStopped(f"{error}{faults.CONTINUE}") from error
        raise


def _may_have_begun(root: epath.Path) -> bool:
    try:
        return (root / "config.json").exists()
    except Exception:  # the storage that has just refused
        return True


def _held(root: epath.Path) -> dict[str, Any] | None:
    if not (root / "config.json").exists():
        return None
    try:
        held = json.loads((root / "config.json").read_text())["config"]
        flat(held)  # nested as a config is
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if storage.is_from_one(error):
            raise
        raise InputError(f"--workdir {root}: its config.json is not a run's; choose another directory") from None
    return held


def _refuse_misshapen(root: epath.Path) -> None:
    for name in () if is_remote(root) else PARTS:  # object stores have no folders
        if (root / name).exists() and (root / name).is_dir() != (name in FOLDERS):
            wanted = "directory" if name in FOLDERS else "file"
            raise InputError(f"--workdir {root}: its {name} is no {wanted} as a run's is; choose another directory")


def _refuse_foreign(root: epath.Path) -> None:
    if root.exists() and not root.is_dir():
        raise InputError(f"--workdir {root}: is a file; choose a directory")
    if root.exists() and not all(EARLIER.fullmatch(file.name) for file in root.iterdir()):
        raise InputError(f"--workdir {root}: is not empty and holds no run; choose another directory")


def _refuse_or_take_over(
    root: epath.Path, held: dict[str, Any], config: Config, *, resume: bool, allow_changes: bool
) -> None:
    changed = differences(held, config)
    listing = "; ".join(f"{name}: {old!r} there, {new!r} here" for name, (old, new) in changed.items())
    if not resume:
        what = f"a run with another config ({listing})" if changed else "this run already"
        raise InputError(
            f"--workdir {root}: holds {what}; continue it with --resume auto, choose another directory,"
            " or discard it with --overwrite"
        )
    free = FREE_TO_CHANGE + (FREE_IN_FLOAT32 if config.sampling.dtype == "float32" else ())
    breaking = [name for name in changed if not name.startswith(free)]
    if breaking and not allow_changes:
        raise InputError(
            f"--resume: {', '.join(breaking)} differ from the run in {root} ({listing}), so it would not continue"
            " exactly; set them back, or accept it with --resume-with-changes"
        )
    if changed:
        print(f"resuming with changed settings: {listing}")


def _refuse_to_lose(root: epath.Path, lock: IO[str] | None) -> None:
    if lock:
        lock.close()
    damaged = ", ".join(map(str, checkpoint.steps(root / "checkpoints")))
    raise InputError(
        f"--workdir {root}: none of its checkpoints ({damaged}) is whole; restore one from a copy, or start anew with"
        " --overwrite"
    )


def _create(root: epath.Path) -> None:
    if not is_remote(root):
        storage.preflight(root)
    probe = root / "lock"
    if not probe.exists():
        probe.write_text("")


def _lock(root: epath.Path) -> IO[str] | None:
    if is_remote(root):  # object stores have no locks; a pod's queued resource runs one job
        return None
    file = (Path(root) / "lock").open("r+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = file.read().strip() or "another process"
        file.close()
        raise InputError(
            f"--workdir {root}: is in use by {holder}; stop that run or choose another directory"
        ) from None
    file.seek(0)
    file.truncate()
    file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    file.flush()
    return file


def _write_config(root: epath.Path, config: Config, command: list[str]) -> None:
    content = {
        "config": as_record(config),
        "versions": {"python": platform.python_version()} | {p: importlib.metadata.version(p) for p in PACKAGES},
        "commit": commit(),
        "command": command,
    }
    files.replace(root / "config.json", json.dumps(content, indent=2) + "\n")


def note(root: epath.Path, **facts: str) -> None:
    """Adds what a run found out about its machine to `config.json`, next to the config."""
    content = json.loads((root / "config.json").read_text()) | facts
    files.replace(root / "config.json", json.dumps(content, indent=2) + "\n")


def commit() -> str:
    """The checkout's commit, with "+changes" where files differ from it; else HSD_COMMIT, or "unknown"."""
    here = Path(__file__).parents[1]
    try:
        run = lambda *args: subprocess.run(  # noqa: E731
            ["git", *args], cwd=here, capture_output=True, text=True, check=True, timeout=20
        ).stdout.strip()
        return run("rev-parse", "HEAD") + ("+changes" if run("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return os.environ.get("HSD_COMMIT", "unknown")
