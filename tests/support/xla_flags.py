"""XLA's flags for programs that run for milliseconds: compiling them would take all the time."""

import mmap
from functools import cache
from importlib.util import find_spec
from pathlib import Path

QUICK = " --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
# a third of the time; XLA ends a process that names a flag which it does not have
QUICKER = "xla_cpu_use_fusion_emitters"


@cache
def quick() -> str:
    """Flags with which this JAX compiles quickly."""
    return f"{QUICK} --{QUICKER}=false" if any(map(_names_it, _libraries())) else QUICK


def devices(count: int) -> str:
    """So many virtual CPU devices, and programs that are compiled quickly."""
    return f"--xla_force_host_platform_device_count={count}{quick()}"


def _libraries() -> list[Path]:
    found = find_spec("jaxlib")
    assert found is not None and found.origin is not None
    return [file for file in Path(found.origin).parent.rglob("*.so") if file.stat().st_size > 1 << 24]


def _names_it(library: Path) -> bool:
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as held:
        return held.find(QUICKER.encode()) >= 0
