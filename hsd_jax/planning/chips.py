"""The TPU chips a plan can be made for, with the flags of their compiler, and the slices made of them."""

import math
import re
from collections.abc import MutableMapping
from dataclasses import dataclass

from hsd_jax.errors import InputError, nearest

GIB = 2**30
FLAGS = "LIBTPU_INIT_ARGS"
# Gathers of weights run beside products of matrices instead of between them.
OVERLAP = (
    "--xla_tpu_enable_async_collective_fusion=true",
    "--xla_tpu_enable_async_collective_fusion_fuse_all_gather=true",
    "--xla_tpu_enable_async_collective_fusion_multiple_steps=true",
    "--xla_tpu_overlap_compute_collective_tc=true",
    "--xla_enable_async_all_gather=true",
)


@dataclass(frozen=True)
class Chip:
    """One kind of chip, per chip. Sources: the Cloud TPU documentation of v5e, v5p, v6e; jax-ml/scaling-book.

    `usable_gib` is what the compiler lets a program use (read off its own out-of-memory messages), `link_gbps` what
    a ring collective moves along one axis of the torus in both directions, `host_gib` a chip's share of its host's
    memory. `named_by`: what the number in the slice's cloud name counts per chip (v5p counts cores, two a chip).
    `flags` are those that the compiler gets, on workers and in plans alike.
    """

    name: str
    cloud: str
    usable_gib: float
    bf16_tflops: float
    clock_ghz: float
    hbm_gbps: float
    link_gbps: float
    host_gib: float
    named_by: int
    flags: tuple[str, ...] = OVERLAP


CHIPS = {
    "v5e": Chip("v5e", "v5litepod", 15.75, 197, 1.5, 810, 90, 64, 1),
    "v5p": Chip("v5p", "v5p", 95.74, 459, 1.75, 2765, 180, 112, 2),
    "v6e": Chip("v6e", "v6e", 31.25, 918, 1.75, 1638, 180, 192, 1),
}
ONE_HOST = (
    (1, 1),
    (2, 2),
    (2, 4),
)  # slices of v5e and v6e that are one virtual machine; on all others it has 2 x 2 chips


def set_flags(environment: MutableMapping[str, str], chip: Chip | None) -> None:
    """Adds a chip's flags, but for those that the user has set; the compiler reads them when it is first used."""
    given = environment.get(FLAGS, "").split()
    named = {flag.partition("=")[0] for flag in given}
    missing = [flag for flag in (chip.flags if chip else ()) if flag.partition("=")[0] not in named]
    if missing:
        environment[FLAGS] = " ".join([*given, *missing])


def chip_of(accelerator: str) -> Chip | None:
    """The chip of a slice's cloud name, such as v5litepod-64; None for any other name."""
    return next((chip for chip in CHIPS.values() if chip.cloud == accelerator.partition("-")[0]), None)


@dataclass(frozen=True)
class Topology:
    """One slice or several: chips and how they are arranged, `name` as the compiler spells one slice (v5p:4x4x4)."""

    name: str
    chip: Chip
    shape: tuple[int, ...]
    slices: int = 1

    @property
    def title(self) -> str:
        """As it is given on the command line: `2*v5p:4x4x4`."""
        return self.name if self.slices == 1 else f"{self.slices}*{self.name}"

    @property
    def chips(self) -> int:
        """Chips of all slices."""
        return math.prod(self.shape) * self.slices

    @property
    def host_shape(self) -> tuple[int, int, int]:
        """The block of chips that one virtual machine, and so one process, holds."""
        return (*self.shape, 1) if self.shape in ONE_HOST else (2, 2, 1)  # type: ignore[return-value]

    @property
    def chips_per_host(self) -> int:
        """Chips of one process: those that one sampler decodes on."""
        return math.prod(self.host_shape)

    @property
    def hosts(self) -> int:
        """Virtual machines, each with one process."""
        return self.chips // self.chips_per_host

    @property
    def cloud_name(self) -> str:
        """The accelerator type to ask the cloud for, one per slice."""
        return f"{self.chip.cloud}-{math.prod(self.shape) * self.chip.named_by}"


def parse_topology(text: str) -> Topology:
    """`v5p:4x4x4` (or, for two slices, `2*v5p:4x4x4`) as a slice.

    Raises: InputError for anything else; a cloud name such as v5p-128 is answered with the topology it means.
    """
    match = re.fullmatch(r"(?:([1-9]\d*)\*)?(v\w+):(\d+(?:x\d+){1,2})", text.strip())
    family = match[2] if match else re.split(r"[-:]", text.strip())[0].replace("v5litepod", "v5e") or "v5e"
    if family not in CHIPS:
        near = nearest(family, CHIPS)
        raise InputError(
            f"--topology {text!r}: unknown chip {family!r}; the nearest is {near!r} (of {', '.join(CHIPS)})"
        )
    if not match:
        raise InputError(f"--topology {text!r}: {_suggestion(text, CHIPS[family])}")
    chip, shape = CHIPS[family], tuple(int(n) for n in match[3].split("x"))
    axes = 3 if family == "v5p" else 2
    if len(shape) != axes or min(shape) < 1 or (shape not in ONE_HOST and (shape[0] % 2 or shape[1] % 2)):
        raise InputError(
            f"--topology {text!r}: {family} slices have {axes} axes, of which the first two are even numbers (a host"
            f" holds 2 x 2 chips); {_example(chip)}"
        )
    return Topology(f"{family}:{match[3]}", chip, shape, int(match[1] or 1))


def _suggestion(text: str, chip: Chip) -> str:
    flat = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
    cubic = ("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8")
    shapes = cubic if chip.name == "v5p" else flat
    names = [Topology(f"{chip.name}:{shape}", chip, tuple(map(int, shape.split("x")))) for shape in shapes]
    number = text.rpartition("-")[2]
    meant = [t.name for t in names if t.cloud_name == f"{chip.cloud}-{number}"]
    return f"{text} is the cloud's name; as a topology it is {meant[0]}" if meant else _example(chip)


def _example(chip: Chip) -> str:
    shape = "4x4x4" if chip.name == "v5p" else "8x8"
    return f"a topology looks like {chip.name}:{shape} (chip, colon, chips along each axis)"
