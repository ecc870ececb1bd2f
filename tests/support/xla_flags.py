"""XLA's flags for programs that run for milliseconds: compiling them would take all the time."""

QUICK = " --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"


def devices(count: int) -> str:
    """So many virtual CPU devices, and programs that are compiled quickly."""
    return f"--xla_force_host_platform_device_count={count}{QUICK}"
