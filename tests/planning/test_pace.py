"""What a running step is expected to take: the estimate of its plan, for the slice that the devices are."""

import importlib.util
from types import SimpleNamespace
from typing import Any

import pytest

from hsd_jax.methods import METHODS
from hsd_jax.planning import aot, pace, roofline
from hsd_jax.planning.chips import parse_topology
from hsd_jax.planning.workload import workload
from hsd_jax.runtime import cli
from tests.support.paths import ROOT
from tests.support.tiny_config import QWEN3_8B

needs_libtpu = pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="needs libtpu")


@needs_libtpu
@pytest.mark.aot
@pytest.mark.parametrize("name", ["v5e:2x4", "v5p:2x2x1", "v6e:2x4"])
def test_a_slice_is_known_by_what_its_chips_say_they_are(name: str) -> None:
    topology = pace.topology_of(aot.devices(parse_topology(name)))
    assert topology == parse_topology(name)


def devices(kind: str, *shape: int, slices: int = 1) -> list[Any]:
    """As JAX lists those of a TPU slice."""
    x, y, z = (*shape, 1)[:3]
    coords = [(i, j, k) for k in range(z) for j in range(y) for i in range(x)]
    return [SimpleNamespace(device_kind=kind, coords=c, slice_index=s) for s in range(slices) for c in coords]


@pytest.mark.parametrize(
    ("kind", "shape", "slices", "meant"),
    [
        ("TPU v5", (4, 4, 4), 1, "v5p:4x4x4"),
        ("TPU v5 lite", (8, 8), 1, "v5e:8x8"),
        ("TPU v6 lite", (8, 8), 2, "2*v6e:8x8"),
    ],
)
def test_the_slice_is_read_off_its_devices(kind: str, shape: tuple[int, ...], slices: int, meant: str) -> None:
    found = pace.topology_of(devices(kind, *shape, slices=slices))
    assert found == parse_topology(meant)


def test_phases_are_expected_to_take_what_the_plan_says_for_the_lengths_sampled() -> None:
    parts: Any = SimpleNamespace(
        config=cli.load_config(str(ROOT / "configs" / "hsd_qwen3_8b_v5p128.py")), model=QWEN3_8B, method=METHODS["hsd"]
    )
    expected = pace.pace(parts, devices("TPU v5", 4, 4, 4))
    topology, work = parse_topology("v5p:4x4x4"), workload(parts.config, parts.method, mean=1024, prompt=0)
    phases = roofline.phases_of(parts.config, QWEN3_8B, topology, work)
    found = expected(1000, {})  # rounded to an eighth of an octave
    assert found.keys() == {"plan/sample", "plan/update"}
    assert sum(found.values()) == pytest.approx(sum(phase.expected for phase in phases))
    assert expected(2000, {})["plan/sample"] > 1.5 * found["plan/sample"]
    assert expected(0.0, {}) == {} and pace.pace(parts, devices("cpu", 1, 1))(1000, {"update": 1.0}) == {}


def test_shares_of_the_limits_are_useful_work_over_peak_and_time() -> None:
    """MFU by hand: 2 operations a weight and token forward, 3 times that for what is differentiated, and attention."""
    parts: Any = SimpleNamespace(
        config=cli.load_config(str(ROOT / "configs" / "hsd_qwen3_8b_v5p128.py")), model=QWEN3_8B, method=METHODS["hsd"]
    )
    mean, seconds = 1024.0, 40.0
    found = pace.pace(parts, devices("TPU v5", 4, 4, 4))(mean, {"update": seconds, "sample": 80.0})
    work = workload(parts.config, parts.method, mean=mean, prompt=0)
    flops = sum(roofline.scoring_flops(QWEN3_8B, work).values())
    assert found["speed/update_mfu"] == pytest.approx(flops / (64 * 459e12) / seconds)
    assert 2 * roofline.layer_params(QWEN3_8B) * work.rollouts * mean * 5 < flops, "student (3), teacher, reference"
    twice = pace.pace(parts, devices("TPU v5", 4, 4, 4))(mean, {"update": seconds / 2, "sample": 40.0})
    assert twice["speed/sample_bandwidth"] == pytest.approx(2 * found["speed/sample_bandwidth"])
