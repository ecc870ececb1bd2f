"""The TPU chips a plan can be made for, and the slices made of them."""

import difflib
import math
import re
from dataclasses import dataclass

from hsd_jax.errors import InputError

GIB = 2**30


@dataclass(frozen=True)
class Chip:
    """One kind of chip, per chip. Sources: the Cloud TPU documentation of v5e, v5p, v6e; jax-ml/scaling-book.

    `usable_gib` is what the compiler lets a program use (read off its own out-of-memory messages), `link_gbps` what
    a ring collective moves along one axis of the torus in both directions, `pcie_gbps` the way to host memory.
    """

    name: str
    cloud: str
    usable_gib: float
    bf16_tflops: float
    hbm_gbps: float
    link_gbps: float
    pcie_gbps: float
    host_gib: float
    named_by: int
    ring_from: int
    tokens_to_hide_gathers: int


# `named_by`: what the number in the slice's cloud name counts per chip (v5p counts cores, two a chip). `ring_from`: an
# axis of at least so many chips closes into a ring; on shorter ones a collective takes about twice as long.
CHIPS = {
    "v5e": Chip("v5e", "v5litepod", 15.75, 197, 810, 90, 15, 256, 1, 16, 2190),
    "v5p": Chip("v5p", "v5p", 95.74, 459, 2765, 180, 15, 448, 2, 4, 2550),
    "v6e": Chip("v6e", "v6e", 31.25, 918, 1638, 180, 32, 768, 1, 16, 5100),
}
CHIPS_PER_HOST = 4  # of every slice of more than one host


@dataclass(frozen=True)
class Topology:
    """A slice: its chips and how they are arranged, `name` as the compiler spells it (v5p:4x4x4)."""

    name: str
    chip: Chip
    shape: tuple[int, ...]
    slices: int = 1

    @property
    def chips(self) -> int:
        """Chips of all slices."""
        return math.prod(self.shape) * self.slices

    @property
    def hosts(self) -> int:
        """Virtual machines, each with one process."""
        return max(1, self.chips // CHIPS_PER_HOST)

    @property
    def cloud_name(self) -> str:
        """The accelerator type to ask the cloud for."""
        return f"{self.chip.cloud}-{math.prod(self.shape) * self.chip.named_by}"

    @property
    def host(self) -> "Topology":
        """One of its hosts alone, with the same chips: what the sampler, which stays inside a host, is compiled for.

        For v5e and v6e the compiler refuses programs over some chips of a larger slice (limited ICI routing).
        """
        shape = (2, 2, 1) if len(self.shape) == 3 else (2, 2)
        return Topology(f"{self.chip.name}:{'x'.join(map(str, shape))}", self.chip, shape)

    @property
    def has_ring(self) -> bool:
        """Whether the longest axis closes into a ring."""
        return max(self.shape) >= self.chip.ring_from


def parse_topology(text: str) -> Topology:
    """`v5p:4x4x4` (or, for two slices, `2*v5p:4x4x4`) as a slice.

    Raises: InputError for anything else; a cloud name such as v5p-128 is answered with the topology it means.
    """
    match = re.fullmatch(r"(?:(\d+)\*)?(v\w+):(\d+(?:x\d+){1,2})", text.strip())
    family = match[2] if match else re.split(r"[-:]", text.strip())[0].replace("v5litepod", "v5e") or "v5e"
    if family not in CHIPS:
        near = difflib.get_close_matches(family, CHIPS, 1, 0.0)[0]
        raise InputError(
            f"--topology {text!r}: unknown chip {family!r}; the nearest is {near!r} (of {', '.join(CHIPS)})"
        )
    if not match:
        raise InputError(f"--topology {text!r}: {_suggestion(text, CHIPS[family])}")
    chip, shape = CHIPS[family], tuple(int(n) for n in match[3].split("x"))
    axes = 3 if family == "v5p" else 2
    if len(shape) != axes or math.prod(shape) % CHIPS_PER_HOST or min(shape) < 1:
        raise InputError(
            f"--topology {text!r}: {family} slices have {axes} axes and a multiple of {CHIPS_PER_HOST} chips"
        )
    return Topology(f"{family}:{match[3]}", chip, shape, int(match[1] or 1))


def _suggestion(text: str, chip: Chip) -> str:
    known = {
        "v5e": ("4x4", "8x8", "16x16"),
        "v6e": ("4x4", "8x8", "16x16"),
        "v5p": ("2x2x4", "2x4x4", "4x4x4", "4x4x8"),
    }
    names = {Topology(f"{chip.name}:{shape}", chip, tuple(map(int, shape.split("x")))) for shape in known[chip.name]}
    number = text.rpartition("-")[2]
    meant = [t.name for t in names if t.cloud_name == f"{chip.cloud}-{number}"]
    if meant:
        return f"{text} is the cloud's name; as a topology it is {meant[0]}"
    return f"a topology looks like {min(t.name for t in names if t.chips == 64)} (chip, colon, chips along each axis)"
