"""Reading a compiled TPU program: which exchanges between chips it makes, and its largest buffers.

The text shows some reduce-scatters as all-reduces; bytes are those of an exchange's result on one chip.
"""

import re
from collections import defaultdict
from dataclasses import dataclass
from math import prod

from hsd_jax.planning.chips import GIB

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
ITEM_BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8}
HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{\s*$")
SHAPE = re.compile(r"(\w+)\[([\d,]*)\]")
INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (.*?) ([\w\-]+)\(")
CALLED = re.compile(r"(calls|to_apply|condition|body|branch_computations)=(?:%([\w.\-]+)|\{([^}]*)\})")
CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
UNKNOWN = 2**62
ASYNCHRONOUS = 'custom_call_target="AsyncCollectiveStart"'
NO_BUFFER = {"parameter", "tuple", "get-tuple-element", "bitcast", "while", "constant", "conditional"}


@dataclass(frozen=True)
class Program:
    """The computations of a module, as lines, and the one that is run."""

    lines: dict[str, list[str]]
    entry: str


def parse(text: str) -> Program:
    """Splits a module's text into its computations."""
    lines: dict[str, list[str]] = {}
    name = entry = ""
    for line in text.splitlines():
        if match := HEADER.match(line):
            name = match[2]
            lines[name] = []
            entry = name if match[1] else entry
        elif name:
            lines[name].append(line)
    return Program(lines, entry)


def runs(program: Program) -> dict[str, float]:
    """How often each computation runs; a loop whose length cannot be read off its condition counts once."""
    times: dict[str, float] = defaultdict(float)

    def visit(name: str, factor: float) -> None:
        times[name] += factor
        for line in program.lines.get(name, []):
            called = {key: one or many for key, one, many in CALLED.findall(line)}
            inner = factor * (trip_count(program, called["condition"]) if "body" in called else 1)
            for names in called.values():
                for child in names.split(", "):
                    visit(child.removeprefix("%"), inner)

    visit(program.entry, 1.0)
    return times


def trip_count(program: Program, condition: str) -> int:
    """The bound that a loop's counter is compared with, where that is a constant and all there is to it; else 1."""
    lines = list(program.lines.get(condition, []))
    lines += [line for call in lines for name in re.findall(r"calls=%([\w.\-]+)", call) for line in program.lines[name]]
    bounds = [int(n) for line in lines for n in re.findall(r"s32\[\][^=]*? constant\((\d+)\)", line)]
    compares = sum(" compare(" in line for line in lines)
    return bounds[0] if compares == 1 and len(bounds) == 1 else 1


def collectives(text: str) -> dict[str, dict[str, float]]:
    """Exchanges of one run of the program: kind -> {"count", "bytes", "asynchronous"} on one chip.

    Loops are counted by their length. `asynchronous` are those of the count that overlap with other work.
    """
    program = parse(text)
    begun = _begun(program)
    found: dict[str, dict[str, float]] = {}
    seen: set[str] = set()
    for name, times in runs(program).items():
        for line in program.lines.get(name, []):
            match = INSTRUCTION.match(line)
            kind = match[3].removesuffix("-start") if match else ""
            if not match or kind not in KINDS or _again(line, seen):
                continue
            entry = found.setdefault(kind, {"count": 0.0, "bytes": 0.0, "asynchronous": 0.0})
            entry["count"] += times
            entry["asynchronous"] += times * ("-start" in match[3] or _channel(line) in begun)
            entry["bytes"] += times * _bytes(
                match[2].split("(")[-1].split(")")[0] if "-start" in match[3] else match[2]
            )
    return found


def cycles(text: str) -> float:
    """The compiler's own estimate of one run on one chip, without exchanges; loops are counted by their length.

    What it knows nothing of has the largest number there is, and counts nothing here.
    """
    program = parse(text)
    return sum(
        times * int(found[1])
        for name, times in runs(program).items()
        for line in program.lines.get(name, [])
        if (found := CYCLES.search(line)) and int(found[1]) < UNKNOWN
    )


def _again(line: str, seen: set[str]) -> bool:
    """Whether this exchange was counted: a fused, asynchronous one stands in the text several times."""
    channel = _channel(line)
    if not channel:
        return False
    known = channel in seen
    seen.add(channel)
    return known


def _channel(line: str) -> str:
    found = re.search(r"channel_id=(\d+)", line)
    return found[1] if found else ""


def _begun(program: Program) -> set[str]:
    """Channels of exchanges that are begun in one place and awaited in another: fused with what runs meanwhile."""
    starts = [lines for lines in program.lines.values() if any(ASYNCHRONOUS in line for line in lines)]
    return {channel for lines in starts for line in lines if (channel := _channel(line))}


def largest_buffers(text: str, count: int) -> list[str]:
    """The largest arrays that exist on one chip, each shape once: size, shape, and the operation that makes it."""
    program = parse(text)
    found: dict[str, tuple[int, str]] = {}
    for name in runs(program):
        if name.startswith("fused_"):
            continue
        for line in program.lines.get(name, []):
            match = INSTRUCTION.match(line)
            if not match or match[3] in NO_BUFFER:
                continue
            shape = SHAPE.search(match[2])
            source = re.search(r'op_name="([^"]*)"', line)
            if shape and "S(1)" not in match[2] and "S(5)" not in match[2]:
                found.setdefault(shape[0], (_bytes(shape[0]), source[1] if source else match[3]))
    top = sorted(found.items(), key=lambda item: -item[1][0])[:count]
    return [f"{shape}: {size / GIB:.2f} GiB, {_short(source)}" for shape, (size, source) in top]


def _short(source: str) -> str:
    """Where in the program an operation is, without the loops around it."""
    return "/".join(part for part in source.split("/") if part not in ("while", "body", "closed_call"))


def _bytes(shapes: str) -> int:
    return sum(
        ITEM_BYTES.get(kind, 4) * prod(int(n) for n in dims.split(",") if n) for kind, dims in SHAPE.findall(shapes)
    )
