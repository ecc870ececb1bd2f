"""How this process keeps the host memory that it has freed.

glibc raises its limit for blocks of their own with every large block that is freed, up to 32 MB, and gives threads
heaps of their own. A run whose threads allocate and free large buffers for days then holds ever more of what it does
not use: `benchmarks.long_run` grew by 2.2 MB per 100 steps, and by 0.3 with fixed limits (RESULTS.md).
"""

import ctypes
import os

# Source: mallopt(3). Parameter number, the variable by which a user may have chosen, and our value.
LIMITS = (
    (-1, "MALLOC_TRIM_THRESHOLD_", 1 << 20),
    (-3, "MALLOC_MMAP_THRESHOLD_", 1 << 20),
    (-8, "MALLOC_ARENA_MAX", 2),
)


def tune_malloc() -> None:
    """Fixes glibc's limits, unless the environment sets them; does nothing with other C libraries."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    for parameter, variable, value in LIMITS:
        if variable not in os.environ:
            mallopt(parameter, value)
