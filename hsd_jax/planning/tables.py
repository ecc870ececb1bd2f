"""Plans on the screen."""

from rich.console import Console
from rich.table import Table

from hsd_jax.planning.chips import GIB
from hsd_jax.planning.measured import MARGIN_GIB, NAMES, Measured, Plan, fits
from hsd_jax.sampler.state import CHECK


def gib(size: float) -> str:
    """Bytes in GiB."""
    return f"{size / GIB:.2f}"


def show(plan: Plan, console: Console) -> None:
    """Everything about one plan."""
    topology = plan.topology
    console.print(
        f"{plan.config} on {topology.title} ({topology.cloud_name}: {topology.chips} chips, {topology.hosts} hosts,"
        f" {topology.chip.usable_gib} GiB usable on each)",
        highlight=False,
    )
    console.print(memory_table(plan))
    room = topology.chip.usable_gib - MARGIN_GIB
    console.print(f"  sum (with the program's code): at most {room} GiB; new: results in no argument's place;")
    console.print("  beside: what else lies on the chip meanwhile; in host: offloaded")
    console.print(work_table(plan))
    console.print(f"  decode: {CHECK} tokens of every row; moved: as the compiler counts, loop bodies once")
    for measured in plan.measured:
        for buffer in measured.buffers[:1]:
            console.print(f"  largest in {measured.stage}: {buffer}", highlight=False, soft_wrap=True)
    console.print(seconds_table(plan))
    for line in plan.assumptions:
        console.print(f"  assumed: {line}", highlight=False, soft_wrap=True)
    offloaded = f"{gib(plan.host_bytes)} of {gib(plan.host_room)} GiB of a host's memory are used for offloading"
    console.print(f"a checkpoint is {plan.checkpoint_bytes / 1e9:.0f} GB; {offloaded}", highlight=False)
    verdict(plan, console)


def memory_table(plan: Plan) -> Table:
    """A row per program, GiB on one chip."""
    table = Table(title="GiB on one chip, by program")
    for name in ("program", "args", "temp", "new", "beside", "sum", "in host", "fits"):
        table.add_column(name, justify="left" if name == "program" else "right")
    for m in plan.measured:
        beside = gib(sum(m.resident.values()))
        if m.fault:
            table.add_row(m.stage, *("?",) * 7)
            continue
        if m.out_of_memory:
            table.add_row(m.stage, f"{gib(m.program)} in all", "", "", beside, gib(m.total), "", "no")
            continue
        new = max(0, m.memory["outputs"] - m.memory["aliased"])
        cells = (m.memory["arguments"], m.memory["temporary"], new)
        yes = "yes" if fits(m, plan.topology) else "no"
        table.add_row(m.stage, *map(gib, cells), beside, gib(m.total), gib(m.memory["host"]), yes)
    return table


def work_table(plan: Plan) -> Table:
    """A row per program: what one chip computes, moves and exchanges in one run of it."""
    table = Table(title="one run of each program, on one chip")
    for name in ("program", "TFLOP", "GiB moved", "GiB exchanged", "exchanges", "compiled"):
        table.add_column(name, justify="left" if name in ("program", "exchanges") else "right")
    for m in plan.measured:
        exchanged = sum(found["bytes"] for found in m.collectives.values())
        kinds = ", ".join(f"{found['count']:.0f} {kind}" for kind, found in m.collectives.items())
        numbers = (f"{m.flops / 1e12:.2f}", gib(m.accessed), gib(exchanged))
        table.add_row(m.stage, *numbers, kinds, f"{m.seconds:.0f} s")
    return table


def seconds_table(plan: Plan) -> Table:
    """A row per phase: seconds at the limits of the chip, and as others have come near them."""
    table = Table(title="seconds of a step (estimated, not run)")
    for name in ("phase", "ideal", "expected"):
        table.add_column(name, justify="left" if name == "phase" else "right")
    for phase in plan.phases:
        table.add_row(phase.name, f"{phase.ideal:.2f}", f"{phase.expected:.2f}")
    table.add_section()
    table.add_row("step", *(f"{s:.1f}" for s in plan.seconds))
    return table


def verdict(plan: Plan, console: Console) -> None:
    """Fits or not, or not known; and what to change."""
    if plan.fits:
        left_out = [name for name in NAMES if name not in {m.stage for m in plan.measured}]
        console.print("fits" + f" (without {', '.join(left_out)})" * bool(left_out), style="bold", highlight=False)
        return
    console.print(
        "not known: a program did not compile" if plan.unknown else "does not fit", style="bold", highlight=False
    )
    for stage, changes in plan.advice.items():
        for change in changes:
            console.print(f"  {stage}: {change}", highlight=False, soft_wrap=True)
    if plan.host_bytes > plan.host_room:
        console.print(f"  host memory: {gib(plan.host_bytes)} GiB are offloaded to a host; use --model.remat full")


def progress(measured: Measured) -> str:
    """One line for a program that is ready."""
    found = measured.fault or f"{gib(measured.total)} GiB on a chip"
    return f"  {measured.stage}: {found} ({measured.seconds:.0f} s, {measured.cpu_seconds:.0f} s of CPU)"


def fullest(plan: Plan) -> Measured:
    """The program that needs most of a chip."""
    return max(plan.measured, key=lambda m: (bool(m.fault), m.total))


def sweep_table(plans: list[tuple[str, Plan]]) -> Table:
    """A row per plan: does it fit, which program is the fullest, seconds."""
    table = Table(title="sweep")
    for name in ("slice", "settings", "fits", "fullest", "GiB", "usable", "ideal", "expected"):
        table.add_column(name, justify="left" if name in ("slice", "settings", "fullest") else "right", overflow="fold")
    for settings, plan in plans:
        top = fullest(plan)
        ideal, expected = plan.seconds
        numbers = (gib(top.total), f"{plan.topology.chip.usable_gib}", f"{ideal:.1f} s", f"{expected:.1f} s")
        answer = "?" if plan.unknown else "yes" if plan.fits else "no"
        table.add_row(plan.topology.title, settings, answer, top.stage, *numbers)
    return table
