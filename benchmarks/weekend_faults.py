"""What goes wrong on a weekend: each fault is a function that does it and says whether it met anything."""

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.support import fake_cloud, gcs_emulator
from tests.support.gcs_emulator import WRITES, Rule

RUN = "runs/hsd"
ALL = (*WRITES, "GET", "DELETE")
EXPIRED = "UNAUTHENTICATED: Request had invalid authentication credentials: token expired"


@dataclass
class Weekend:
    """A run under `watch`, its cloud and its storage; `watch` is another process after it was killed."""

    cloud: fake_cloud.Cloud
    storage: gcs_emulator.Cloud
    random: np.random.Generator
    begin: Callable[[], subprocess.Popen[str]]
    watch: subprocess.Popen[str]

    def seconds(self, most: float) -> float:
        """A random time."""
        return float(self.random.uniform(0.1, most))

    def count(self, most: int) -> int:
        """A random number of times."""
        return int(self.random.integers(1, most + 1))

    def one_of(self, values: Sequence[Any]) -> Any:
        """A random choice."""
        return values[int(self.random.integers(len(values)))]

    def machines(self) -> list[Path]:
        """The folders of the workers that have a training."""
        return [file.parents[1] for file in sorted(self.cloud.home.glob("vm/*/run/pid"))]

    def committed(self) -> list[str]:
        """The prefixes of the committed checkpoints, oldest first."""
        found = self.storage.names(f"{RUN}/checkpoints/")
        steps = {name.split("/")[3] for name in found if name.endswith("state/commit_success.txt")}
        return [f"{RUN}/checkpoints/{step}/" for step in sorted(steps, key=int)]


def later(seconds: float, do: Callable[..., object], *arguments: Any) -> bool:
    """Does something in so many seconds, whatever it meets then; the fault itself goes on."""

    def attempt() -> None:
        with suppress(OSError):
            do(*arguments)

    timer = threading.Timer(seconds, attempt)
    timer.daemon = True
    timer.start()
    return True


def signal_worker(weekend: Weekend, what: str, number: int) -> int:
    """Sends a signal to the "pid" or "supervisor" of a random worker; returns which process, 0 where none lives."""
    machines = weekend.machines()
    if not machines:
        return 0
    with suppress(OSError, ValueError):
        pid = int((weekend.one_of(machines) / "run" / what).read_text())
        if what == "pid" and b"hsd_jax.train" not in Path(f"/proc/{pid}/cmdline").read_bytes():
            return 0
        os.kill(pid, number)
        return pid
    return 0


def signal_session(leader: int, number: int) -> None:
    """Sends a signal to a process and all that it has started, but for what has begun a session of its own."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError):
            if int(stat.read_text().rpartition(")")[2].split()[3]) == leader:
                os.kill(int(stat.parent.name), number)


def kill(weekend: Weekend) -> bool:
    """kill -9 of a training."""
    return bool(signal_worker(weekend, "pid", signal.SIGKILL))


def preempt(weekend: Weekend) -> bool:
    """The notice of a preemption that does not follow."""
    return bool(signal_worker(weekend, "supervisor", signal.SIGTERM))


def hang(weekend: Weekend) -> bool:
    """A worker stands still for a while."""
    pid = signal_worker(weekend, "pid", signal.SIGSTOP)
    return bool(pid) and later(weekend.seconds(4), os.kill, pid, signal.SIGCONT)


def lose_machines(weekend: Weekend) -> bool:
    """All workers go, with their disks, with or without a notice."""
    machines = weekend.machines()
    for place in machines:
        with suppress(OSError, ValueError):
            supervisor = int((place / "run" / "supervisor").read_text())
            if weekend.random.random() < 0.5:
                os.kill(supervisor, signal.SIGTERM)
                threading.Event().wait(weekend.seconds(1))
            os.killpg(supervisor, signal.SIGKILL)
    shutil.rmtree(weekend.cloud.home / "vm", ignore_errors=True)
    return bool(machines)


def lose_node(weekend: Weekend) -> bool:
    """A spot node is taken away under an ACTIVE resource."""
    return lose_machines(weekend) and _write(weekend, "nodes", "PREEMPTED")


def lose_slice(weekend: Weekend) -> bool:
    """The resource is suspended."""
    return lose_machines(weekend) and _write(weekend, "states", "SUSPENDING\nSUSPENDED")


def lose_slice_without_capacity(weekend: Weekend) -> bool:
    """The resource is suspended, and the next request is refused."""
    return lose_slice(weekend) and _write(weekend, "create", weekend.one_of(["quota", "permission", "half"]))


def break_setup(weekend: Weekend) -> bool:
    """A node is taken away, and the setup of the new one ends early."""
    return lose_node(weekend) and _write(weekend, "uv_fails", "")


def expire(weekend: Weekend) -> bool:
    """The token of whoever watches has expired."""
    return _write(weekend, "unreadable", "\n".join([EXPIRED] * weekend.count(3)))


def silence(weekend: Weekend) -> bool:
    """A worker does not answer ssh for a while."""
    _write(weekend, "silent", "0")
    return later(weekend.seconds(4), (weekend.cloud.home / "silent").unlink)


def sleep(weekend: Weekend) -> bool:
    """The laptop that watches sleeps."""
    signal_session(weekend.watch.pid, signal.SIGSTOP)
    return later(weekend.seconds(5), signal_session, weekend.watch.pid, signal.SIGCONT)


def kill_watch(weekend: Weekend) -> bool:
    """The laptop goes down; its owner starts `watch` again, and `create` before it where a slice is missing."""
    signal_session(weekend.watch.pid, signal.SIGKILL)
    weekend.watch.wait()
    while not weekend.cloud.exists and weekend.cloud.script("create.sh").returncode:
        pass
    weekend.watch = weekend.begin()
    return True


def refuse(weekend: Weekend) -> bool:
    """The storage refuses some requests, to write or of any kind."""
    status = weekend.one_of([401, 403, 429, 503])
    return _rule(weekend, Rule(f"{RUN}/", weekend.one_of([WRITES, ALL]), status, times=weekend.count(3)))


def delay(weekend: Weekend) -> bool:
    """The storage is slow."""
    return _rule(weekend, Rule("", ALL, seconds=weekend.seconds(2), times=weekend.count(9)))


def lose_upload(weekend: Weekend) -> bool:
    """The storage says that part of a checkpoint was written, and it was not."""
    return _rule(weekend, Rule("/state/", ("POST", "PUT"), 200, times=weekend.count(2)))


def lose_object(weekend: Weekend) -> bool:
    """Part of the newest checkpoint vanishes; there is one before it."""
    committed = weekend.committed()
    if len(committed) > 1:
        weekend.storage.lose(f"{committed[-1]}state/d/")
    return len(committed) > 1


def _write(weekend: Weekend, name: str, text: str) -> bool:
    weekend.cloud.write(name, text)
    return True


def _rule(weekend: Weekend, rule: Rule) -> bool:
    with weekend.storage.lock:
        weekend.storage.rules[:] = [one for one in weekend.storage.rules if one.times > 0] + [rule]
    return True


FAULTS: tuple[Callable[[Weekend], bool], ...] = (
    *(kill, preempt, hang, lose_node, lose_slice, lose_slice_without_capacity, break_setup),
    *(expire, silence, sleep, kill_watch, refuse, delay, lose_upload, lose_object),
)
