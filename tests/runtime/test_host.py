"""What a process has freed goes back to the system, and virtual devices have threads enough to wait in."""

import os
import platform
import subprocess
import sys

import pytest

from hsd_jax.runtime import cli, host

# Frees one large block, which raises glibc's limit for blocks of their own, then many smaller ones below a live one.
PROGRAM = """
import ctypes, resource, sys
from hsd_jax.runtime.host import tune_malloc
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() >> 20
def block(size):
    place = libc.malloc(size)
    ctypes.memset(place, 1, size)
    return place
if sys.argv[1] == "fixed":
    tune_malloc()
libc.free(block(24 << 20))
before, many = resident(), [block(4 << 20) for _ in range(20)]
last = block(64 << 10)
for place in many:
    libc.free(place)
print(resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_freed_blocks_go_back_to_the_system() -> None:
    def kept(how: str) -> int:
        plain = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
        command = [sys.executable, "-c", PROGRAM, how]
        done = subprocess.run(command, env=plain, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    assert kept("fixed") <= 4 and kept("as it is") >= 40


@pytest.mark.parametrize(
    ("given", "devices"),
    [
        ({}, 0),
        ({"XLA_FLAGS": "--xla_force_host_platform_device_count=1"}, 0),
        ({"XLA_FLAGS": "--xla_dump_to=x --xla_force_host_platform_device_count=4"}, 4),
        ({"JAX_NUM_CPU_DEVICES": "8"}, 8),
    ],
)
def test_several_virtual_devices_have_threads_for_each_collective(given: dict[str, str], devices: int) -> None:
    environment = dict(given)
    host.widen_pool(environment)
    assert int(environment.get("PJRT_NPROC", 0)) >= 16 * devices and (devices > 1) == ("PJRT_NPROC" in environment)


def test_the_number_of_threads_that_a_user_chose_stays() -> None:
    environment = {"JAX_NUM_CPU_DEVICES": "8", "PJRT_NPROC": "3"}
    host.widen_pool(environment)
    assert environment["PJRT_NPROC"] == "3"


def test_every_command_widens_the_pool_before_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "4")
    monkeypatch.delenv("PJRT_NPROC", raising=False)
    monkeypatch.setattr(sys, "argv", ["command"])
    with pytest.raises(SystemExit) as stop:
        cli.run(lambda _: int(os.environ["PJRT_NPROC"]))
    assert int(str(stop.value.code)) >= 64
