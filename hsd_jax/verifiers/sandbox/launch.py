"""Starts, feeds and ends sandbox processes: command lines per tier, and pipes with deadlines."""

import contextlib
import functools
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from hsd_jax.verifiers.sandbox.child import STDIN_COPY

PYTHON_AT = "/python"
TEMPORARY_BYTES = 16 << 20
_FLAGS = ("-P", "-s", "-S", "-B", "-X", "int_max_str_digits=0", "-c")


def interpreter() -> str:
    """The interpreter itself, not its link in a virtual environment."""
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))


def start(way: str, python: str, prefix: str, boot: str) -> "subprocess.Popen[bytes]":
    """A bare interpreter running `boot` in the given way of isolation, its pipes not blocking."""
    # a fixed hash seed: the same program earns the same reward every time
    environment = {"LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0", "TZ": "UTC", "HOME": "/tmp", "PATH": "/usr/bin"}
    command = [python, *_FLAGS, boot]
    if way.startswith("bubblewrap"):
        inside = python if prefix == "/usr" else python.replace(prefix, PYTHON_AT, 1)
        environment["LD_LIBRARY_PATH"] = f"{PYTHON_AT}/lib"
        command = [*_bubblewrap(way, prefix), inside, *_FLAGS, boot]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        cwd="/",
        start_new_session=True,
        bufsize=0,
    )
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        os.set_blocking(pipe.fileno(), False)
    return process


@functools.cache
def _bubblewrap(way: str, prefix: str) -> tuple[str, ...]:
    """The command line of bubblewrap up to the program it runs."""
    bwrap = shutil.which("bwrap") or "bwrap"
    help_text = subprocess.run([bwrap, "--help"], capture_output=True, text=True, check=False).stdout
    arguments = [bwrap, "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
    if way == "bubblewrap":
        # root starts it without a user namespace, so that the program's uid is a real one with limits of its own
        arguments += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        arguments += ["--unshare-user", "--uid", "65534", "--gid", "65534", "--cap-drop", "ALL"]
    arguments += ["--ro-bind", "/usr", "/usr", *_libraries()]
    if prefix != "/usr":
        arguments += ["--ro-bind", prefix, PYTHON_AT]
    arguments += ["--perms", "0755", "--dir", "/dev"]
    for device in ("null", "zero", "random", "urandom"):
        arguments += ["--dev-bind", f"/dev/{device}", f"/dev/{device}"]
    if "--size" in help_text:  # before bubblewrap 0.7 a tmpfs has no limit: then there is no writable place
        arguments += ["--perms", "1777", "--size", str(TEMPORARY_BYTES), "--tmpfs", "/tmp", "--chdir", "/tmp"]
        arguments += ["--symlink", STDIN_COPY, "/dev/stdin"]
    else:
        arguments += ["--chdir", "/"]
    return (*arguments, "--remount-ro", "/", "--die-with-parent", "--new-session")


def _libraries() -> list[str]:
    arguments = []
    for path in ("/lib", "/lib64", "/bin"):
        if os.path.islink(path):
            arguments += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path) and path != "/bin":
            arguments += ["--ro-bind", path, path]
    return arguments


def write(descriptor: int, data: bytes, deadline: float) -> bool:
    """Writes all of `data`; False where the deadline passed. A closed pipe ends the writing without error."""
    view = memoryview(data)
    while view:
        if not wait(descriptor, select.POLLOUT, deadline):
            return False
        try:
            view = view[os.write(descriptor, view[: 1 << 20]) :]
        except BlockingIOError:
            continue
        except BrokenPipeError:
            return True
    return True


def read(descriptor: int, deadline: float) -> bytes | None:
    """Some bytes, b"" at the end of the pipe, None where the deadline passed."""
    while wait(descriptor, select.POLLIN, deadline):
        with contextlib.suppress(BlockingIOError):
            return os.read(descriptor, 1 << 16)  # what a pipe holds
    return None


def wait(descriptor: int, event: int, deadline: float) -> bool:
    """Whether the pipe became ready before the deadline (monotonic seconds)."""
    # poll, not select: a training process may hold more than 1,024 descriptors
    poll = select.poll()
    poll.register(descriptor, event)
    remaining = deadline - time.monotonic()
    return remaining > 0 and bool(poll.poll(remaining * 1000 + 1))


def end(process: "subprocess.Popen[bytes]") -> None:
    """Kills the sandbox, collects its processes and waits until nothing of it holds the pipes any more."""
    assert process.stdin is not None and process.stdout is not None
    # the first process inside goes first: then bubblewrap itself collects it, and no zombie is left to others
    for pid in _children(process.pid):
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(OSError):
        process.stdin.close()
    if not _ends(process, 0.3):
        process.kill()
    process.wait()
    deadline = time.monotonic() + 0.5
    while read(process.stdout.fileno(), deadline):
        pass
    process.stdout.close()


def _ends(process: "subprocess.Popen[bytes]", seconds: float) -> bool:
    """Waits for the end of a process; `Popen.wait` with a limit would look only every few milliseconds."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:
        return process.poll() is not None
    try:
        return wait(descriptor, select.POLLIN, time.monotonic() + seconds)
    finally:
        os.close(descriptor)


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (OSError, ValueError):
        return []
