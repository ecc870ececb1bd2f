"""Two processes with two devices each load, compute and save the same model as one process with one device."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from models import hf
from models.qwen3 import forward, logits, params_of
from tests.support.paths import ROOT
from tests.support.random_qwen3 import hf_config, hf_weights, write_hf

WORKER = """
import sys
from pathlib import Path
import jax, numpy as np
rank, port, source, out = int(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4])
jax.distributed.initialize(f"localhost:{port}", 2, rank)
from jax.experimental import multihost_utils
import jax.numpy as jnp
from models.scan import Compute
from models.sharding import batch_sharding, make_mesh, placement
from models import hf
from models.qwen3 import forward, logits, params_of
mesh = make_mesh(1, 2, 2)
model = hf.load(source, mesh=mesh)
params = params_of(model)
assert not params["embed_VD"].is_fully_addressable
rows = np.load(out / "tokens.npy")
tokens = jax.make_array_from_callback(rows.shape, batch_sharding(mesh), lambda index: rows[index])
how = Compute(placement=placement(model.config, mesh, jnp.float32))
run = jax.jit(lambda p, t: logits(p, forward(model.config, p, t, t >= 4, how=how)))
got = multihost_utils.process_allgather(run(params, tokens), tiled=True)
hf.save(model, out / "copy")
if rank == 0:
    np.save(out / "logits.npy", got)
multihost_utils.sync_global_devices("done")
"""


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The source directory and what two processes made of it."""
    out = tmp_path_factory.mktemp("processes")
    config = hf_config(vocab_size=96)
    source = write_hf(out / "model", config, hf_weights(config))
    np.save(out / "tokens.npy", np.random.default_rng(5).integers(0, 96, (4, 10)).astype(np.int32))
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-c", WORKER]
    arguments = [str(port), str(source), str(out)]
    workers = [
        subprocess.Popen([*command, str(rank), *arguments], env=environment, stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    try:
        errors = [worker.communicate(timeout=240)[1] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert [worker.returncode for worker in workers] == [0, 0], "\n".join(errors)[-4000:]
    return source, out


def test_logits_equal_one_device(both: tuple[Path, Path]):
    source, out = both
    model = hf.load(source)
    tokens = jnp.asarray(np.load(out / "tokens.npy"))
    run = jax.jit(lambda p, t: logits(p, forward(model.config, p, t, t >= 4)))
    np.testing.assert_allclose(np.load(out / "logits.npy"), run(params_of(model), tokens), atol=1e-5)


def test_saved_weights_are_the_same_bits(both: tuple[Path, Path]):
    source, out = both
    wanted, got = (load_file(d / "model.safetensors") for d in (source, out / "copy"))
    assert wanted.keys() == got.keys()
    assert all(value.tobytes() == got[name].tobytes() for name, value in wanted.items())
