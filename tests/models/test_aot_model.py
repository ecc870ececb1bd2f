"""The model compiled for TPU slices ahead of time, on any machine: what lies where, in the compiler's own count."""

import math
import os
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from models.attention import attention_for
from models.qwen3 import Params, Qwen3Config, forward
from models.scan import Compute
from models.sharding import abstract_params, batch_sharding, make_mesh, placement
from tests.support.tiny_config import QWEN3_8B, QWEN3_32B

pytest.importorskip("libtpu", reason="compiling for TPU ahead of time needs libtpu")
pytestmark = pytest.mark.aot


def tpu_devices(topology: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    from jax.experimental import topologies

    monkeypatch.setitem(os.environ, "TPU_SKIP_MDS_QUERY", "1")  # no metadata server here
    monkeypatch.setitem(os.environ, "ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return topologies.get_topology_desc(platform="tpu", topology_name=topology).devices


@pytest.mark.parametrize("topology", ["v5p:4x4x4", "v6e:8x8"])
def test_parameter_bytes_per_chip(topology: str, monkeypatch: pytest.MonkeyPatch):
    """8B and 32B, float32, tiling included: within 3 % of total / chips."""
    devices = tpu_devices(topology, monkeypatch)
    mesh = make_mesh(1, len(devices), 1, devices)
    for config in (QWEN3_8B, QWEN3_32B):
        shapes = abstract_params(config, mesh, jnp.float32)
        total = sum(4 * math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))
        double = jax.jit(lambda params: jax.tree.map(lambda x: x * 2, params), donate_argnums=0)
        memory = double.lower(shapes).compile().memory_analysis()
        assert memory.argument_size_in_bytes == pytest.approx(total / len(devices), rel=0.03)


def test_offload_moves_layer_inputs_to_the_host_and_nothing_else(monkeypatch: pytest.MonkeyPatch):
    """A name at the wrong place would offload 0 bytes without a warning."""
    mesh = make_mesh(1, 4, 1, tpu_devices("v6e:2x2", monkeypatch))
    config = Qwen3Config(2048, 512, 512, 6, 4, 4, 128, 1e6, 1e-6, True, 4096)
    tokens = jax.ShapeDtypeStruct((4, 512), jnp.int32, sharding=batch_sharding(mesh))

    how = Compute(jnp.bfloat16, "offload", placement(config, mesh, jnp.bfloat16))

    def loss(params: Params, tokens: jax.Array) -> jax.Array:
        hidden = forward(config, params, tokens, tokens >= 0, how=how)
        return jnp.mean(hidden**2)

    step = jax.jit(jax.grad(loss))
    memory = step.lower(abstract_params(config, mesh, jnp.float32), tokens).compile().memory_analysis()
    assert memory.host_temp_size_in_bytes == config.layers * 512 * config.width * 2  # bfloat16, one row per chip


def test_kernel_compiles_forward_and_backward_on_a_mesh(monkeypatch: pytest.MonkeyPatch):
    """Score matrices are never stored: 16 MiB of them per head would be."""
    mesh = make_mesh(1, 2, 2, tpu_devices("v6e:2x2", monkeypatch))
    attention = attention_for("tpu", mesh)
    rows, heads = P(("data", "fsdp")), P(("data", "fsdp"), None, "tensor")

    def like(shape: tuple[int, ...], dtype: Any, spec: P) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, spec))

    q, k = like((2, 2048, 8, 128), jnp.bfloat16, heads), like((2, 2048, 4, 128), jnp.bfloat16, heads)
    segments = like((2, 2048), jnp.int32, rows)
    gradient = jax.grad(lambda q, k, v, s: jnp.sum(attention(q, k, v, s, s).astype(jnp.float32)), argnums=(0, 1, 2))
    memory = jax.jit(gradient).lower(q, k, k, segments).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 16 << 20
