"""Compiled programs are kept between runs, so that the second run of the same config compiles nothing, on any host.

The sampler's programs belong to the devices of their host, and JAX itself lets process 0 alone write. So every process
of a run writes and reads a folder of its own; nobody waits for another, and no two write the same object.
"""

import logging
import os
from pathlib import Path
from typing import Any

import jax
from jax._src import compilation_cache, compiler

from hsd_jax.runtime import paths

log = logging.getLogger(__name__)
NAMED = "JAX_COMPILATION_CACHE_DIR"


def enable_compilation_cache(process: int = 0, processes: int = 1) -> None:
    """Keeps compiled programs in JAX_COMPILATION_CACHE_DIR (may be gs://), else in ~/.cache/hsd_jax/compiled.

    Of several processes each has a folder `process-K` there.
    Raises: InputError where the variable names what cannot be a directory.
    """
    folder = paths.from_environment(NAMED) or str(Path.home() / ".cache" / "hsd_jax" / "compiled")
    if processes > 1:
        folder = os.path.join(folder, f"process-{process}")
    jax.config.update("jax_compilation_cache_dir", folder)
    # small programs too: there are many, and each host would compile them anew
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    compiler._cache_write = write


def write(key: str, seconds: float, name: str, backend: Any, executable: Any, host_callbacks: Any = ()) -> None:
    """What JAX does after it has compiled, in every process; a program that cannot be kept is compiled next time.

    JAX before 0.12 gives `host_callbacks` too.
    """
    if host_callbacks:  # addresses in this process
        return
    try:
        compilation_cache.put_executable_and_time(key, name, executable, backend, int(seconds))
    except Exception as error:  # whatever a storage or a backend makes of it
        log.warning("%s was compiled but could not be kept: %s", name, " ".join(str(error).split())[:200])
