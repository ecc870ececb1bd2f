"""What can go wrong while a run is under way, and what to do about it: one table, one line per fault.

The state that was saved last is never touched by a fault, so what happened in a stage of a run can be continued.
"""

import errno
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import jax
from etils import epath

from hsd_jax.errors import EXIT_FAILED, EXIT_REFUSED, InputError, RunStopped
from hsd_jax.runtime import storage

STAGE = "stage: "
KEPT = 120  # letters of each end of a long message
CONTINUE = "; nothing saved is lost: continue with --resume auto"

# What to lower, by stage. Only sampling.slots leaves every number as it is.
ROOM: dict[str, str] = {
    "sample": "lower sampling.slots (same numbers), sampling.response-tokens or data.prompt-tokens",
    "update": "raise optimizer.micro-batches, lower optimizer.loss-chunk, set model.remat full or offload, spread over"
    " more chips with mesh.fsdp, or lower data.context-tokens",
    "evaluate": "lower sampling.slots (same numbers), evaluation.problems or evaluation.samples",
    "log": "lower logging.rollout-problems",
    "save": "lower optimizer.loss-chunk or spread over more chips with mesh.fsdp",
    "start": "spread over more chips with mesh.fsdp, or choose a smaller model.path",
}
DISK = {
    errno.ENOSPC: "the disk is full; free some space or lower checkpoints.keep",
    errno.EDQUOT: "the disk quota is used up; free some space or lower checkpoints.keep",
    errno.EFBIG: "a file is larger than allowed here; raise the limit (ulimit -f) or use another disk",
    errno.EROFS: "the file system is read-only; make it writable",
    errno.EACCES: "writing is not allowed; give this user write access",
    errno.EPERM: "writing is not allowed; give this user write access",
    errno.ENOENT: "the file or its directory has vanished; bring the disk back",
    errno.ENOTDIR: "a file is where a directory was; bring the disk back",
    errno.ESTALE: "the network disk has gone; bring it back",
    errno.EIO: "the disk has an error; look at the system's log, or copy the workdir to another disk",
}
# How the libraries between processes say that another one has ended.
GONE = ("Gloo ", "Connection closed by peer", "Connection reset by peer", "oordination service", "heartbeat timeout")


@dataclass(frozen=True)
class Fault:
    """A kind of fault: how to know it, and the line that says what happened and what to do."""

    fits: Callable[[BaseException], bool]
    line: Callable[[BaseException], str]


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Lets an error that leaves the block know in which stage of a step it happened (the innermost counts)."""
    try:
        yield
    except BaseException as error:
        error.add_note(STAGE + name)
        raise


def stage_of(error: BaseException) -> str:
    """The innermost stage noted on an error; "" outside of a run's stages."""
    notes = [note for note in getattr(error, "__notes__", ()) if note.startswith(STAGE)]
    return notes[0].removeprefix(STAGE) if notes else ""


def explain(error: BaseException) -> str | None:
    """One line on an expected fault, or None for an error that nobody expected (it keeps its traceback)."""
    return next((fault.line(error) for fault in FAULTS if fault.fits(error)), None)


def disk_code(error: BaseException) -> int | None:
    """The errno of a disk fault, also where it is only named in a library's message."""
    if isinstance(error, OSError):
        return error.errno if error.errno in DISK else None
    return next((code for code in DISK if os.strerror(code) in str(error)), None)


def disk_advice(error: BaseException) -> str:
    """What mends a disk fault; "" for any other error."""
    code = disk_code(error)
    return "" if code is None else DISK[code]


def keep_traceback(error: BaseException, folder: epath.Path, name: str) -> str:
    """Writes an error's traceback to `folder`, or to this host's temporary files if that fails; returns where."""
    text = "".join(traceback.format_exception(error))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.txt").write_text(text)
        return str(folder / f"{name}.txt")
    except Exception:  # the disk or the storage that has just failed
        with tempfile.NamedTemporaryFile("w", prefix=f"{name}-", suffix=".txt", delete=False) as file:
            file.write(text)
        return file.name


def out_of_memory(error: BaseException) -> bool:
    """Whether a device (or the host) has no room for an array or a program."""
    words = str(error)
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in words or "Out of memory" in words


def other_process_gone(error: BaseException) -> bool:
    """Whether something that processes do together failed because one of them is no longer there."""
    return isinstance(error, jax.errors.JaxRuntimeError) and any(words in str(error) for words in GONE)


def _gone_line(error: BaseException) -> str:
    where = stage_of(error)
    what = f"another process of this run has ended or cannot be reached ({short(error)}); its own log says why"
    return f"{where}: {what}{CONTINUE}" if where else f"{what}{CONTINUE}"


def _disk_line(error: BaseException) -> str:
    file, stage = getattr(error, "filename", None), stage_of(error)
    what = f"cannot use {file or 'the disk'} ({short(error)}): {DISK[disk_code(error) or errno.EIO]}"
    return f"{stage}: {what}{CONTINUE}" if stage else what


def _storage_line(error: BaseException) -> str:
    stage = stage_of(error)
    what = f"cannot use the object store ({short(error)}): {storage.advice(error) or 'look at its status'}{CONTINUE}"
    return f"{stage}: {what}" if stage else what


def _memory_line(error: BaseException) -> str:
    stage = stage_of(error)
    if stage not in ROOM:
        return f"out of memory ({short(error)}): ask for less at a time, or use more chips"
    changes = " (and --resume-with-changes where a setting changes the numbers)"
    return f"{stage}: out of memory ({short(error)}): {ROOM[stage]}{CONTINUE}{changes}"


def short(error: BaseException) -> str:
    """An error's own words on one line, their middle left out where there are many."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    line = " ".join(text.split()) or type(error).__name__
    return line if len(line) <= 2 * KEPT else f"{line[:KEPT]} ... {line[-KEPT:]}"


# A full disk also calls itself RESOURCE_EXHAUSTED in some libraries, so disks come first.
FAULTS = (
    Fault(lambda error: isinstance(error, RunStopped), str),
    Fault(storage.is_from_one, _storage_line),
    Fault(lambda error: disk_code(error) is not None, _disk_line),
    Fault(out_of_memory, _memory_line),
    Fault(other_process_gone, _gone_line),
)


def hard_exit(code: int) -> None:
    """Ends the process without waiting for its threads: those of a failed write wait for minutes."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def error_line(error: BaseException) -> tuple[str, int]:
    """One line that a command says before it ends, and its exit code; no words for an error that nobody expected."""
    refused = isinstance(error, InputError)
    line = str(error) if refused else explain(error) or ""
    return " ".join(line.splitlines()), EXIT_REFUSED if refused else EXIT_FAILED
