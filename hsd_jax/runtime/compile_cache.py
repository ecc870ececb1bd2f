"""Compiled programs are kept between runs, so that the second run of the same config starts in seconds."""

from pathlib import Path

import jax

from hsd_jax.runtime import paths

NAMED = "JAX_COMPILATION_CACHE_DIR"


def enable_compilation_cache() -> None:
    """Keeps compiled programs in JAX_COMPILATION_CACHE_DIR (may be gs://), else in ~/.cache/hsd_jax/compiled.

    Raises: InputError where the variable names what cannot be a directory.
    """
    folder = paths.from_environment(NAMED) or str(Path.home() / ".cache" / "hsd_jax" / "compiled")
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
