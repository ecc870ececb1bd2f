"""One running sandbox with one program in it: starts it, asks it, and leaves nothing of it behind."""

import contextlib
import functools
import importlib.util
import json
import marshal
import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hsd_jax.verifiers.sandbox import child, confine, launch, seccomp, values

START_SECONDS = 15.0
_BOOT = (
    "import os,marshal\nn=int.from_bytes(os.read(0,8),'little')\nb=b''\nwhile len(b)<n:b+=os.read(0,n-len(b))\n"
    "g={'__name__':'sandbox'}\nexec(marshal.loads(b),g)\ng['supervise']()"
)
_PARTS = (values, confine, child)
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
    """What one program may use: seconds of wall time per test and for all its tests (None: twice those of one).

    The memory is address space of the whole program.
    """

    seconds: float = 10.0
    check_seconds: float | None = None
    memory_bytes: int = 1 << 30
    output_bytes: int = 16 << 20
    threads: int = 64
    open_files: int = 64

    @property
    def whole_check(self) -> float:
        """Seconds for all tests of one program."""
        return 2 * self.seconds if self.check_seconds is None else self.check_seconds


DEFAULT_LIMITS = Limits(check_seconds=60.0)


class SandboxTimeout(Exception):
    """The program used up its time; the sandbox is gone."""


class SandboxLost(Exception):
    """The sandbox ended without saying why: killed from outside, or it never started.

    `since` is when the test began that was lost with it (monotonic seconds; 0: before the first).
    """

    since: float = 0.0


@dataclass
class Session:
    """A running sandbox: its process, the limits, when the check ends (monotonic), bytes beyond the last message.

    `used` counts its tests. `clean` is False once one left a trace: no other may see it. `owed_seconds` is what the
    start took; the first test pays it, up to half of its time, so that a check ends in time on a busy machine too.
    """

    process: "subprocess.Popen[bytes]"
    limits: Limits
    until: float
    buffer: bytearray
    used: int = 0
    clean: bool = True
    owed_seconds: float = 0.0


@contextlib.contextmanager
def session(
    tier: Tier,
    limits: Limits,
    *,
    program: str,
    preload: tuple[str, ...] = (),
    names: tuple[tuple[str, str, str], ...] = (),
    until: float = float("inf"),
) -> Iterator["Session"]:
    """A sandbox that holds `program`, ready for `call` or `script`; gone with all its processes on leaving."""
    begun = time.monotonic()
    # as root every sandbox has a uid of its own: it owns nothing, and its limits count nobody else's processes
    uid = _FIRST_UID + secrets.randbelow(100_000_000) if os.geteuid() == 0 and tier.name != "unsandboxed" else 0
    try:
        process = launch.start(tier.name, tier.python, tier.prefix, _BOOT, uid)
    except OSError as error:
        raise SandboxLost(f"it cannot be started: {error}") from error
    content = {"program": program, "preload": list(preload), "names": [list(name) for name in names]}
    sandbox = Session(process, limits, until, bytearray())
    try:
        deadline = time.monotonic() + START_SECONDS
        code = _child_code(tier.python)
        _write(sandbox, len(code).to_bytes(8, "little") + code, deadline)
        _write(sandbox, _message(_setup(tier, limits, uid) | content), deadline)
        try:
            _read_line(sandbox, deadline, 1 << 16)
        except SandboxTimeout as error:
            raise SandboxLost("it did not start in time") from error
        sandbox.owed_seconds = time.monotonic() - begun
        yield sandbox
    finally:
        launch.end(process)


def call(sandbox: Session, name: str, arguments: list[object], most: int | None = None) -> dict[str, Any]:
    """Calls a function of the program; the reply holds `value` (tagged JSON) or `ended` (its `exit` status).

    A reply of more than `most` bytes counts as none; None: what a program may print.
    """
    order = {"mode": "call", "id": secrets.token_hex(16), "call": name, "args": arguments}
    return _ask(sandbox, order, _deadline(sandbox), most or sandbox.limits.output_bytes)


def script(sandbox: Session, text: str, most: int | None = None) -> tuple[dict[str, Any], bytes]:
    """Runs the program from the start with `text` on stdin; the reply (its `exit` status) and what it printed.

    Of an output of more than `most` bytes, the first `most + 1`; then nothing more can be asked.
    """
    data = text.encode("utf-8", "surrogatepass")
    deadline = _deadline(sandbox)
    reply = _ask(sandbox, {"mode": "script", "id": secrets.token_hex(16), "input": data}, deadline, 1 << 16)
    if reply.get("ended"):
        if reply["exit"] == 0:
            raise SandboxLost("the process that starts its tests ended")
        return reply, b""
    size = reply.get("bytes")
    if type(size) is not int or not 0 <= size <= sandbox.limits.output_bytes:
        raise SandboxLost("it reported an impossible length")
    shown = min(size, most + 1) if most else size
    sandbox.clean = reply.get("clean") is True and shown == size
    while len(sandbox.buffer) < shown:
        _fill(sandbox, deadline + 1.0)
    output = bytes(memoryview(sandbox.buffer)[:shown])
    del sandbox.buffer[:shown]
    return reply, output


def _deadline(sandbox: Session) -> float:
    """When the next test must have ended (monotonic seconds)."""
    sandbox.used += 1
    owed, sandbox.owed_seconds = min(sandbox.owed_seconds, 0.5 * sandbox.limits.seconds), 0.0
    return min(time.monotonic() + sandbox.limits.seconds - owed, sandbox.until)


def _ask(sandbox: Session, order: dict[str, object], deadline: float, most: int) -> dict[str, Any]:
    """The reply to an order; whatever else comes back counts as a program that raised."""
    _write(sandbox, _message(order), deadline)
    try:
        reply = json.loads(_read_line(sandbox, deadline, most))
    except (ValueError, RecursionError):
        reply = None
    if isinstance(reply, dict) and reply.get("id") == order["id"]:
        return reply | {"ended": False, "exit": _status(reply)}
    if isinstance(reply, dict) and reply.get("ended") is True:
        return {"ended": True, "exit": _status(reply)}
    return {"ended": True, "exit": child.RAISED}


def _status(reply: dict[str, Any]) -> int:
    return reply["exit"] if type(reply.get("exit")) is int else child.RAISED


def _message(content: dict[str, object]) -> bytes:
    data = marshal.dumps(content, 2)
    return len(data).to_bytes(8, "little") + data


def _write(sandbox: Session, data: bytes, deadline: float) -> None:
    assert sandbox.process.stdin is not None
    if not launch.write(sandbox.process.stdin.fileno(), data, deadline):
        raise SandboxTimeout


def _read_line(sandbox: Session, deadline: float, most: int) -> bytes:
    start = 0
    while (end := sandbox.buffer.find(b"\n", start)) < 0:
        start = len(sandbox.buffer)
        if start > most:
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


def _setup(tier: Tier, limits: Limits, uid: int) -> dict[str, object]:
    own_mounts, isolated = tier.name.startswith("bubblewrap"), tier.name != "unsandboxed"
    filtered = isolated or _has_filter()
    return {
        "uid": 0 if tier.name == "bubblewrap-userns" else uid,  # there the namespace gives it
        "own_mounts": own_mounts,
        "landlock": tier.name == "seccomp",
        "readable": [*launch.needed(tier.python, tier.prefix), "/dev/zero", "/dev/urandom"] if isolated else [],
        "writable": ["/dev/null"],
        "filter": seccomp.program() if filtered else b"",
        "shared_filter": seccomp.shared() if filtered else b"",
        "scratch": "/tmp" if own_mounts else "",
        "own_pid": seccomp.OWN_PID.to_bytes(4, "little"),
        "last_limits": [("RLIMIT_FSIZE", limits.output_bytes)],  # an input may be longer
        "limits": [
            ("RLIMIT_CORE", 0), ("RLIMIT_NOFILE", limits.open_files),
            ("RLIMIT_CPU", (int(limits.seconds) + 3) * 2), ("RLIMIT_STACK", 128 << 20), ("RLIMIT_MEMLOCK", 0),
            ("RLIMIT_MSGQUEUE", 0), ("RLIMIT_AS", limits.memory_bytes),
            *([("RLIMIT_NPROC", limits.threads)] if isolated else []),
        ],
    }  # fmt: skip


def _has_filter() -> bool:
    try:
        return bool(seccomp.program())
    except OSError:
        return False


@functools.cache
def _child_code(python: str) -> bytes:
    source = "\n".join(Path(str(part.__file__)).read_text() for part in _PARTS)
    if launch.byte_code(python) == importlib.util.MAGIC_NUMBER.hex():
        return marshal.dumps(compile(source, "<sandbox>", "exec", optimize=2))
    # another interpreter may have another byte code: send a program that compiles the text there
    return marshal.dumps(source, 2)
