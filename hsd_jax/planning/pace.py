"""What the plan expects of the phases of a step while it runs, and how near its limits the slice comes in them."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hsd_jax.planning import roofline
from hsd_jax.planning.chips import CHIPS, Topology
from hsd_jax.planning.workload import workload
from hsd_jax.setup.components import RunConfig

# What a device says it is. Source: jax.Device.device_kind of libtpu 0.0.42 for each slice.
KINDS = {
    "TPU v5 lite": "v5e",
    "TPU v5e": "v5e",
    "TPU v5": "v5p",
    "TPU v5p": "v5p",
    "TPU v6 lite": "v6e",
    "TPU v6e": "v6e",
}
# The phases of a step that are planned, and the parts of the estimate that they do.
PARTS = {"sample": ("move weights", "prefill", "decode"), "update": ("score, differentiate, update",)}
# The useful work of a phase, at the limit that binds it, over the time that it took: the update's operations at peak
# (MFU; nothing recomputed, no empty places), the sampler's reading of weights and live keys at full bandwidth.
LIMITS = {
    "update": ("score, differentiate, update", "speed/update_mfu"),
    "sample": ("decode", "speed/sample_bandwidth"),
}
Pace = Callable[[float, Mapping[str, float]], dict[str, float]]


def topology_of(devices: Sequence[Any]) -> Topology | None:
    """The slice that these devices are, None where estimates know no such chip."""
    name = KINDS.get(devices[0].device_kind)
    if name is None:
        return None
    slices = len({getattr(device, "slice_index", 0) for device in devices})
    axes = 3 if name == "v5p" else 2
    shape = tuple(1 + max(device.coords[axis] for device in devices) for axis in range(axes))
    return Topology(f"{name}:{'x'.join(map(str, shape))}", CHIPS[name], shape, slices)


def pace(run: RunConfig, devices: Sequence[Any]) -> Pace:
    """(mean response length in tokens, seconds of each phase) -> expected seconds, `plan/PHASE`, and shares of limits.

    {} where estimates know no such chip.
    """
    topology = topology_of(devices)

    def expected(mean: float, took: Mapping[str, float]) -> dict[str, float]:
        if topology is None or mean <= 0:
            return {}
        rounded = 2 ** (round(8 * math.log2(mean)) / 8)  # a replay takes a second: steps of like lengths share one
        work = workload(run.config, run.method, mean=rounded, prompt=0)
        phases = {phase.name: phase for phase in roofline.phases_of(run.config, run.model, topology, work)}
        plan = {f"plan/{phase}": sum(phases[part].expected for part in names) for phase, names in PARTS.items()}
        shares = {
            name: phases[part].ideal * mean / rounded / took[phase]
            for phase, (part, name) in LIMITS.items()
            if took.get(phase)
        }
        return plan | shares

    return expected
