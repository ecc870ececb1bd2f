"""The estimate of a step's seconds, against numbers worked out by hand, and the slices it is made for."""

import math

import jax
import pytest

from hsd_jax.errors import InputError
from hsd_jax.planning import roofline
from hsd_jax.planning.chips import parse_topology
from hsd_jax.planning.workload import Workload, planned_rows, response_lengths
from hsd_jax.scoring import batch_layout
from models import sharding
from tests.support.tiny_config import QWEN3_8B

WORK = Workload(
    problems=128, group=8, prompt=256, answer=64, mean=1536, spread=0.6, cap=4096, contexts=2, reference=True
)


def phases(topology: str, work: Workload = WORK, **changes: float) -> dict[str, roofline.Phase]:
    options = {"tensor": 4, "slots": 10**6, "update_flops": 0.0} | changes
    found = roofline.step_phases(QWEN3_8B, parse_topology(topology), work, **options)  # type: ignore[arg-type]
    return {phase.name: phase for phase in found}


def test_model_constants_are_those_of_the_released_8b() -> None:
    assert roofline.layer_params(QWEN3_8B) == 6_945_767_424
    assert roofline.head_params(QWEN3_8B) == 622_329_856
    assert roofline.kv_bytes(QWEN3_8B) == 147_456


def test_lengths_have_the_stated_mean_spread_and_cap() -> None:
    free = response_lengths(WORK.__class__(**{**vars(WORK), "cap": 10**9}), 100_000)
    mean = sum(free) / len(free)
    assert mean == pytest.approx(1536, rel=2e-3)
    assert math.sqrt(sum((n - mean) ** 2 for n in free) / len(free)) / mean == pytest.approx(0.6, rel=1e-2)
    assert max(response_lengths(WORK, 1024)) == 4096


def test_decoding_reads_the_weights_once_a_step_and_every_live_token() -> None:
    """All responses 1,000 tokens: 1,000 steps of weights / bandwidth, plus prompt and growing cache of 64 rows."""
    work = Workload(**{**vars(WORK), "mean": 1000, "spread": 1e-6})
    weights = (6_945_767_424 + 622_329_856) * 2 / 4 / 810e9
    cache = 64 * (256 * 1000 + 1000**2 / 2) * 147_456 / 4 / 810e9
    assert phases("v5e:8x8", work)["decode"].ideal == pytest.approx(1000 * weights + cache, rel=1e-4)


def test_few_slots_take_several_rounds() -> None:
    work = Workload(**{**vars(WORK), "mean": 1000, "spread": 1e-6})
    once, twice = (phases("v5e:8x8", work, slots=n)["decode"].ideal for n in (64, 32))
    weights = (6_945_767_424 + 622_329_856) * 2 / 4 / 810e9
    assert twice - once == pytest.approx(1000 * weights, rel=1e-4)


def test_refill_order_neither_loses_nor_invents_steps() -> None:
    lengths = response_lengths(WORK, 64)
    pieces = roofline._activity(lengths, 16)
    assert sum(steps * active for steps, active in pieces) == pytest.approx(sum(lengths))
    assert max(active for _, active in pieces) == 16


@pytest.mark.parametrize(
    ("topology", "ideal", "expected"),
    [("v5e:8x8", 36.7, 81), ("v5p:2x4x4", 19.4, 41), ("v5p:4x4x4", 12.5, 26), ("v6e:8x8", 14.8, 34)],
)
def test_the_step_agrees_with_an_independent_estimate(topology: str, ideal: float, expected: float) -> None:
    """A table worked out separately, from the same assumptions with a coarser model of attention and packing."""
    found = phases(topology).values()
    assert sum(p.ideal for p in found) == pytest.approx(ideal, rel=0.1)
    assert sum(p.expected for p in found) == pytest.approx(expected, rel=0.1)


def test_a_shared_teacher_prefix_saves_what_it_should() -> None:
    """Eight contexts of one group instead of two: about 1.8 times the teacher's operations at these lengths."""
    shared = roofline.scoring_flops(QWEN3_8B, WORK)["teacher"]
    own = roofline.scoring_flops(QWEN3_8B, Workload(**{**vars(WORK), "contexts": 8}))["teacher"]
    assert own / shared == pytest.approx(1.75, rel=0.1)


def test_without_teacher_and_reference_only_the_student_is_scored() -> None:
    work = Workload(**{**vars(WORK), "contexts": 0, "reference": False})
    assert set(roofline.scoring_flops(QWEN3_8B, work)) == {"student"}


def test_a_policy_scored_beforehand_costs_what_the_reference_does() -> None:
    passes = roofline.scoring_flops(QWEN3_8B, Workload(**{**vars(WORK), "reference": True, "old_policy": True}))
    assert passes["old policy"] == passes["reference"]


def test_more_chips_speed_up_the_update_but_not_the_tail() -> None:
    small, large = phases("v6e:8x8"), phases("v6e:16x16")
    name = "score and differentiate"
    assert small[name].ideal / large[name].ideal == pytest.approx(4)
    assert small["decode"].ideal / large["decode"].ideal < 1.5


def test_the_compiled_program_sets_the_expected_update() -> None:
    found = phases("v5p:4x4x4", update_flops=459e12)["score and differentiate"]
    assert found.expected == pytest.approx(1 / 0.6)


def test_topologies_know_their_cloud_names() -> None:
    for name, cloud, chips, hosts in [
        ("v5p:4x4x4", "v5p-128", 64, 16), ("v5p:2x4x4", "v5p-64", 32, 8), ("v5e:8x8", "v5litepod-64", 64, 16),
        ("v6e:16x16", "v6e-256", 256, 64), ("2*v6e:8x8", "v6e-64", 128, 32), ("v5e:2x2", "v5litepod-4", 4, 1),
        ("v6e:2x4", "v6e-8", 8, 1), ("v5e:1x1", "v5litepod-1", 1, 1), ("v5p:2x2x2", "v5p-16", 8, 2),
    ]:  # fmt: skip
        topology = parse_topology(name)
        assert (topology.cloud_name, topology.chips, topology.hosts, topology.title) == (cloud, chips, hosts, name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("v5p-128", "as a topology it is v5p:4x4x4"),
        ("v5litepod-64", "as a topology it is v5e:8x8"),
        ("v6e-64", "as a topology it is v6e:8x8"),
        ("v5x:8x8", "the nearest is 'v5"),
        ("v5p:8x8", "3 axes"),
        ("v6e:3x3", "even numbers"),
        ("v5p:1x1x4", "even numbers"),
        ("v6e-8", "as a topology it is v6e:2x4"),
        ("0*v6e:8x8", "unknown chip"),
        ("v5e", "looks like"),
        ("", "looks like"),
    ],
)
def test_other_names_are_refused_with_the_right_one(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_topology(text)


@pytest.mark.parametrize("contexts", [0, 1, 2, 8])
def test_planned_rows_hold_the_assumed_texts(contexts: int) -> None:
    """Nearly full rows on four devices, wide enough for a quarter of the batch; a teacher's row is the wider one."""
    mesh = sharding.make_mesh(1, -1, 2, jax.devices()[:8])
    rows = batch_layout.packed(QWEN3_8B, mesh, steps=4096, block=128)
    work = Workload(**{**vars(WORK), "contexts": contexts})
    plan = planned_rows(rows, work, 6144)
    assert len(plan.sizes) == (2 if contexts else 1) and plan.utilization > 0.8
    responses = sum(response_lengths(work, work.rollouts))
    assert all(4 * size.response_tokens >= responses for size in plan.sizes)
    if contexts > 1:
        assert plan.sizes[1].context_tokens > 2 * plan.sizes[0].context_tokens
