"""Starts, feeds and ends sandbox processes: command lines per tier, and pipes with deadlines."""

import contextlib
import functools
import glob
import os
import re
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
# prints the kind of byte code, the standard library and every shared object that its modules load
_LOADED = """
import importlib.util, os, sys, sysconfig
stdlib = sysconfig.get_path("platstdlib")
for file in os.listdir(os.path.join(stdlib, "lib-dynload")):
    try: __import__(file.partition(".")[0])
    except Exception: pass
paths = {line.split()[-1] for line in open("/proc/self/maps") if ".so" in line}
print(importlib.util.MAGIC_NUMBER.hex(), stdlib, *sorted(path for path in paths if os.path.exists(path)), sep="\\n")
"""
_FLAGS = ("-P", "-s", "-S", "-B", "-X", "int_max_str_digits=0", "-c")


def interpreter() -> str:
    """The interpreter itself, not its link in a virtual environment."""
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))


def start(way: str, python: str, prefix: str, boot: str, uid: int) -> "subprocess.Popen[bytes]":
    """A bare interpreter running `boot` in the given way of isolation, its pipes not blocking.

    `uid` 0 starts it as this user; where a user namespace is made, any other owns it.
    """
    # a fixed hash seed: the same program earns the same reward every time
    environment = {"LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0", "TZ": "UTC", "HOME": "/tmp", "PATH": "/usr/bin"}
    command = [python, *_FLAGS, boot]
    if way.startswith("bubblewrap"):
        environment["LD_LIBRARY_PATH"] = f"{PYTHON_AT}/lib"
        command = [*_bubblewrap(way, python, prefix), _inside(python, prefix), *_FLAGS, boot]
    if uid and way == "bubblewrap-userns":  # Popen's own `user` would fork this process, however large it is
        command = ["setpriv", "--reuid", str(uid), "--regid", str(uid), "--clear-groups", *command]
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
def _bubblewrap(way: str, python: str, prefix: str) -> tuple[str, ...]:
    """The command line of bubblewrap up to the program it runs."""
    bwrap = shutil.which("bwrap") or "bwrap"
    help_text = subprocess.run([bwrap, "--help"], capture_output=True, text=True, check=False).stdout
    arguments = [bwrap, "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
    # the supervisor gives up these rights before it sees a program (`confine`)
    arguments += ["--cap-drop", "ALL", "--cap-add", "CAP_SYS_ADMIN"]
    if way == "bubblewrap":
        # root starts it without a user namespace, so that the program's uid is a real one with limits of its own
        arguments += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        arguments += ["--unshare-user", "--uid", "1000", "--gid", "1000"]
    stdlib, *others = needed(python, prefix)
    places = {path: _inside(path, prefix) for path in (stdlib, *others)}
    for folder in sorted({str(parent) for place in places.values() for parent in Path(place).parents} - {"/"}):
        arguments += ["--perms", "0755", "--dir", folder]
    for path, place in places.items():
        arguments += ["--ro-bind", path, place]
    packages = os.path.join(stdlib, "site-packages")
    if os.path.isdir(packages):  # what is installed beside the standard library is not for programs
        arguments += ["--perms", "0755", "--tmpfs", _inside(packages, prefix)]
        arguments += ["--remount-ro", _inside(packages, prefix)]
    arguments += ["--perms", "0755", "--dir", "/dev", "--dev-bind", "/dev/null", "/dev/null"]
    if "--size" in help_text:  # before bubblewrap 0.7 a tmpfs has no limit: then there is no writable place
        arguments += ["--perms", "1777", "--size", str(TEMPORARY_BYTES), "--tmpfs", "/tmp", "--chdir", "/tmp"]
        arguments += ["--symlink", STDIN_COPY, "/dev/stdin"]
    else:
        arguments += ["--chdir", "/"]
    return (*arguments, "--remount-ro", "/", "--die-with-parent", "--new-session")


def _inside(path: str, prefix: str) -> str:
    """Where a path of the host is seen in a sandbox with mounts of its own."""
    return path if prefix == "/usr" else re.sub(rf"^{re.escape(prefix)}(?=/)", PYTHON_AT, path)


@functools.cache
def needed(python: str, prefix: str) -> tuple[str, ...]:
    """Paths of the host that a bare interpreter reads: its standard library first, then whatever its modules load.

    Raises: OSError if the interpreter does not run.
    """
    _, stdlib, *loaded = _asked(python)
    loaded = [path for path in loaded if not path.startswith(f"{stdlib}/")]
    own = [path for path in loaded if prefix != "/usr" and path.startswith(f"{prefix}/")]
    libraries = {os.path.dirname(path) for path in loaded if path not in own}
    loaders = [path for place in ("/lib", "/lib64") for path in glob.glob(f"{place}/ld-*.so*")]
    return (stdlib, *sorted(libraries), *sorted({*loaders, *own, python}), *glob.glob("/usr/share/zoneinfo"))


def byte_code(python: str) -> str:
    """Which byte code an interpreter reads. Raises: OSError if it does not run."""
    return _asked(python)[0]


@functools.cache
def _asked(python: str) -> list[str]:
    found = subprocess.run([python, "-I", "-S", "-c", _LOADED], capture_output=True, text=True, check=False)
    if found.returncode:
        raise OSError(f"{python} does not run: {found.stderr.strip()[-200:]}")
    return found.stdout.splitlines()


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
