"""How this process uses its host: what becomes of freed memory, and how many threads run a program on virtual devices.

glibc raises its limit for blocks of their own with every large block that is freed, up to 32 MB, and gives threads
heaps of their own. A run whose threads allocate and free large buffers for days then holds ever more of what it does
not use: `benchmarks.long_run` grew by 2.2 MB per 100 steps, and by 0.3 with fixed limits (RESULTS.md).

XLA's CPU backend runs whatever is ready in a program on one pool of threads for all devices, and a thread that enters
a collective stays in it until the other devices come. A pool as large as the machine has cores is full of such threads
as soon as two devices wait in different collectives, and nobody is left to bring what they wait for (decisions, 46).
"""

import ctypes
import os
import re
from collections.abc import MutableMapping

# Source: mallopt(3). Parameter number, the variable by which a user may have chosen, and our value.
LIMITS = (
    (-1, "MALLOC_TRIM_THRESHOLD_", 1 << 20),
    (-3, "MALLOC_MMAP_THRESHOLD_", 1 << 20),
    (-8, "MALLOC_ARENA_MAX", 2),
)
POOL = "PJRT_NPROC"
# a layer's exchanges are a dozen, and waiting threads cost nothing
THREADS_A_DEVICE = 16
VIRTUAL = re.compile(r"--xla_force_host_platform_device_count=(\d+)")


def tune_malloc() -> None:
    """Fixes glibc's limits, unless the environment sets them; does nothing with other C libraries."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    for parameter, variable, value in LIMITS:
        if variable not in os.environ:
            mallopt(parameter, value)


def widen_pool(environment: MutableMapping[str, str]) -> None:
    """Gives several virtual CPU devices threads for all collectives at once, unless the environment says how many.

    To be called before JAX's backend is first used.
    """
    counts = [*VIRTUAL.findall(environment.get("XLA_FLAGS", "")), environment.get("JAX_NUM_CPU_DEVICES", "")]
    devices = max((int(count) for count in counts if count.isdecimal()), default=1)
    if devices > 1:
        environment.setdefault(POOL, str(max(os.cpu_count() or 1, devices * THREADS_A_DEVICE)))
