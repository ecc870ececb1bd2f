"""What to change when a program does not fit, in the order in which it costs least."""

import math
from dataclasses import fields, is_dataclass, replace
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from hsd_jax.config import Config
from hsd_jax.errors import InputError
from hsd_jax.planning.chips import GIB, Topology
from hsd_jax.planning.measured import MARGIN_GIB, Measured

LIGHTER = {"none": "full", "save-matmuls": "full", "save-attention": "full", "full": "offload"}


def advice(config: Config, topology: Topology, measured: Measured) -> list[str]:
    """What to change, most useful first, each with a value."""
    if measured.fault:
        return [measured.fault]
    advisers = {"update": _for_update, "decode": _for_sampler, "enter": _for_sampler, "prefill": _for_sampler}
    found = advisers.get(measured.stage, _for_weights)(config, topology, measured)
    return [*found, "take a larger slice: the training state shrinks with the number of chips"]


def _for_update(config: Config, topology: Topology, measured: Measured) -> list[str]:
    rows = topology.chips // config.mesh.tensor
    parts = config.optimizer.micro_batches
    problems = config.data.problems_per_step
    more = next((n for n in range(parts + 1, problems + 1) if problems % n == 0 and (problems // n) % rows == 0), 0)
    found = [f"--optimizer.micro-batches {more}: fewer rollouts at a time (now {parts})"] if more else []
    if config.model.remat in LIGHTER:
        found.append(f"--model.remat {LIGHTER[config.model.remat]}: store less for the backward pass")
    if config.optimizer.loss_chunk > 256:
        found.append(f"--optimizer.loss-chunk {config.optimizer.loss_chunk // 2}: fewer logits at a time")
    return found


def _for_sampler(config: Config, topology: Topology, measured: Measured) -> list[str]:
    found = []
    tensor = config.sampling.tensor
    slots = slots_that_fit(config, topology, measured)
    if slots:
        found.append(f"--sampling.slots {slots}: decode fewer rollouts at a time on each host and refill")
    if tensor < 4:
        found.append(f"--sampling.tensor {tensor * 2}: each chip holds a smaller share of the weights")
    return found


def slots_that_fit(config: Config, topology: Topology, measured: Measured) -> int:
    """How many rows of the cache fit on a host, if its bytes grow with the rows; 0 if not one fits."""
    rows = config.data.problems_per_step // topology.hosts * config.sampling.group_size
    now = min(config.sampling.slots or rows, rows)
    cache = measured.cache
    fixed = measured.total - cache
    room = (topology.chip.usable_gib - MARGIN_GIB) * GIB - fixed
    step = max(1, 4 // config.sampling.tensor)
    fitting = math.floor(now * room / cache / step) * step if cache else 0
    return fitting if 0 < fitting < now else 0


def _for_weights(config: Config, topology: Topology, measured: Measured) -> list[str]:
    if config.sampling.tensor < 4:
        return [f"--sampling.tensor {config.sampling.tensor * 2}: each chip holds a smaller share of the weights"]
    return []


def with_setting(config: Config, name: str, value: str) -> Config:
    """The config with one dotted setting changed, such as `optimizer.micro-batches` to `4`.

    Raises: InputError for an unknown setting or a value of another type.
    """
    return _with(config, name.replace("-", "_").split("."), value, name)


def _with(record: Any, path: list[str], value: str, name: str) -> Any:
    known = [f.name for f in fields(record)]
    if path[0] not in known or is_dataclass(getattr(record, path[0])) != (len(path) > 1):
        raise InputError(f"--sweep {name}: no such setting; here are {', '.join(known)}")
    if len(path) > 1:
        return replace(record, **{path[0]: _with(getattr(record, path[0]), path[1:], value, name)})
    return replace(record, **{path[0]: _typed(get_type_hints(type(record))[path[0]], value, name)})


def _typed(kind: Any, value: str, name: str) -> Any:
    """The value as the setting's type."""
    if NoneType in get_args(kind):  # `bool | None`: a setting that may be left to the method
        kind = next(k for k in get_args(kind) if k is not NoneType)
    allowed = ("true", "false") if kind is bool else get_args(kind) if get_origin(kind) is Literal else ()
    if allowed and value not in allowed:
        raise InputError(f"--sweep {name}: {value!r} is not one of {', '.join(map(str, allowed))}")
    try:
        return value == "true" if kind is bool else kind(value) if kind in (int, float) else value
    except ValueError:
        raise InputError(f"--sweep {name}: {value!r} is not of type {kind.__name__}") from None
