"""The estimate of a step's seconds, against numbers worked out by hand, and the slices it is made for."""

import math
from dataclasses import replace

import jax
import numpy as np
import pytest

from hsd_jax.config import Config, Model, Sampling
from hsd_jax.errors import InputError
from hsd_jax.planning import decoding, roofline
from hsd_jax.planning.chips import parse_topology
from hsd_jax.planning.measured import Phase
from hsd_jax.planning.workload import Workload, drawn_rows, planned_rows, response_lengths
from hsd_jax.sampler.buckets import make_sampler_config
from hsd_jax.sampler.state import Capacity
from hsd_jax.scoring import batch_layout
from models import sharding
from tests.support.tiny_config import QWEN3_8B

WORK = Workload(
    problems=128, group=8, prompt=256, answer=64, mean=1536, spread=0.6, caps=(4096,), contexts=2, reference=True
)
CONFIG = Config(model=Model(path="weights/Qwen3-8B-Base"), sampling=Sampling(tensor=4))


def phases(topology: str, work: Workload = WORK, *, slots: int = 0, **seconds: float) -> dict[str, Phase]:
    config = replace(CONFIG, sampling=replace(CONFIG.sampling, slots=slots))
    found = roofline.phases_of(config, QWEN3_8B, parse_topology(topology), work, seconds)
    return {phase.name: phase for phase in found}


def test_model_constants_are_those_of_the_released_8b() -> None:
    assert roofline.layer_params(QWEN3_8B) == 6_945_767_424
    assert roofline.head_params(QWEN3_8B) == 622_329_856
    assert roofline.kv_bytes(QWEN3_8B) == 147_456


def test_lengths_have_the_stated_mean_spread_and_cap() -> None:
    free = response_lengths(WORK.__class__(**{**vars(WORK), "caps": (10**9,)}), 100_000)
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
    ("topology", "ideal"), [("v5e:8x8", 36.7), ("v5p:2x4x4", 19.4), ("v5p:4x4x4", 12.5), ("v6e:8x8", 14.8)]
)
def test_the_limits_agree_with_an_independent_estimate(topology: str, ideal: float) -> None:
    """A table worked out separately, from the same assumptions with a coarser model of attention and packing."""
    assert sum(p.ideal for p in phases(topology).values()) == pytest.approx(ideal, rel=0.1)


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
    name = "score, differentiate, update"
    assert small[name].ideal / large[name].ideal == pytest.approx(4)
    assert small["decode"].ideal / large["decode"].ideal < 1.5


def test_compiled_programs_set_what_is_expected() -> None:
    found = phases("v5p:4x4x4", update=19.5, exchanges=1.25, prefill=0.5)
    assert found["score, differentiate, update"].expected == 19.5
    assert found["exchanges of the update"].expected == 1.25
    assert found["prefill"].expected == pytest.approx(1.0), "8 questions a host, 4 of them read together"


def test_decoding_takes_the_slowest_host_at_the_compiled_share_of_the_bandwidth() -> None:
    """A compiled decode step of the largest cache at half the bandwidth: twice what the slowest host reads."""
    topology = parse_topology("v6e:8x8")
    program = decoding.sampler_of(CONFIG, QWEN3_8B, topology, WORK)
    rows, length = program.shapes[-1]
    weights, ring = (6_945_767_424 + 622_329_856) * 2 / 4, rows * length * 147_456 / 4
    at_limit = 8 * (weights + ring) / 1638e9
    hosts = decoding.hosts(program, WORK, topology.hosts)
    slow = max(hosts, key=lambda host: host.places)
    reads = slow.steps * weights + slow.places * 147_456 / 4
    assert phases("v6e:8x8", decode=2 * at_limit)["decode"].expected == pytest.approx(2 * reads / 1638e9)
    assert slow.places > 1.1 * sum(host.places for host in hosts) / len(hosts)


def test_a_replay_counts_what_a_sampler_of_one_shape_reads() -> None:
    """Four slots, three questions of two rollouts: the ring of all slots at every step, the keys of those that run."""
    program = make_sampler_config(QWEN3_8B, Capacity(16, 48, 4, 16), vocabulary=9, pad_id=0)
    program = replace(program, shapes=((4, 64),))
    length_PG = np.array([[8, 24], [16, 40], [24, 8]])
    found = decoding.replay(program, 5, length_PG)
    assert found.steps % 8 == 0 and found.places == found.steps * 4 * 64
    # a token is written beside the keys of the prompt but its last, and those of the response before it
    assert found.live == sum(4 + t for n in length_PG.reshape(-1) for t in range(n))
    assert found.used == length_PG.sum() / (found.steps * 4)
    assert found.prefills == 3


def test_lengths_of_a_question_are_drawn_alike_and_cut_by_kind() -> None:
    work = replace(WORK, problems=4000, caps=(1000, 3000))
    length_PG = decoding.draw_lengths(work, np.random.default_rng(0))
    assert length_PG.min() >= 1
    assert (length_PG[0::2].max(), length_PG[1::2].max()) == (1000, 3000)
    free = np.log(decoding.draw_lengths(replace(work, caps=(10**9,)), np.random.default_rng(0)))
    assert np.corrcoef(free[:, 0], free[:, 1])[0, 1] == pytest.approx(0.5, abs=0.05)
    assert np.exp(free).mean() == pytest.approx(1536, rel=0.03)


def test_rows_of_drawn_steps_are_counted_as_a_run_would_meet_them() -> None:
    mesh = sharding.make_mesh(1, -1, 2, jax.devices()[:8])
    rows = batch_layout.packed(QWEN3_8B, mesh, steps=4096, block=128)
    work = replace(WORK, problems=16)
    found = drawn_rows(rows, work, 6144, 6)
    assert 1 <= found.programs <= 6 and found.places <= found.widest
    assert found == drawn_rows(rows, work, 6144, 6) and found.filled < planned_rows(rows, work, 6144).utilization
    even = drawn_rows(rows, replace(work, spread=1e-6), 6144, 6)
    assert (even.programs, even.widest) == (1, 1.0), "equal lengths: the rows that were compiled"
    windows = drawn_rows(batch_layout.padded(QWEN3_8B, context=6144, steps=4096), work, 6144, 2)
    assert windows.programs == 0 and windows.widest == 1.0


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
