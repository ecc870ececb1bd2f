"""Isolation for programs a model wrote: which tier this machine offers, and a session with one sandbox.

Tiers, probed by really running a program in each, best first:
    bubblewrap      own mount, pid, network and ipc namespaces, read-only system, 16 MiB of private /tmp, another
                    uid, seccomp, limits
    seccomp         another uid, seccomp, landlock (reading the standard library and nothing else), limits
    unsandboxed     limits only; used when the caller asked for it by name, never by itself
Without any of them `probe` returns the tier `none`, in which no program runs.
"""

import contextlib
import functools
import json
import logging
import marshal
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from hsd_jax.verifiers import launch, sandbox_child, seccomp

START_SECONDS = 15.0
PACKAGE_HINT = (
    "install the package `bubblewrap` (tools/install_system_packages.sh); in a container it needs permission to make "
    "user namespaces, or run as root so that programs get a uid of their own"
)
_LOG = logging.getLogger(__name__)
_BOOT = (
    "import os,marshal\nn=int.from_bytes(os.read(0,8),'little')\nb=b''\nwhile len(b)<n:b+=os.read(0,n-len(b))\n"
    "g={'__name__':'sandbox'}\nexec(marshal.loads(b),g)\ng['supervise']()"
)
_NONSENSE = {"ended": True, "exit": sandbox_child.RAISED}
_FIRST_UID = 1_900_000_000


@dataclass(frozen=True)
class Tier:
    """How programs are isolated: `name`, what that gives in words, and why no better tier is in use."""

    name: str
    isolation: str
    missing: str
    python: str
    prefix: str

    def __str__(self) -> str:
        better = f"; {self.missing}" if self.missing else ""
        return f"sandbox tier: {self.name} ({self.isolation}){better}"


@dataclass(frozen=True)
class Limits:
    """What one program may use. Seconds are wall time per test; the memory is address space of the whole program."""

    seconds: float = 10.0
    memory_bytes: int = 1 << 30
    output_bytes: int = 16 << 20
    threads: int = 64
    open_files: int = 64


DEFAULT_LIMITS = Limits()


class SandboxTimeout(Exception):
    """The program used up its time; the sandbox is gone."""


class SandboxLost(Exception):
    """The sandbox ended without saying why: killed from outside, or it never started.

    `since` is when the test began that was lost with it (monotonic seconds; 0: before the first).
    """

    since: float = 0.0


class NoSandbox(RuntimeError):
    """This machine offers no isolation and the caller did not allow to go without."""


@functools.cache
def probe() -> Tier:
    """The best tier that works on this machine, found by running a program in it. Cached."""
    reasons = []
    for tier in candidates():
        error = fails(tier)
        if error is None:
            return replace(tier, missing="; ".join(reasons))
        reasons.append(f"{tier.name} does not work here: {error}")
    return Tier("none", "programs are refused", "; ".join([*reasons, PACKAGE_HINT]), "", "")


def unsandboxed() -> Tier:
    """The tier without isolation, for machines of which nothing can be lost. Says so in the log each time."""
    _LOG.warning("programs written by the model run WITHOUT isolation, as this user (allow_unsandboxed)")
    return Tier("unsandboxed", "resource limits only", "isolation was waived", _python(), sys.base_prefix)


def tier_for(*, allow_unsandboxed: bool = False) -> Tier:
    """The probed tier.

    Raises:
        NoSandbox: there is none and the caller does not allow to go without.
    """
    tier = probe()
    if tier.name != "none":
        return tier
    if allow_unsandboxed:
        return unsandboxed()
    raise NoSandbox(f"no sandbox for programs: {tier.missing}; or pass --verifier.allow-unsandboxed")


def candidates() -> list[Tier]:
    """The tiers worth trying on this machine, best first."""
    root = os.geteuid() == 0
    tiers = []
    if shutil.which("bwrap"):
        namespaces = "namespaces, read-only system, no network, another uid, seccomp, limits"
        ways = ["bubblewrap", "bubblewrap-userns"] if root else ["bubblewrap-userns"]
        tiers += [Tier(way, namespaces, "", _python(), sys.base_prefix) for way in ways]
    if root:
        python, prefix = _readable_python()
        if python:
            tiers.append(Tier("seccomp", "another uid, seccomp, landlock, limits; no namespaces", "", python, prefix))
    return tiers


def fails(tier: Tier) -> str | None:
    """Why a program cannot run in this tier, or None where it can."""
    try:
        with session(tier, Limits(), program="def f(x):\n    return x + 1\n") as sandbox:
            answer = call(sandbox, "f", [41])
        return None if answer.get("value") == 42 else f"a test program answered {answer!r}"
    except (SandboxLost, SandboxTimeout, OSError, ValueError) as error:
        return str(error) or type(error).__name__


def _python() -> str:
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))


def _readable_python() -> tuple[str, str]:
    """An interpreter every user of the machine may run: this one, or the system's."""
    for python, prefix in ((_python(), sys.base_prefix), ("/usr/bin/python3", "/usr")):
        parents = [Path(prefix), *Path(prefix).parents]
        if os.path.exists(python) and all(parent.stat().st_mode & 0o001 for parent in parents):
            return os.path.realpath(python), prefix
    return "", ""


@dataclass
class Session:
    """A running sandbox: its process, the limits, and bytes read beyond the last message."""

    process: "subprocess.Popen[bytes]"
    limits: Limits
    buffer: bytearray


@contextlib.contextmanager
def session(
    tier: Tier,
    limits: Limits,
    *,
    program: str,
    preload: tuple[str, ...] = (),
    names: tuple[tuple[str, str, str], ...] = (),
) -> Iterator["Session"]:
    """A sandbox that holds `program`, ready for `call` or `script`; gone with all its processes on leaving."""
    process = launch.start(tier.name, tier.python, tier.prefix, _BOOT)
    sandbox = Session(process, limits, bytearray())
    try:
        deadline = time.monotonic() + START_SECONDS
        code = _child_code(tier.python)
        _write(sandbox, len(code).to_bytes(8, "little") + code, deadline)
        _write(sandbox, _message(_setup(tier, limits, program, preload, names)), deadline)
        try:
            _read_line(sandbox, deadline)
        except SandboxTimeout as error:
            raise SandboxLost("it did not start in time") from error
        yield sandbox
    finally:
        launch.end(process)


def call(sandbox: Session, name: str, arguments: list[object]) -> dict[str, object]:
    """Calls a function of the program; the reply holds `value` (tagged JSON) or `ended` (its exit status)."""
    order = {"mode": "call", "id": secrets.token_hex(16), "call": name, "args": arguments}
    return _ask(sandbox, order, time.monotonic() + sandbox.limits.seconds)


def script(sandbox: Session, text: str) -> tuple[dict[str, object], bytes]:
    """Runs the program from the start with `text` on stdin; the reply (its `exit` status) and what it printed."""
    data = text.encode("utf-8", "surrogatepass")
    deadline = time.monotonic() + sandbox.limits.seconds
    reply = _ask(sandbox, {"mode": "script", "id": secrets.token_hex(16), "input": data}, deadline)
    size = reply.get("bytes")
    if not isinstance(size, int) or not 0 <= size <= sandbox.limits.output_bytes:
        raise SandboxLost("it reported an impossible length")
    while len(sandbox.buffer) < size:
        _fill(sandbox, deadline + 1.0)
    output = bytes(sandbox.buffer[:size])
    del sandbox.buffer[:size]
    return reply, output


def _ask(sandbox: Session, order: dict[str, object], deadline: float) -> dict[str, object]:
    _write(sandbox, _message(order), deadline)
    try:
        reply = json.loads(_read_line(sandbox, deadline))
    except (ValueError, RecursionError):
        return dict(_NONSENSE)
    ours = isinstance(reply, dict) and (reply.get("id") == order["id"] or reply.get("ended") is True)
    return reply if ours else dict(_NONSENSE)


def _message(content: dict[str, object]) -> bytes:
    data = marshal.dumps(content, 2)
    return len(data).to_bytes(8, "little") + data


def _write(sandbox: Session, data: bytes, deadline: float) -> None:
    assert sandbox.process.stdin is not None
    if not launch.write(sandbox.process.stdin.fileno(), data, deadline):
        raise SandboxTimeout


def _read_line(sandbox: Session, deadline: float) -> bytes:
    start = 0
    while (end := sandbox.buffer.find(b"\n", start)) < 0:
        start = len(sandbox.buffer)
        if start > sandbox.limits.output_bytes:
            return b""
        _fill(sandbox, deadline)
    line = bytes(sandbox.buffer[:end])
    del sandbox.buffer[: end + 1]
    return line


def _fill(sandbox: Session, deadline: float) -> None:
    assert sandbox.process.stdout is not None
    block = launch.read(sandbox.process.stdout.fileno(), deadline)
    if block is None:
        raise SandboxTimeout
    if not block:
        raise SandboxLost("it ended without a word")
    sandbox.buffer += block


def _setup(
    tier: Tier, limits: Limits, program: str, preload: tuple[str, ...], names: tuple[tuple[str, str, str], ...]
) -> dict[str, object]:
    root = os.geteuid() == 0 and tier.name in ("bubblewrap", "seccomp")
    seconds = int(limits.seconds) + 3
    return {
        "program": program,
        "preload": list(preload),
        "names": [list(name) for name in names],
        "uid": _FIRST_UID + secrets.randbelow(100_000_000) if root else 0,
        "landlock": tier.name == "seccomp",
        "readable": [tier.prefix, *_LIBRARIES, "/dev/zero", "/dev/urandom", "/dev/random"],
        "writable": ["/dev/null"],
        "filter": b"" if tier.name == "unsandboxed" and not _has_filter() else seccomp.program(),
        "own_pid": seccomp.OWN_PID.to_bytes(4, "little"),
        "limits": [
            ("RLIMIT_CORE", 0), ("RLIMIT_FSIZE", limits.output_bytes), ("RLIMIT_NOFILE", limits.open_files),
            ("RLIMIT_CPU", seconds * 2), ("RLIMIT_STACK", 128 << 20), ("RLIMIT_MEMLOCK", 0),
            ("RLIMIT_MSGQUEUE", 0), ("RLIMIT_AS", limits.memory_bytes),
            *([("RLIMIT_NPROC", limits.threads)] if root else []),
        ],
    }  # fmt: skip


_LIBRARIES = ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/share/zoneinfo", "/etc/localtime")


def _has_filter() -> bool:
    try:
        return bool(seccomp.program())
    except OSError:
        return False


@functools.cache
def _child_code(python: str) -> bytes:
    source = Path(sandbox_child.__file__).read_text()
    if python == _python():
        return marshal.dumps(compile(source, "<sandbox>", "exec", optimize=2))
    # another interpreter may have another byte code: send a program that compiles the text there
    return marshal.dumps(source, 2)
