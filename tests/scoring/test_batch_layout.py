"""The step is the same whatever its layout: windows or packed rows, any split of the batch, any mesh."""

import json
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hsd_jax.methods import View
from hsd_jax.methods.view_options import READS
from hsd_jax.scoring import batch_layout
from hsd_jax.scoring.bin_packing import Lengths, Split
from hsd_jax.scoring.fused_loss import over_mesh
from hsd_jax.scoring.packing import Sizes
from hsd_jax.update.compiled import (
    compiled_sizes,
    compiled_step,
    jit_inputs,
    jit_update,
    restore_compiled_sizes,
    update_for,
)
from models import sharding
from models.qwen3 import Params
from tests.support.step_case import CONFIG, REWARDS, Case, P, T, make_case, make_weights, settings, state_of

BLOCK = 8


@pytest.fixture(scope="module")
def case() -> Case:
    return make_case()


@pytest.fixture(scope="module")
def weights() -> tuple[Params, Params]:
    return make_weights()


def run(kind: str, devices: int, case: Case, weights: tuple[Params, Params], *, parts: int = 1, **row: Any):
    """(plan, state, metrics, trace) of one HSD step on the given number of devices, two of them for `tensor`."""
    tensor = min(devices, 2)
    mesh = sharding.make_mesh(1, -1, tensor, jax.devices()[:devices])
    setting = settings("hsd", row=row, spread=over_mesh(mesh, chunk=16))
    setting = replace(setting, micro_batches=parts)
    rows: Any = batch_layout.padded(CONFIG, context=32, steps=T)
    if kind == "packed":
        split = Split(setting.method.minibatches, parts)
        rows = batch_layout.packed(CONFIG, mesh, steps=T, block=BLOCK, split=split)
    whole = sharding.replicated(mesh)
    state, key = jax.device_put((state_of(setting, *weights), jax.random.key(5)), whole)
    given = case.problems, case.rollouts, jnp.asarray(REWARDS)
    problems, rollouts, rewards_PG = jax.device_put(given, sharding.batch_sharding(mesh))
    inputs, lengths = jit_inputs(setting, case.frame, mesh)(problems, rollouts, rewards_PG, key)
    length_PG, contexts = jax.device_get(lengths)
    plan = rows.plan(length_PG, [Lengths(*of) for of in contexts], [])
    step = jit_update(setting, rows.scorer(plan.sizes), mesh)
    order_P = jax.device_put(plan.order_P, whole)
    return plan, *step(state, inputs, order_P)


@pytest.fixture(scope="module")
def expected(case: Case, weights: tuple[Params, Params]):
    return run("padded", 1, case, weights)


def same(seen: Any, wanted: Any, case: Case) -> None:
    """State, metrics and what was measured at real tokens; the order of the problems as well."""
    _, state, metrics, trace = jax.device_get(seen)
    _, state_w, metrics_w, trace_w = jax.device_get(wanted)
    for name, value in metrics_w.items():
        np.testing.assert_allclose(metrics[name], value, atol=1e-5, rtol=1e-5, err_msg=name)
    for a, b in zip(jax.tree.leaves(state.params), jax.tree.leaves(state_w.params), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-5)
    jax.tree.map(np.testing.assert_array_equal, trace.inputs, trace_w.inputs)
    valid_PGT = np.arange(T)[None, None] < np.asarray(case.rollouts.length_PG)[..., None]
    for name, value in trace_w.stats.items():
        np.testing.assert_allclose(trace.stats[name][valid_PGT], value[valid_PGT], atol=1e-5, rtol=1e-4, err_msg=name)


def test_packed_rows_make_the_same_step(expected, case: Case, weights: tuple[Params, Params]) -> None:
    seen = run("packed", 1, case, weights)
    assert seen[0].utilization > expected[0].utilization and sorted(seen[0].order_P) == list(range(P))
    same(seen, expected, case)


def test_packed_rows_of_two_micro_batches_on_four_devices_make_the_same_step(
    expected, case: Case, weights: tuple[Params, Params]
) -> None:
    same(run("packed", 4, case, weights, parts=2), expected, case)


def test_minibatches_keep_their_problems(case: Case, weights: tuple[Params, Params]) -> None:
    same(run("packed", 1, case, weights, minibatches=2), run("padded", 1, case, weights, minibatches=2), case)


def test_contexts_of_single_rollouts_are_packed_as_well(case: Case, weights: tuple[Params, Params]) -> None:
    seen, wanted = (
        run(kind, 1, case, weights, views=(("teacher", View("teacher", READS["peer_or_feedback"])),))
        for kind in ("packed", "padded")
    )
    assert seen[3].inputs.views[0].length_PM.shape == REWARDS.shape and bool(
        (seen[3].inputs.read.has_context_PG > REWARDS).any()
    )
    same(seen, wanted, case)


def test_a_continued_run_knows_the_sizes_it_had_met() -> None:
    """Sizes travel through a checkpoint's JSON, in their order, without compiling anything."""
    mesh = sharding.make_mesh(1, 1, 1, jax.devices()[:1])
    rows = batch_layout.packed(CONFIG, mesh, steps=T, block=BLOCK)
    met = [(Sizes(64, 32, 9, 8), Sizes(128, 32, 20, 8)), (Sizes(64, 64, 12, 8), Sizes(128, 64, 30, 8))]
    first, second = (compiled_step(settings("hsd"), rows, make_case().frame, mesh) for _ in range(2))
    for sizes in met:
        update_for(first, sizes)
    restore_compiled_sizes(second, json.loads(json.dumps(compiled_sizes(first))))
    assert list(second.updates) == met
