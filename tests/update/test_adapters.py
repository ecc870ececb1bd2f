"""A step that trains adapters is the step of the merged weights: its loss, and its gradient by the chain rule."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hsd_jax import methods
from hsd_jax.scoring.scorer import Scorer, padded_scorer
from hsd_jax.update.inputs import build_inputs, choose_peers
from hsd_jax.update.state import StepConfig, StepInputs, TrainState
from hsd_jax.update.step import build_targets, gradients, update
from hsd_jax.update.teacher import full_weights
from models import lora
from models.lora import Lora
from models.qwen3 import Params
from models.scan import LOCAL, Compute
from tests.support.method_cases import cheap_compilation
from tests.support.step_case import CONFIG, REWARDS, SCORER, Case, T, make_case, make_weights, settings

LORA = Lora(rank=2, alpha=3.0, targets=("q_proj", "o_proj", "down_proj"))
ADAPTED = padded_scorer(CONFIG, steps=T, how=Compute(placement=lora.merging(LORA.scale, LOCAL)))


@pytest.fixture(scope="module")
def case() -> Case:
    return make_case()


def adapters(seed: int) -> Params:
    """Adapters of which no matrix is zero."""
    rng, shapes = np.random.default_rng(seed), lora.shapes(LORA, CONFIG)["layers"]
    return {"layers": {name: jnp.asarray(0.2 * rng.standard_normal(s), jnp.float32) for name, s in shapes.items()}}


def dense(held: Params) -> Params:
    """The weights that adapters make of the base."""
    return lora.merged_model(LORA.scale, full_weights({"initial": make_weights()[0]}, held))


def state_of(setting: StepConfig, trained: Params, copies: dict[str, Params]) -> TrainState:
    memory = methods.start_memory(setting.method)
    return TrainState(trained, setting.optimizer.init(trained), copies, memory, jnp.zeros((), jnp.int32))


def inputs_of(setting: StepConfig, case: Case) -> StepInputs:
    rewards_PG = jnp.asarray(REWARDS)
    chosen = choose_peers(setting.method, case.problems, case.rollouts, rewards_PG, jax.random.key(5))
    return build_inputs(setting, case.frame, case.problems, case.rollouts, rewards_PG, chosen)


def loss_and_gradient(setting: StepConfig, scorer: Scorer, state: TrainState, inputs: StepInputs) -> Any:
    (loss, stats), grads = gradients(setting, scorer, state, build_targets(setting, state, inputs))
    return (loss, stats["kl_reference"]), grads


def test_loss_and_gradient_are_those_of_the_merged_weights(case: Case) -> None:
    """Student, moving teacher and reference: the base with the policy's adapters, with the teacher's, with none."""
    setting, base = settings("hsd", row={"teacher": "ema", "beta": 0.1}), make_weights()[0]
    own, moved = adapters(1), {"teacher": adapters(2)}

    @partial(jax.jit, compiler_options=cheap_compilation())
    def both(own: Params, moved: dict[str, Params]) -> Any:
        whole, chain = jax.vjp(dense, own)
        copies = {"initial": base} | {name: dense(copy) for name, copy in moved.items()}
        inputs = inputs_of(setting, case)
        seen = loss_and_gradient(setting, ADAPTED, state_of(setting, own, {"initial": base} | moved), inputs)
        wanted, grads = loss_and_gradient(setting, SCORER, state_of(setting, whole, copies), inputs)
        return seen, (wanted, chain(grads)[0])

    (seen, grads), (wanted, chained) = both(own, moved)
    assert jax.tree.structure(grads) == jax.tree.structure(own), "nothing of the base has a gradient"
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), seen, wanted)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5), grads, chained)
    assert all(float(jnp.abs(x).max()) > 1e-3 for x in jax.tree.leaves(chained))


def test_a_run_of_steps_learns_and_moves_the_adapters_alone(case: Case) -> None:
    """Towards a frozen teacher: the loss falls, the base keeps its bits, the optimizer knows adapters only."""
    setting, base = settings("hsd", row={"teacher": "frozen", "beta": 0.0}), make_weights()[0]
    fresh = lora.init(LORA, CONFIG, jax.random.key(1))
    state = state_of(setting, fresh, {"initial": base})
    go = jax.jit(
        lambda state: update(setting, ADAPTED, state, inputs_of(setting, case))[:2],
        compiler_options=cheap_compilation(),
    )
    losses = []
    for _ in range(30):
        state, metrics = go(state)
        losses.append(float(metrics["loss"]))
    assert losses[-1] < 0.8 * losses[0], losses
    jax.tree.map(np.testing.assert_array_equal, state.copies["initial"], base)
    assert jax.tree.structure(state.params) == jax.tree.structure(fresh)
    count = sum(x.size for x in jax.tree.leaves(fresh))
    assert sum(x.size for x in jax.tree.leaves(state.opt_state)) == 2 * count + 1


def test_all_weights_that_train_stand_for_themselves() -> None:
    """Then the initial weights beside them change nothing: the very arrays are used."""
    policy, initial = make_weights()
    whole = full_weights({"initial": initial}, policy)
    assert jax.tree.structure(whole) == jax.tree.structure(policy)
    assert all(a is b for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(policy), strict=True))
