"""What one program of a run needs on a slice, found by compiling it, in a process of its own: compilers may crash."""

import os
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import get_context

from hsd_jax.config import Config
from hsd_jax.planning import aot, hlo, shapes, stages
from hsd_jax.planning.chips import GIB, Topology
from hsd_jax.planning.workload import Workload

MARGIN_GIB = 0.25  # of every chip, kept free: the runtime's own buffers, and arrays that are freed a moment too late
BUFFERS_SHOWN = 5
AT_A_TIME = 3  # compilers, each on one core with up to 4 GiB


@dataclass(frozen=True)
class Measured:
    """A program's needs on one chip, in bytes. `beside` lies there meanwhile; `fault` says why nothing was measured.

    `program` and `total` are the program alone and with what lies beside it; where the compiler ran out of memory
    they are what it asked for. `flops` are matrix products, `accessed` bytes of memory traffic with loop bodies once.
    """

    stage: str
    program: int
    total: int
    beside: dict[str, int]
    memory: dict[str, int] = field(default_factory=dict)
    out_of_memory: bool = False
    flops: float = 0.0
    accessed: float = 0.0
    collectives: dict[str, dict[str, float]] = field(default_factory=dict)
    buffers: list[str] = field(default_factory=list)
    compile_seconds: float = 0.0
    fault: str = ""


def fits(measured: Measured, topology: Topology) -> bool:
    """Whether the program runs on the chip with everything that lies beside it."""
    room = (topology.chip.usable_gib - MARGIN_GIB) * GIB
    return not measured.fault and not measured.out_of_memory and measured.total <= room


def measure_all(
    config: Config, topology: Topology, work: Workload, names: tuple[str, ...] = stages.NAMES
) -> list[Measured]:
    """Every program, a few at a time; one that crashes the compiler is reported as such and the others go on."""
    with ThreadPoolExecutor(min(len(os.sched_getaffinity(0)), AT_A_TIME)) as several:
        # the last program of a step, the update, takes longest by far, so it begins first
        found = {name: several.submit(measure_apart, config, topology, work, name) for name in reversed(names)}
        return [found[name].result() for name in names]


def measure_apart(config: Config, topology: Topology, work: Workload, name: str) -> Measured:
    """`measure` in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(measure, config, topology, work, name).result()
        except BrokenProcessPool:
            why = "the compiler ended without an answer: it crashed, or this machine has too little memory"
            return Measured(name, 0, 0, {}, fault=why)


def measure(config: Config, topology: Topology, work: Workload, name: str) -> Measured:
    """Traces and compiles one program for the slice."""
    parts = shapes.parts_of(config, aot.devices(topology), aot.devices(topology.host))
    stage = next(s for s in stages.stages_of(parts, topology.hosts, work) if s.name == name)
    compiled = aot.compile_for_tpu(stage.lower())
    memory = compiled.memory
    value = stage.largest()
    made = f"{value.primitive} {list(value.shape)}: {value.size_bytes / GIB:.2f} GiB over all chips, before fusion"
    return Measured(
        stage=name,
        program=compiled.needed,
        total=compiled.needed + sum(stage.beside.values()),
        beside=stage.beside,
        memory={} if memory is None else vars(memory),
        out_of_memory=memory is None,
        flops=stage.flops(),
        accessed=compiled.bytes_accessed,
        collectives=hlo.collectives(compiled.text),
        buffers=[*hlo.largest_buffers(compiled.text, BUFFERS_SHOWN), made],
        compile_seconds=compiled.seconds,
    )
