"""Every test runs on eight virtual CPU devices; implicit rank promotion and warnings are errors."""

import os
import shutil
import tempfile
from collections.abc import Iterator

from tests.support import xla_flags

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {xla_flags.devices(8)}"

import jax
import pytest

from hsd_jax.runtime import host
from tests.support import gcs_emulator

# Programs that the session has compiled: a folder for each worker (an entry is not written in one go), and others for
# the commands that it starts.
FIRST = "TESTS_COMPILED" not in os.environ
COMPILED = os.environ.setdefault("TESTS_COMPILED", tempfile.mkdtemp(prefix="hsd-jax-compiled-") if FIRST else "")

CHOSEN = os.environ.get(host.POOL)
host.widen_pool(os.environ)
jax.devices()
if CHOSEN is None:
    del os.environ[host.POOL]
jax.config.update("jax_numpy_rank_promotion", "raise")
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")
os.environ["JAX_COMPILATION_CACHE_DIR"] = f"{COMPILED}/{WORKER}-commands"
jax.config.update("jax_compilation_cache_dir", f"{COMPILED}/{WORKER}")
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


@pytest.fixture(autouse=True)
def own_threads() -> Iterator[None]:
    """A command that ran in a test leaves no number of threads to runs that are started: last digits depend on it."""
    yield
    if CHOSEN is None:
        os.environ.pop(host.POOL, None)


def pytest_unconfigure() -> None:
    """The first process of the session removes the compiled programs."""
    if FIRST:
        shutil.rmtree(COMPILED, ignore_errors=True)


@pytest.fixture(scope="session")
def storage() -> Iterator[gcs_emulator.Cloud]:
    """One emulator for all tests of a process: the clients remember the address that they have found first."""
    with gcs_emulator.running() as cloud, pytest.MonkeyPatch.context() as patch:
        for name, value in cloud.environment.items():
            patch.setenv(name, value)
        yield cloud


@pytest.fixture
def gcs(storage: gcs_emulator.Cloud) -> Iterator[gcs_emulator.Cloud]:
    """An empty bucket `gs://bucket` without faults."""
    storage.rules.clear()
    storage.lose("")
    storage.seen.clear()
    yield storage
    storage.rules.clear()
