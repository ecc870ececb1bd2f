"""Runs the methods on the tiny model, several seeds each, and shows them side by side.

    python -m tools.compare_methods run --out runs/methods [--methods hsd grpo] [--seeds 0 1 2] [--jobs 1] [--steps 50]
    python -m tools.compare_methods table --out runs/methods

`run` skips what is finished and continues what is not, so it can be stopped (Ctrl-C) and started again at any time.
`table` prints Markdown tables and writes two figures (PNG and SVG) into the same directory; it needs no run to be
finished.
"""

import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated

import tyro

from hsd_jax.errors import EXIT_DONE, EXIT_FAILED, InputError
from tools import compare_figures, compare_tables
from tools.compare_runs import Finished, last_step_of, read

EXIT_INTERRUPTED = 130

# configs/tiny.py freezes the teacher of every row whose divergence would otherwise follow its own student (`None` gives
# a row its own teacher back), and leaves no room for the solutions that two rows read.
OWN_TEACHER = ("--method.teacher", "None")
SKILLS = ("--data.skill-bank", "assets/tiny_skills.jsonl", "--data.skill-tokens", "80", "--data.context-tokens", "272")
SOLUTION = ("--data.solution-tokens", "72", "--data.context-tokens", "224")
METHODS: dict[str, tuple[str, ...]] = {
    "hsd": (),
    "opsd": (),
    "opsd_official": (*OWN_TEACHER, *SOLUTION),
    "sdpo": OWN_TEACHER,
    "sdft": (*OWN_TEACHER, *SOLUTION),
    "rlsd": OWN_TEACHER,
    "grpo": OWN_TEACHER,
    "dr_grpo": OWN_TEACHER,
    "gspo": OWN_TEACHER,
    "dapo": OWN_TEACHER,
    "grpo_opsd": (),
    "rlrt": OWN_TEACHER,
    "antisd": OWN_TEACHER,
    "demopsd": OWN_TEACHER,
    "purified_opsd": (*OWN_TEACHER, *SOLUTION),
    "vopd": OWN_TEACHER,
    "msd": (*OWN_TEACHER, *SOLUTION),
    **dict.fromkeys(("egrsd", "cl_egrsd", "mopd", "srpo", "oasis", "ssopd", "sipo", "rlcsd"), OWN_TEACHER),
    **dict.fromkeys(("topd", "rethinking_opd", "stable_opd", "brts", "cgtr", "sdpo_trust_region"), OWN_TEACHER),
    "popd": (*OWN_TEACHER, "--method.horizon-every", "5"),
    "rcsd": (*OWN_TEACHER, "--data.rubric-tokens", "80", "--data.context-tokens", "272"),
    "ccopd": (*OWN_TEACHER, "--data.source", "tiny_bare"),
    "sgsd": (*OWN_TEACHER, *SKILLS),
}
# Which settings let a teacher and its student drift away together: each differs from `hsd` above in what its name says.
TEACHERS: dict[str, tuple[str, ...]] = {
    "hsd_live": OWN_TEACHER,
    "hsd_live_noref": (*OWN_TEACHER, "--method.beta", "0"),
    "hsd_live_strongref": (*OWN_TEACHER, "--method.beta", "0.1"),
    "hsd_ema": ("--method.teacher", "ema"),
    "hsd_synced": ("--method.teacher", "synced"),
    "opsd_live": OWN_TEACHER,
    "grpo_opsd_live": OWN_TEACHER,
}
# What becomes of `opsd_official` without the clip of single vocabulary entries.
UNCLIPPED: dict[str, tuple[str, ...]] = {
    "opsd_official_unclipped": (*OWN_TEACHER, *SOLUTION, "--method.divergence", "forward"),
}
VARIANTS = METHODS | UNCLIPPED | TEACHERS
ROWS = {name: name if name in METHODS else name.split("_live")[0] for name in VARIANTS} | {
    "hsd_ema": "hsd",
    "hsd_synced": "hsd",
    "opsd_official_unclipped": "opsd_official",
}


@dataclass(frozen=True)
class Run:
    """Train every method with every seed, one after the other."""

    out: Path = Path("runs/methods")
    """Directory of the runs; each is OUT/METHOD-SEED, its output OUT/METHOD-SEED.log."""
    methods: tuple[str, ...] = tuple(VARIANTS)
    """Methods and variants to run."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of each."""
    jobs: int = 1
    """Runs at a time; each wants about 1.5 GB and all cores."""
    steps: int = 50
    """Updates of every run."""
    config: Path = Path("configs/tiny.py")
    """Config file of all runs."""


@dataclass(frozen=True)
class Table:
    """Print the comparison and draw its figures."""

    out: Path = Path("runs/methods")
    """Directory of the runs."""
    methods: tuple[str, ...] = tuple(VARIANTS)
    """Methods and variants to show, in this order."""


@dataclass(frozen=True)
class Job:
    """One run that is to be done."""

    name: str
    workdir: Path
    command: tuple[str, ...]


@dataclass
class Live:
    """A run that has been started."""

    job: Job
    process: subprocess.Popen[bytes]
    output: IO[bytes]


def command_of(settings: Run, name: str, seed: int) -> tuple[str, ...]:
    """The command line of one run; it continues by itself where it was stopped."""
    started = ("--config", str(settings.config), "--workdir", str(settings.out / f"{name}-{seed}"), "--resume", "auto")
    shown = ("--steps", str(settings.steps), "--seed", str(seed), "--method.name", ROWS[name])
    return (sys.executable, "-m", "hsd_jax.train", *started, *shown, *VARIANTS[name])


def jobs_of(settings: Run) -> list[Job]:
    """All runs, the seeds of a method side by side.

    Raises: InputError for an unknown method, or fewer than one job or step.
    """
    _known(settings.methods)
    for field, value in (("--jobs", settings.jobs), ("--steps", settings.steps)):
        if value < 1:
            raise InputError(f"{field} must be at least 1; got {value}")
    pairs = [(name, seed) for name in settings.methods for seed in settings.seeds]
    return [
        Job(f"{name}-{seed}", settings.out / f"{name}-{seed}", command_of(settings, name, seed)) for name, seed in pairs
    ]


def run(settings: Run) -> int:
    """Runs what is not finished; names what fails and goes on. Returns the command's exit code."""
    settings.out.mkdir(parents=True, exist_ok=True)
    jobs = jobs_of(settings)
    waiting = [job for job in jobs if last_step_of(job.workdir) < settings.steps]
    print(f"{len(jobs)} runs, {len(jobs) - len(waiting)} of them finished before", flush=True)
    failed: list[str] = []
    live: list[Live] = []
    try:
        while waiting or live:
            while waiting and len(live) < settings.jobs:
                live.append(_start(waiting.pop(0)))
            time.sleep(0.2)
            for done in [one for one in live if one.process.poll() is not None]:
                live.remove(done)
                failed += _close(done, settings.steps)
    except KeyboardInterrupt:
        _stop(live)
        print("stopped; the same command continues")
        return EXIT_INTERRUPTED
    if failed:
        print(f"{len(failed)} of {len(jobs)} runs failed: {', '.join(failed)}; see their .log files in {settings.out}")
    return EXIT_FAILED if failed else EXIT_DONE


def _start(job: Job) -> Live:
    print(f"{job.name}: {shlex.join(job.command[1:])}", flush=True)
    output = job.workdir.with_name(f"{job.name}.log").open("ab")
    # In a session of its own a run hears Ctrl-C once, from here: twice would make it leave without saving.
    process = subprocess.Popen(job.command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    return Live(job, process, output)


def _close(done: Live, steps: int) -> list[str]:
    """The run's name if it did not get to its end, which is also said."""
    done.output.close()
    code, reached = done.process.returncode, last_step_of(done.job.workdir)
    if reached >= steps:
        print(f"{done.job.name}: finished", flush=True)
        return []
    lines = done.job.workdir.with_name(f"{done.job.name}.log").read_text(errors="replace").strip().splitlines()
    where = f"after step {reached}" if reached >= 0 else "before its first step"
    print(f"{done.job.name}: failed {where}, exit code {code}: {lines[-1] if lines else 'no output'}", flush=True)
    return [done.job.name]


def _stop(live: Sequence[Live]) -> None:
    """Asks every run to finish its step and save, and waits; a second Ctrl-C makes them leave at once."""
    if live:
        print(f"stopping after the step in progress: {', '.join(one.job.name for one in live)}", flush=True)
    for _ in range(2):
        for one in live:
            one.process.send_signal(signal.SIGINT)
        try:
            for one in live:
                one.process.wait()
        except KeyboardInterrupt:
            continue
        break
    for one in live:
        one.process.wait()
        one.output.close()


def table(settings: Table) -> int:
    """Prints the tables and writes the figures of all runs found.

    Raises: InputError for an unknown method or without any run.
    """
    _known(settings.methods)
    runs: dict[str, list[Finished]] = {}
    for name in settings.methods:
        found = read(settings.out, name)
        if found:
            runs[name] = found
    if not runs:
        raise InputError(f"--out {settings.out}: holds no run; make some: python -m tools.compare_methods run")
    print(compare_tables.of_methods(runs))
    drifting = {name: runs[name] for name in ("hsd", *TEACHERS) if name in runs}
    if drifting:
        print(compare_tables.of_warnings(drifting))
        print(compare_tables.of_signs(drifting))
    for path in compare_figures.write(runs, drifting, settings.out):
        print(f"wrote {path}")
    return EXIT_DONE


def _known(names: Sequence[str]) -> None:
    unknown = [name for name in names if name not in VARIANTS]
    if unknown:
        raise InputError(f"--methods: no {', '.join(map(repr, unknown))}; the table has {', '.join(VARIANTS)}")


def main(argv: Sequence[str]) -> int:
    """The command; returns its exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    choices = Annotated[Run, tyro.conf.subcommand("run")] | Annotated[Table, tyro.conf.subcommand("table")]
    settings = tyro.cli(choices, args=list(argv), prog="python -m tools.compare_methods", description=__doc__)  # type: ignore[arg-type]
    return run(settings) if isinstance(settings, Run) else table(settings)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except InputError as error:
        sys.exit(f"error: {error}")
