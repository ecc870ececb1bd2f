"""The sharding table: what it yields, what it refuses, and that a mesh changes no number."""

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from hsd_jax.config import Config, Data, Optimizer
from hsd_jax.errors import InputError
from hsd_jax.methods.paper import HSD
from hsd_jax.setup.validation import check_mesh
from models import hf
from models.attention import on_mesh, reference_attention
from models.qwen3 import Params, Qwen3Config, forward, logits, params_of
from models.scan import Compute
from models.sharding import (
    RULES,
    _grid,
    abstract_params,
    batch_places,
    batch_sharding,
    make_mesh,
    param_shardings,
    placement,
    spec_of,
)
from tests.support.random_qwen3 import hf_config, hf_weights, write_hf
from tests.support.tiny_config import QWEN3_8B, QWEN3_32B

RAW = hf_config(vocab_size=96)
CONFIG = Qwen3Config.from_hf(RAW)


def test_the_table_reads_axes_off_names():
    assert spec_of("q_LDNH") == P(None, "fsdp", "tensor", None)
    assert spec_of("embed_VD") == P("tensor", "fsdp")
    assert spec_of("down_LFD") == P(None, "tensor", "fsdp")


def test_mesh_sizes():
    assert dict(make_mesh(2, -1, 2).shape) == {"data": 2, "fsdp": 2, "tensor": 2}
    with pytest.raises(InputError, match=r"mesh data=3 x fsdp=1 x tensor=2 does not cover the 8 devices"):
        make_mesh(3, 1, 2)
    with pytest.raises(InputError, match=r"data=-1 x fsdp=-1"):
        make_mesh(-1, -1, 1)
    with pytest.raises(InputError, match="positive"):
        make_mesh(0, 1, 8)


def test_slices_lie_along_data():
    """Devices as the TPU runtime describes them: two slices of 2 x 2 chips."""
    devices = [
        SimpleNamespace(
            id=4 * s + 2 * y + x, slice_index=s, coords=(x, y, 0), core_on_chip=0, device_kind="TPU v6 lite",
            platform="tpu", process_index=s,
        )
        for s in range(2) for y in range(2) for x in range(2)
    ]  # fmt: skip
    grid = _grid((2, 2, 2), devices)
    assert [{d.slice_index for d in part.flat} for part in grid] == [{0}, {1}]
    with pytest.raises(InputError, match=r"mesh.data is 1, .* number of slices \(2\).* --mesh.data 2"):
        _grid((1, 4, 2), devices)


def of_processes(rows):
    """A mesh-like record: the process of every device, [rows, tensor]."""
    devices = np.array([[SimpleNamespace(process_index=p) for p in row] for row in rows])
    return SimpleNamespace(devices=devices, shape={"data": 1, "fsdp": len(rows), "tensor": devices.shape[1]})


def test_problems_are_found_where_their_process_holds_rows():
    assert batch_places(make_mesh(1, 4, 2), 8).tolist() == list(range(8))
    in_turns = of_processes([[1, 1], [0, 0], [1, 1], [0, 0]])
    assert batch_places(in_turns, 8).tolist() == [2, 3, 6, 7, 0, 1, 4, 5]


def test_a_row_of_several_processes_is_refused():
    config = Config(data=Data(problems_per_step=4), optimizer=Optimizer(micro_batches=1))
    check_mesh(config, HSD, of_processes([[0, 0], [1, 1]]))
    with pytest.raises(InputError, match=r"mesh.tensor \(2\) spreads a row over the chips of several hosts"):
        check_mesh(config, HSD, of_processes([[0, 1], [0, 1]]))


def test_what_does_not_divide_is_named_with_shape_and_axis():
    with pytest.raises(InputError) as error:
        param_shardings(CONFIG, make_mesh(1, 1, 8))
    for named in (
        "q_LDNH [2, 32, 4, 16]: axis N = 4 is not divisible by mesh axis tensor = 8",
        "k_LDKH [2, 32, 2, 16]: axis K = 2 is not divisible by mesh axis tensor = 8",
    ):
        assert named in str(error.value)
    odd = Qwen3Config.from_hf(hf_config(vocab_size=97))
    with pytest.raises(InputError, match=r"embed_VD \[97, 32\]: axis V = 97 is not divisible by mesh axis tensor = 2"):
        param_shardings(odd, make_mesh(2, 2, 2))


def test_colliding_and_unknown_mesh_axes_are_refused():
    with pytest.raises(InputError, match=r"gate_LDF \[2, 32, 48\]: axes D and F are both mapped to mesh axis 'fsdp'"):
        param_shardings(CONFIG, make_mesh(2, 2, 2), {**RULES, "F": "fsdp"})
    with pytest.raises(InputError, match=r"axis F is mapped to 'expert', the mesh has \('data', 'fsdp', 'tensor'\)"):
        param_shardings(CONFIG, make_mesh(2, 2, 2), {**RULES, "F": "expert"})


@pytest.mark.parametrize("config", [QWEN3_8B, QWEN3_32B], ids=["8B", "32B"])
def test_every_parameter_is_split_over_all_chips(config: Qwen3Config):
    """All but the head norms (H alone): no chip holds more than its share."""
    mesh = jax.sharding.AbstractMesh((1, 16, 4), ("data", "fsdp", "tensor"))
    shapes = abstract_params(config, mesh, jnp.float32)
    total = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))
    held = sum(math.prod(leaf.sharding.shard_shape(leaf.shape)) for leaf in jax.tree.leaves(shapes))
    assert total / 64 <= held <= 1.001 * total / 64


def mean_square(params: Params, tokens: jax.Array, **how: object) -> jax.Array:
    hidden = forward(CONFIG, params, tokens, tokens >= 4, **how)  # type: ignore[arg-type]
    return jnp.mean(logits(params, hidden) ** 2)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hf(tmp_path_factory.mktemp("model"), RAW, hf_weights(RAW))


@pytest.fixture(scope="module")
def tokens() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 96, (8, 10)).astype(np.int32)


@pytest.fixture(scope="module")
def alone(directory: Path, tokens: np.ndarray) -> tuple:
    """Loss and gradient on one device."""
    return jax.jit(jax.value_and_grad(mean_square))(params_of(hf.load(directory)), jnp.asarray(tokens))


@pytest.mark.parametrize("how", ["left to the partitioner", "placed", "placed, kernels by shard_map"])
def test_mesh_2x2x2_equals_one_device(directory: Path, tokens: np.ndarray, alone: tuple, how: str):
    mesh = make_mesh(2, 2, 2)
    place = Compute(placement=placement(CONFIG, mesh, jnp.float32))
    options: dict = {} if how.startswith("left") else {"how": place}
    if "shard_map" in how:
        options = {"attention": on_mesh(reference_attention, mesh), "how": replace(place, remat="full")}
    params = params_of(hf.load(directory, mesh=mesh))
    step = jax.jit(jax.value_and_grad(partial(mean_square, **options)))
    loss, gradient = step(params, jax.device_put(tokens, batch_sharding(mesh)))
    np.testing.assert_allclose(loss, alone[0], rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), alone[1], gradient)
    assert gradient["layers"]["q_LDNH"].sharding.spec == P(None, "fsdp", "tensor")


def test_facade_on_a_mesh_equals_one_device(directory: Path, tokens: np.ndarray):
    wanted = hf.load(directory)(jnp.asarray(tokens))
    got = hf.load(directory, mesh=make_mesh(2, 2, 2))(jnp.asarray(tokens))
    np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_gathers_move_the_compute_dtype(directory: Path, tokens: np.ndarray):
    """Weights are cast, then gathered: half the bytes. The embedding table is never gathered."""
    mesh = make_mesh(1, 8, 1)
    how = Compute(jnp.bfloat16, placement=placement(CONFIG, mesh, jnp.bfloat16))
    run = jax.jit(partial(forward, CONFIG, how=how))
    shapes = abstract_params(CONFIG, mesh, jnp.float32)
    text = run.lower(shapes, jnp.asarray(tokens), jnp.asarray(tokens) >= 0).as_text()
    weights = [line for line in text.splitlines() if "sharding_constraint" in line and "tensor<8x10x" not in line]
    matrices = [line for line in weights if line.rsplit("tensor<", 1)[1].count("x") > 1]
    assert len(matrices) == 2 * 7 and all(line.endswith("xbf16>") for line in matrices)
    assert [line.split("->")[1] for line in text.splitlines() if "all_gather" in line] == [" tensor<8x10xi32>"]
