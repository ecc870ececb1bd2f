"""What a run is made of: the learning rate of each update, windows within the model's positions, the first state."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hsd_jax.config import Config, Data, Lora, Model, Sampling
from hsd_jax.errors import InputError
from hsd_jax.methods import METHODS
from hsd_jax.planning.abstract_args import state_of
from hsd_jax.setup import validation
from hsd_jax.setup.components import RunConfig, initial_state, learning_rates
from hsd_jax.update import frozen
from models import lora
from models.qwen3 import Qwen3Config, param_shapes
from models.sharding import make_mesh
from tests.support.paths import TINY_MODEL


@pytest.mark.parametrize("warmup", [2, 5])
def test_the_rate_rises_from_the_first_update_and_then_stays(warmup: int) -> None:
    schedule = learning_rates(3.0, warmup)
    assert callable(schedule)
    rates = [float(jnp.asarray(schedule(updates_before))) for updates_before in range(8)]
    np.testing.assert_allclose(rates, [3.0 * min(1, n / warmup) for n in range(1, 9)], rtol=1e-6)


@pytest.mark.parametrize("warmup", [0, 1])
def test_without_warmup_the_rate_is_constant(warmup: int) -> None:
    assert learning_rates(3.0, warmup) == 3.0


@pytest.mark.parametrize(
    ("prompt", "context", "response", "code", "named"),
    [
        (50, 60, 51, 0, "data.prompt-tokens 50 and responses of 51"),
        (10, 60, 41, 0, "data.context-tokens 60 and responses of 41"),
        (10, 60, 40, 45, "data.context-tokens 60 and responses of 45"),
    ],
)
def test_windows_beyond_the_model_positions_are_refused(
    prompt: int, context: int, response: int, code: int, named: str
) -> None:
    data = Data(prompt_tokens=prompt, context_tokens=context)
    config = Config(data=data, sampling=Sampling(response_tokens=response, code_response_tokens=code))
    with pytest.raises(InputError, match=named):
        validation.check_positions(config, 100)


def test_windows_that_just_fit_are_accepted() -> None:
    config = Config(data=Data(prompt_tokens=50, context_tokens=60), sampling=Sampling(response_tokens=40))
    validation.check_positions(config, 100)


def test_the_frozen_copy_is_the_weights_as_the_model_reads_them() -> None:
    """Matrices in the compute dtype, norm scales as they are; and a plan counts the very same arrays."""
    config = Config(model=Model(path=str(TINY_MODEL), compute_dtype="bfloat16"))
    mesh, optimizer = make_mesh(1, 1, 1, jax.devices()[:1]), optax.sgd(1.0)
    run = RunConfig(config, METHODS["hsd"], Qwen3Config.from_hf(str(TINY_MODEL)), mesh)
    state = initial_state(run, optimizer)
    copy = state.copies["initial"]
    np.testing.assert_array_equal(copy["final_norm_D"], state.params["final_norm_D"])
    np.testing.assert_array_equal(copy["layers"]["q_norm_LH"], state.params["layers"]["q_norm_LH"])
    assert copy["embed_VD"].dtype == copy["layers"]["up_LDF"].dtype == jnp.bfloat16
    shape = lambda tree: jax.tree.map(lambda x: (x.shape, x.dtype), tree)  # noqa: E731
    assert shape(state.copies) == shape(state_of(run, optimizer).copies)


def test_where_adapters_train_the_state_has_the_base_once_and_all_else_of_the_adapters() -> None:
    """The base in the compute dtype, as it serves as frozen teacher and reference; a moving teacher, float32."""
    config = Config(model=Model(path=str(TINY_MODEL)), lora=Lora(rank=4, targets="q_proj,down_proj"))
    model, mesh = Qwen3Config.from_hf(str(TINY_MODEL)), make_mesh(1, 2, 2, jax.devices()[:4])
    run = RunConfig(config, METHODS["sdpo"], model, mesh, validation.adapters_of(config, model))
    state = state_of(run, optax.adam(1.0))
    shapes = lora.shapes(run.lora, model)
    for tree in (state.params, state.opt_state[0].mu, state.opt_state[0].nu, state.copies["teacher"]):
        assert jax.tree.map(lambda x: (x.shape, x.dtype), tree) == jax.tree.map(
            lambda shape: (shape, jnp.float32), shapes, is_leaf=lambda x: isinstance(x, tuple)
        )
    assert set(state.copies) == {"initial", "teacher"}
    base = state.copies["initial"]
    assert base["layers"]["q_LDNH"].dtype == jnp.bfloat16 and set(base) == set(param_shapes(model))
    assert set(state.policy["layers"]) == set(base["layers"]) | set(shapes["layers"])
    split = state.params["layers"]["q_in_LDA"].sharding.shard_shape((3, 96, 4))
    assert split == (3, 48, 4) and set(frozen.without_frozen(state).copies) == {"teacher"}


@pytest.mark.parametrize(
    ("field", "value"),
    [("seed", -1), ("seed", 10**19), ("evaluation.every", -1), ("optimizer.eps", float("nan")), ("optimizer.b1", 1.0)]
    + [("verifier.seconds", 0.0), ("evaluation.top_p", 0.0), ("checkpoints.every_minutes", float("nan"))],
)
def test_numbers_that_would_end_a_run_later_are_refused_at_its_start(field: str, value: float) -> None:
    section, _, name = field.rpartition(".")
    config = Config()
    changed = {name: value} if not section else {section: replace(getattr(config, section), **{name: value})}
    with pytest.raises(InputError, match=f"{field.replace('_', '-')} must be from"):
        validation.check(replace(config, **changed), METHODS["hsd"], 1)
