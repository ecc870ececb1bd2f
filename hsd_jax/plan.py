"""Plans a run for a TPU slice on any x86 Linux machine: compiles every program of a step for it; fits? how fast?

python -m hsd_jax.plan --config configs/hsd_qwen3_8b_v5p128.py --topology v5p:4x4x4
python -m hsd_jax.plan --config FILE --topology v5e:8x8 v6e:8x8 --sweep optimizer.micro-batches=2,4 sampling.slots=32,64

Needs libtpu (pip install "jax[tpu]"), no TPU and no weights; minutes on two cores. Exit codes: 0 everything fits (of a
sweep: something fits), 1 it does not or the compiler gave no answer, 2 refused input.
"""

import itertools
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from hsd_jax.config import Config
from hsd_jax.errors import EXIT_DONE, EXIT_FAILED, InputError
from hsd_jax.planning import aot, tables
from hsd_jax.planning.advice import with_setting
from hsd_jax.planning.chips import Topology, parse_topology
from hsd_jax.planning.compile import measure_all
from hsd_jax.planning.measured import NAMES, Measured, Plan
from hsd_jax.planning.stages import components_for, stage_of
from hsd_jax.planning.verdict import as_json, make_plan
from hsd_jax.planning.workload import drawn_rows, workload
from hsd_jax.runtime import cli, files, paths
from hsd_jax.setup import method_overrides

DRAWN_STEPS = 30  # steps whose rows a plan draws: seconds of work
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells say it


@dataclass(frozen=True)
class Arguments:
    """What to plan, and for which slices."""

    config: Annotated[str, paths.GIVEN]
    """A config file, e.g. configs/hsd_qwen3_8b_v5p128.py. Its weights need not be here if they are a released Qwen3."""
    topology: tuple[str, ...]
    """Slices as chip:shape, such as v5p:4x4x4 (v5p-128), v5e:8x8, v6e:16x16; 2*v6e:8x8 for two slices."""
    settings: Annotated[Config, tyro.conf.arg(name="")] = field(metadata={"flat": True})
    """All settings of the config file."""
    sweep: tuple[str, ...] = ()
    """Settings to vary, each as name=value,value; all combinations are planned."""
    programs: tuple[str, ...] = NAMES
    """Which programs to compile."""
    response_mean: int = 0
    """Mean response length in tokens, for the rows of the update and the seconds; 0: 3/8 of sampling.response-tokens.
    The cap itself tells whether the update would fit if every response ran into it."""
    prompt_mean: int = 0
    """Mean prompt length in tokens, likewise; 0: a quarter of data.prompt-tokens."""
    json: Annotated[str | None, paths.GIVEN] = None
    """Also write the plans to this file."""


def parse(argv: Sequence[str]) -> Arguments:
    """The arguments; defaults of the settings come from the config file.

    Raises: InputError in one line for anything that is not valid.
    """
    default = Arguments(tyro.MISSING, tyro.MISSING, cli.named_config(argv))
    given = cli.parse(Arguments, argv, default=default, command="plan", about=__doc__ or "")
    if given.json:
        paths.check_writable_file(given.json, "--json")
    unknown = [name for name in given.programs if name not in NAMES]
    if unknown:
        raise InputError(f"--programs {unknown[0]!r}: no such program; there are {', '.join(NAMES)}")
    return given


def variants(config: Config, sweep: Sequence[str]) -> list[tuple[str, Config]]:
    """Every combination of the swept settings, with its description."""
    choices = []
    for text in sweep:
        name, equals, values = text.partition("=")
        if not equals or not values:
            raise InputError(f"--sweep {text!r}: must be name=value,value, such as optimizer.micro-batches=2,4")
        choices.append([(name, value) for value in values.split(",")])
    found = []
    for combination in itertools.product(*choices):
        changed = config
        for name, value in combination:
            changed = with_setting(changed, name, value)
        found.append((" ".join(f"{name}={value}" for name, value in combination), changed))
    return found


def plan_one(given: Arguments, config: Config, topology: Topology, console: Console) -> Plan:
    """Compiles for one slice and puts the outcome together."""
    work = workload(config, method_overrides.resolve(config.method), mean=given.response_mean, prompt=given.prompt_mean)

    def tell(measured: Measured) -> None:
        console.print(tables.progress(measured), highlight=False, soft_wrap=True)

    measured = measure_all(partial(stage_of, config, topology, work), given.programs, tell)
    layout, window = components_for(topology, config).step.layout, config.data.context_tokens
    return make_plan(str(given.config), config, topology, measured, drawn_rows(layout, work, window, DRAWN_STEPS), work)


def write(path: Path, plans: Sequence[tuple[str, Plan]]) -> None:
    """All plans so far, so that an interrupted sweep leaves what it found."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = [as_json(plan) | {"settings": settings} for settings, plan in plans]
    files.replace(path, json.dumps(content, indent=2) + "\n")


def main(argv: Sequence[str]) -> int:
    """The command."""
    given, console = parse(argv), cli.console()
    aot.require_libtpu()
    topologies = [parse_topology(text) for text in given.topology]
    cases = list(itertools.product(topologies, variants(given.settings, given.sweep)))
    for topology, (_, config) in cases:
        components_for(topology, config)  # refuses all that does not divide before anything compiles
    plans = []
    for topology, (settings, config) in cases:
        console.print(f"compiling for {topology.title} {settings}".rstrip() + " ...", highlight=False)
        plans.append((settings, plan_one(given, config, topology, console)))
        if given.json:
            write(Path(given.json), plans)
    if len(cases) == 1:
        tables.show(plans[0][1], console)
    else:
        console.print(tables.sweep_table(plans))
    return EXIT_DONE if any(plan.fits for _, plan in plans) else EXIT_FAILED


def until_interrupted(argv: Sequence[str]) -> int:
    """`main`; Ctrl-C ends it in one line, and with it every compiler."""
    try:
        return main(argv)
    except KeyboardInterrupt:
        print("interrupted: nothing is left running", file=sys.stderr)
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    cli.run(until_interrupted)
