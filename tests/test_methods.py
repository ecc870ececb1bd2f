"""One table of tests for the table of methods: every row must pass each."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_update import REWARDS, SCORER, Case, case, settings, state_of, weights

from hsd_jax import config
from hsd_jax.errors import InputError
from hsd_jax.method_options import describe, resolve
from hsd_jax.methods import METHODS
from hsd_jax.update import choose_peers, update
from models.qwen3 import Params

__all__ = ["case", "weights"]


def run(method: str, case: Case, weights: tuple[Params, Params], rewards: np.ndarray = REWARDS, **changes: object):
    """One whole step; the answer block doubles as a reference solution."""
    setting = settings(method, **changes)
    solved = replace(case.problems, solution=case.problems.answer)
    state = state_of(setting, *weights)
    names = {"teacher": "teacher"} if setting.method.teacher in ("ema", "synced") else {}
    copies = state.copies | {name: jax.tree.map(jnp.array, weights[1]) for name in names}
    step = jax.jit(partial(update, setting, SCORER))
    rewards_PG = jnp.asarray(rewards)
    peers_PG = choose_peers(setting.method, solved, case.rollouts, rewards_PG, jax.random.key(5))
    return step(replace(state, copies=copies), solved, case.frame, case.rollouts, rewards_PG, peers_PG)


@pytest.fixture(scope="module", params=list(METHODS))
def stepped(request: pytest.FixtureRequest, case: Case, weights: tuple[Params, Params]):
    return request.param, run(request.param, case, weights)


def test_every_method_makes_a_finite_update(stepped, weights: tuple[Params, Params]) -> None:
    _, (state, metrics, trace) = stepped
    assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves((state.params, metrics)))
    assert float(metrics["grad_norm"]) > 0 and float(metrics["skipped"]) == 0
    changed = jax.tree.map(lambda a, b: bool((a != b).any()), state.params, weights[0])
    assert any(jax.tree.leaves(changed)) and int(state.step) == 1
    assert "teacher_logprob" in trace.stats or "teacher" not in METHODS[stepped[0]].streams


def test_permuting_a_group_permutes_the_result(stepped, case: Case, weights: tuple[Params, Params]) -> None:
    """Rules that do not depend on the order of a group ("first" does, and uniform draws are by index)."""
    name, (_, metrics, trace) = stepped
    if METHODS[name].reads.peer:
        pytest.skip("the peer's index is drawn, so another order is another draw")
    order = np.array([2, 0, 3, 1])
    shuffled = replace(case, rollouts=jax.tree.map(lambda x: x[:, order], case.rollouts))
    _, again, moved = run(name, shuffled, weights, REWARDS[:, order])
    assert float(again["loss"]) == pytest.approx(float(metrics["loss"]), rel=1e-5, abs=1e-7)
    logprob = np.asarray(trace.stats["student_logprob"])[:, order]
    np.testing.assert_allclose(moved.stats["student_logprob"], logprob, atol=1e-4)


@pytest.mark.parametrize("name", ["grpo", "dr_grpo", "gspo", "dapo", "rlsd", "rlrt"])
def test_groups_of_equal_rewards_give_policy_gradients_nothing(
    name: str, case: Case, weights: tuple[Params, Params]
) -> None:
    row = {"beta": 0.0, "shaping": METHODS["grpo"].shaping}
    _, metrics, _ = run(name, case, weights, np.ones_like(REWARDS), row=row)
    assert float(metrics["loss"]) == 0.0 and float(metrics["grad_norm"]) == 0.0


def test_the_hybrid_at_its_ends_is_its_parts(case: Case, weights: tuple[Params, Params]) -> None:
    for share, part in ((0.0, "grpo"), (1.0, "opsd")):
        row = {"distil": share, "policy": 1 - share}
        _, hybrid, _ = run("grpo_opsd", case, weights, row=row)
        _, alone, _ = run(part, case, weights)
        assert float(hybrid["loss"]) == pytest.approx(float(alone["loss"]), rel=1e-5)
        assert float(hybrid["grad_norm"]) == pytest.approx(float(alone["grad_norm"]), rel=1e-4)


def test_an_ema_teacher_moves_as_the_closed_form(case: Case, weights: tuple[Params, Params]) -> None:
    state, _, _ = run("sdpo", case, weights)
    wanted = jax.tree.map(lambda old, new: 0.95 * old + 0.05 * new, weights[1], state.params)
    for a, b in zip(jax.tree.leaves(state.copies["teacher"]), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_skipped_first_tokens_have_no_weight(case: Case, weights: tuple[Params, Params]) -> None:
    _, _, trace = run("sdft", case, weights)
    assert not np.asarray(trace.weights_PGT)[..., :3].any() and np.asarray(trace.weights_PGT)[..., 3:].any()


def test_options_change_the_row_and_are_described() -> None:
    method = resolve(config.Method(name="hsd", fallback=False, teacher="frozen", divergence="jsd", beta=0.0))
    shown = describe(method)
    assert (shown["distilled"], shown["teacher"], shown["divergence"]) == ("with_peer", "frozen", "jsd")
    assert resolve(config.Method(name="grpo_opsd", coefficient=0.25)).policy == 0.75


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (config.Method(name="hds"), "nearest is 'hsd'"),
        (config.Method(name="grpo_opsd", coefficient=1.5), "must lie in"),
        (config.Method(name="hsd", beta=-1.0), "method.beta must be at least 0"),
    ],
)
def test_impossible_options_are_refused(given: config.Method, message: str) -> None:
    with pytest.raises(InputError, match=message):
        resolve(given)


@pytest.mark.parametrize(
    ("given", "option"),
    [
        (config.Method(name="grpo", teacher="frozen"), "method.teacher"),
        (config.Method(name="opsd", peer_rule="first"), "method.peer-rule"),
        (config.Method(name="hsd", coefficient=0.5), "method.coefficient"),
        (config.Method(name="hsd", teacher_rate=0.1), "method.teacher-rate"),
    ],
)
def test_options_without_effect_are_named_and_change_nothing(
    given: config.Method, option: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert resolve(given) == METHODS[given.name]
    assert f"{option} has no effect on '{given.name}'" in caplog.text
