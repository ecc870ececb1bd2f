"""What a program of a run needs on a chip, and whether it fits."""

from dataclasses import dataclass, field

from hsd_jax.planning.chips import GIB, Topology

MARGIN_GIB = 0.25  # of every chip, kept free: the runtime's own buffers, and arrays that are freed a moment too late


@dataclass(frozen=True)
class Measured:
    """A program's needs on one chip, in bytes. `resident` lies there meanwhile; `fault` says why nothing was measured.

    `program` and `total` are the program alone and with what lies beside it; where the compiler ran out of memory
    they are what it asked for. `cache` is the sampler's share of either. `flops` are matrix products, `accessed` bytes
    of memory traffic with loop bodies once. Seconds are those of tracing and compiling, on the clock and of the CPU.
    """

    stage: str
    program: int
    total: int
    resident: dict[str, int]
    cache: int = 0
    memory: dict[str, int] = field(default_factory=dict)
    out_of_memory: bool = False
    flops: float = 0.0
    accessed: float = 0.0
    collectives: dict[str, dict[str, float]] = field(default_factory=dict)
    buffers: list[str] = field(default_factory=list)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    fault: str = ""


def fits(measured: Measured, topology: Topology) -> bool:
    """Whether the program runs on the chip with everything that lies beside it."""
    room = (topology.chip.usable_gib - MARGIN_GIB) * GIB
    return not measured.fault and not measured.out_of_memory and measured.total <= room
