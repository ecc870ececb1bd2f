"""How fast a step was and what it used, from what every host says of itself."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax

GIB = 2**30
Share = Mapping[str, float]


def of_host(slot_steps: tuple[int, int], seconds: Mapping[str, float], compiled: Mapping[str, float]) -> Share:
    """This host's share of a step: tokens and slots of its sampler, seconds by phase, programs, its fullest chip.

    `slot_steps` are those in which a slot wrote a token, and all. Memory is 0 where the devices do not tell.
    """
    told: list[Mapping[str, Any]] = [device.memory_stats() or {} for device in jax.local_devices()]
    return {
        "tokens": slot_steps[0],
        "slots": slot_steps[1],
        "chips": len(told),
        "in_use": max(stats.get("bytes_in_use", 0) for stats in told),
        "peak": max(stats.get("peak_bytes_in_use", 0) for stats in told),
        **{phase: seconds.get(phase, 0.0) for phase in ("sample", "grade", "update")},
        **compiled,
    }


def of_step(hosts: Sequence[Share]) -> dict[str, float]:
    """The step's numbers: rates count all chips, and wait for the slowest host as the step does."""

    def total(name: str) -> float:
        return sum(host[name] for host in hosts)

    def largest(name: str) -> float:
        return max(host[name] for host in hosts)

    def rate(seconds: float) -> float:
        return total("tokens") / max(seconds, 1e-9) / total("chips")

    found = {
        "speed/sample": rate(largest("sample")),
        "speed/update": rate(largest("update")),
        "speed/step": rate(sum(largest(phase) for phase in ("sample", "grade", "update"))),
        "hosts/slots": total("tokens") / max(total("slots"), 1),
        "hosts/sample_mean": total("sample") / len(hosts),
        "hosts/sample_slowest": largest("sample"),
        "compiled/programs": total("compiled/programs"),
        "compiled/seconds": largest("compiled/seconds"),
    }
    if largest("peak"):
        found |= {"memory/in_use": largest("in_use") / GIB, "memory/peak": largest("peak") / GIB}
    return found
