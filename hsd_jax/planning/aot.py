"""Compiling for TPUs on a machine without one: the compiler in libtpu needs only the name of a slice.

Sizes are bytes per chip. Nothing is allocated and nothing runs, so executables give memory and operations, never times.
"""

import importlib.util
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax
from jax.experimental import topologies

from hsd_jax.errors import InputError
from hsd_jax.planning.chips import Topology

INSTALL = 'python -m pip install "jax[tpu]=={version}"   (x86 Linux; no TPU is needed)'
# libtpu would ask the cloud's metadata server who it is, take a lock meant for real devices, and talk on stderr
QUIET = {
    "TPU_SKIP_MDS_QUERY": "1",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_STDERR_LOG_LEVEL": "3",
    "TPU_MIN_LOG_LEVEL": "3",
    "TPU_ACCELERATOR_TYPE": "none",
    "TPU_WORKER_HOSTNAMES": "localhost",
}


@dataclass(frozen=True)
class Memory:
    """A compiled program's bytes on one chip. `aliased` outputs reuse donated arguments; `host` is in host memory."""

    arguments: int
    temporary: int
    outputs: int
    aliased: int
    code: int
    host: int

    @property
    def total(self) -> int:
        """What must fit: the arguments, new outputs, temporaries and the program itself."""
        return self.arguments + self.temporary + max(0, self.outputs - self.aliased) + self.code


@dataclass(frozen=True)
class Compiled:
    """What the compiler says: memory, or the bytes it would have `needed` where they are more than the chip has."""

    memory: Memory | None
    needed: int
    seconds: float
    bytes_accessed: float
    text: str


def require_libtpu() -> None:
    """Raises: InputError with the install line where the TPU compiler is not installed."""
    if importlib.util.find_spec("libtpu") is None:
        raise InputError(
            f"plan: the TPU compiler (libtpu) is not installed; run: {INSTALL.format(version=jax.__version__)}"
        )


def devices(topology: Topology) -> list[Any]:
    """The slice's devices, for meshes to compile for. Keeps JAX itself on the CPU."""
    require_libtpu()
    jax.config.update("jax_platforms", "cpu")
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    extra: dict[str, Any] = {"chips_per_host_bounds": topology.host_shape}
    extra |= {"num_slices": topology.slices} if topology.slices > 1 else {}
    try:
        with silence():
            found = topologies.get_topology_desc(platform="tpu", topology_name=topology.name, **extra).devices
    except jax.errors.JaxRuntimeError as error:
        raise InputError(
            f"--topology {topology.title}: the compiler knows no such slice: {first_line(error)}"
        ) from None
    assert len(found) == topology.chips, (topology.name, len(found))
    return list(found)


def one_host(devices: list[Any]) -> list[Any]:
    """What `jax.local_devices()` is in the last process of the slice.

    Not in the first: on v5e and v6e the compiler of libtpu 0.0.42 ends in an internal check where the chips of a
    program are some of a slice and chip 0 is among them. All hosts have the same block of chips, and programs for
    them the same memory (docs/decisions.md).
    """
    return sorted((d for d in devices if d.process_index == devices[-1].process_index), key=lambda d: d.id)


def first_line(error: Exception) -> str:
    """The first line of a message, not too long."""
    return str(error).strip().splitlines()[0][:300]


def compile_for_tpu(lowered: Any, words: str = os.devnull) -> Compiled:
    """Compiles a lowered program; running out of the chip's memory is an answer here, not an error.

    `words`: the file that gets what the compiler says on stderr, of use where it ends this process.
    """
    started = time.monotonic()
    try:
        with silence(words):
            executable = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        needed = needed_bytes(str(error))
        if not needed:
            raise
        return Compiled(None, needed, time.monotonic() - started, 0.0, "")
    m = executable.memory_analysis()
    memory = Memory(
        arguments=m.argument_size_in_bytes,
        temporary=m.temp_size_in_bytes,
        outputs=m.output_size_in_bytes,
        aliased=m.alias_size_in_bytes,
        code=m.generated_code_size_in_bytes,
        host=m.host_temp_size_in_bytes + m.host_argument_size_in_bytes + m.host_output_size_in_bytes,
    )
    accessed = float((executable.cost_analysis() or {}).get("bytes accessed", 0.0))
    return Compiled(memory, memory.total, time.monotonic() - started, accessed, executable.as_text() or "")


UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def needed_bytes(message: str) -> int:
    """The bytes that an out-of-memory message of the compiler asks for; 0 for any other message."""
    if "RESOURCE_EXHAUSTED" not in message and "hbm" not in message.lower():
        return 0
    found = re.findall(r"([\d.]+)([KMGT]?)B?\)? (?:of|exceeds|is greater)", message)
    found = found or re.findall(r"Used ([\d.]+)([KMGT]?) of", message)
    return int(max((float(number) * UNITS[unit] for number, unit in found), default=0.0))


def failed_check(words: str) -> str:
    """The internal check on which the compiler ended, in its own words; "" if it named none."""
    found = re.search(r"[\w.]+:\d+\] Check failed: .*", words)
    return found[0][:300].strip() if found else ""


@contextmanager
def silence(words: str = os.devnull) -> Iterator[None]:
    """Sends what libraries below Python write to stderr to a file; exceptions still tell what went wrong."""
    kept = os.dup(2)
    elsewhere = os.open(words, os.O_WRONLY | os.O_APPEND)
    try:
        os.dup2(elsewhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(elsewhere)
