"""What a run is made of: the learning rate of each update, windows within the model's positions."""

import jax.numpy as jnp
import numpy as np
import pytest

from hsd_jax.config import Config, Data, Sampling
from hsd_jax.errors import InputError
from hsd_jax.setup import validation
from hsd_jax.setup.components import learning_rates


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
