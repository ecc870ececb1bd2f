"""The outcome of planning one config for one slice: what every program needs, how long a step takes, the verdict."""

import dataclasses
import math
from typing import Any

from hsd_jax.config import Config
from hsd_jax.planning import roofline
from hsd_jax.planning.abstract_args import model_of
from hsd_jax.planning.advice import advice
from hsd_jax.planning.chips import GIB, Topology
from hsd_jax.planning.measured import Measured, Plan, fits
from hsd_jax.planning.workload import DrawnRows, Workload
from hsd_jax.setup import method_overrides
from hsd_jax.setup.components import dtypes_of_copies
from hsd_jax.setup.validation import adapters_of
from hsd_jax.update.frozen import FROZEN
from models import lora
from models.qwen3 import Qwen3Config

# float32 weights, both moments, and each copy that moves; the frozen copy is named and not saved
BYTES_PER_COPY = 4


def make_plan(
    name: str, config: Config, topology: Topology, measured: list[Measured], rows: DrawnRows, work: Workload
) -> Plan:
    """Puts the parts together for the assumed texts. The update's seconds are those of `rows`, wider than compiled."""
    model = model_of(config.model.path)
    seconds = roofline.seconds_of(topology, measured)
    if "update" in seconds:
        seconds["update"] *= rows.places
    phases = roofline.phases_of(config, model, topology, work, seconds)
    moving = dtypes_of_copies(config, method_overrides.resolve(config.method)).keys() - FROZEN
    parameters = trained_parameters(config, model)
    return Plan(
        config=name,
        topology=topology,
        measured=measured,
        phases=phases,
        assumptions=[
            *roofline.assumptions(config, model, topology, work),
            *exchanges(measured, topology),
            *in_words(rows),
        ],
        advice={m.stage: advice(config, topology, m) for m in measured if not fits(m, topology)},
        checkpoint_bytes=parameters * BYTES_PER_COPY * (3 + len(moving)),
        host_bytes=topology.chips_per_host * max((m.memory.get("host", 0) for m in measured), default=0),
    )


def trained_parameters(config: Config, model: Qwen3Config) -> int:
    """How many numbers train: those of all matrices, or of the adapters."""
    if config.lora.rank:
        adapters = lora.shapes(adapters_of(config, model), model)["layers"]
        return sum(math.prod(shape) for shape in adapters.values())
    return roofline.layer_params(model) + roofline.head_params(model) * (1 if model.tied else 2)


def in_words(rows: DrawnRows) -> list[str]:
    """What the update's rows are like in steps with drawn lengths; nothing where all texts lie in windows."""
    if not rows.programs:
        return []
    return [
        f"rows of the update in {rows.steps} steps of drawn lengths: {rows.filled:.2f} of the places are tokens,"
        f" {rows.places:.2f} times as many places as compiled here (at most {rows.widest:.2f}), and {rows.programs}"
        " update programs, each compiled when its rows are first met, which no second of a step contains"
    ]


def exchanges(measured: list[Measured], topology: Topology) -> list[str]:
    """In words, what chips exchange in the update, which the seconds leave out; nothing where it was not compiled."""
    found = [kind for m in measured if m.stage == "update" for kind in m.collectives.values()]
    if not found:
        return []
    moved, count, beside = (sum(kind[name] for kind in found) for name in ("bytes", "count", "asynchronous"))
    seconds = moved / (topology.chip.link_gbps * 1e9)
    return [
        f"exchanges of chips: {moved / GIB:.0f} GiB a chip in the update, {seconds:.1f} s at the limit of the links;"
        f" {beside:.0f} of {count:.0f} overlap with other work, as compiled, and cost no seconds"
    ]


def as_json(plan: Plan) -> dict[str, Any]:
    """The plan as plain data."""
    ideal, expected = plan.seconds
    return {
        "config": plan.config,
        "topology": plan.topology.title,
        "accelerator": plan.topology.cloud_name,
        "chips": plan.topology.chips,
        "hosts": plan.topology.hosts,
        "usable_gib": plan.topology.chip.usable_gib,
        "fits": plan.fits,
        "programs": [dataclasses.asdict(m) | {"fits": fits(m, plan.topology)} for m in plan.measured],
        "phases": [dataclasses.asdict(p) for p in plan.phases],
        "seconds_per_step": {"ideal": ideal, "expected": expected},
        "assumptions": plan.assumptions,
        "advice": plan.advice,
        "checkpoint_bytes": plan.checkpoint_bytes,
        "host_bytes": plan.host_bytes,
    }
