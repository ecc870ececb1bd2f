"""The method, model and mesh that a config names; what does not go together is refused before anything is read."""

from collections.abc import Callable
from typing import Any

from hsd_jax.config import Config
from hsd_jax.setup import method_overrides, validation
from hsd_jax.setup.components import RunConfig
from models import sharding
from models.qwen3 import Qwen3Config


def run_config(
    config: Config,
    model_of: Callable[[str], Qwen3Config],
    *,
    processes: int,
    devices: list[Any] | None = None,
) -> RunConfig:
    """The method, mesh and model that a config names; `devices` need not be there.

    Raises: InputError where they do not go together, naming the field.
    """
    method = method_overrides.resolve(config.method)
    validation.check(config, method, processes)
    validation.check_logging(config)
    mesh = sharding.make_mesh(config.mesh.data, config.mesh.fsdp, config.mesh.tensor, devices)
    validation.check_mesh(config, method, mesh)
    model = model_of(config.model.path)
    validation.check_positions(config, model.max_positions)
    sharding.param_shardings(model, mesh)
    return RunConfig(config, method, model, mesh, validation.adapters_of(config, model))
