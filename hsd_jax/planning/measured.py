"""The programs of a step, what each needs on a chip, whether it fits, and all of them together: a plan."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hsd_jax.planning.chips import GIB, Topology
from hsd_jax.planning.jaxpr_cost import Value

NAMES = ("weights", "prefill", "enter", "decode", "update")
MARGIN_GIB = 0.25  # of every chip, kept free: the runtime's own buffers, and arrays that are freed a moment too late


@dataclass(frozen=True)
class Phase:
    """A part of the step: seconds at the chip's limits, and as compiled."""

    name: str
    ideal: float
    expected: float


@dataclass(frozen=True)
class Stage:
    """A program: how to trace it (`lower`), its matrix products on one chip, its largest arrays over all chips.

    `resident` names what is on the chip but not among the program's arguments, in bytes per chip; `cache` is the
    sampler's share of the arguments or of that.
    """

    name: str
    lower: Callable[[], Any]
    flops: Callable[[], float]
    largest: Callable[[], Value]
    resident: dict[str, int]
    cache: int = 0


@dataclass(frozen=True)
class Measured:
    """A program's needs on one chip, in bytes. `resident` is there meanwhile; `fault` says why nothing was measured.

    `program` and `total` are the program alone and with what is resident; where the compiler ran out of memory
    they are what it asked for. `cache` is the sampler's share of either. `flops` are matrix products, `cycles` those
    that the compiler counts, `accessed` bytes of memory traffic with loop bodies once. Seconds are those of tracing
    and compiling, on the clock and of the CPU.
    """

    stage: str
    program: int
    total: int
    resident: dict[str, int]
    cache: int = 0
    memory: dict[str, int] = field(default_factory=dict)
    out_of_memory: bool = False
    flops: float = 0.0
    cycles: float = 0.0
    accessed: float = 0.0
    collectives: dict[str, dict[str, float]] = field(default_factory=dict)
    buffers: list[str] = field(default_factory=list)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    fault: str = ""


def fits(measured: Measured, topology: Topology) -> bool:
    """Whether the program runs on the chip with everything else that is resident."""
    room = (topology.chip.usable_gib - MARGIN_GIB) * GIB
    return not measured.fault and not measured.out_of_memory and measured.total <= room


@dataclass(frozen=True)
class Plan:
    """One config on one slice. `advice` maps a program that does not fit to what to change, most useful first."""

    config: str
    topology: Topology
    measured: list[Measured]
    phases: list[Phase]
    assumptions: list[str]
    advice: dict[str, list[str]]
    checkpoint_bytes: int
    host_bytes: int

    @property
    def fits(self) -> bool:
        """Whether every program runs on the chips, and what is offloaded in the hosts' memory."""
        return all(fits(m, self.topology) for m in self.measured) and self.host_bytes <= self.host_room

    @property
    def unknown(self) -> bool:
        """Whether the compiler gave no answer for a program while all others fit."""
        answered = [m for m in self.measured if not m.fault]
        return len(answered) < len(self.measured) and dataclasses.replace(self, measured=answered).fits

    @property
    def host_room(self) -> float:
        """Bytes of a host's memory for what is offloaded: half of it, the rest is for programs, data, checkpoints."""
        return self.topology.chip.host_gib * self.topology.chips_per_host * GIB / 2

    @property
    def seconds(self) -> tuple[float, float]:
        """Ideal and expected seconds of a step."""
        return sum(p.ideal for p in self.phases), sum(p.expected for p in self.phases)
