"""The training command in processes that tests may kill: forked from one that has imported everything already.

What is forked has no JAX backend yet, so every run chooses its own devices. A run tells in which phase it is.
"""

import json
import multiprocessing
import os
import runpy
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tests.support import xla_flags
from tests.support.paths import ROOT

TINY = [
    *("--config", str(ROOT / "configs" / "tiny.py"), "--data.problems-per-step", "2", "--sampling.group-size", "4"),
    *("--sampling.response-tokens", "64", "--evaluation.problems", "4", "--evaluation.samples", "1"),
    *("--evaluation.every", "2", "--checkpoints.every", "2", "--logging.rollouts-every", "1"),
]
# Keys of a line that depend on the machine's speed, not on the training.
OF_TIME = ("time/", "recompilations", "speed/", "hosts/", "compiled/")
# A variable: lay the processes' devices out in turns, so that no process has rows side by side, as on real slices.
IN_TURNS = "DEVICES_IN_TURNS"
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["hsd_jax.train", "hsd_jax.report", "transformers.models.auto.tokenization_auto"])


@dataclass(frozen=True)
class Run:
    """A run that was started: its process, the phases it enters, its directory, and what it prints."""

    process: BaseProcess
    phases: Connection
    workdir: Path
    output: Path

    def said(self) -> str:
        """What it has printed, with the line breaks of the screen removed."""
        return " ".join(self.output.read_text().split())


def environment(folder: Path, devices: int = 1) -> dict[str, str]:
    """Virtual CPU devices, a folder for data, and one for compiled programs that all runs of a test process share."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    return {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": xla_flags.devices(devices),
        "JAX_COMPILATION_CACHE_DIR": f"{os.environ['TESTS_COMPILED']}/runs-{worker}",
        "HSD_JAX_DATA": str(folder / "data"),
        "PYTHONPATH": str(ROOT),
    }


def start(variables: Mapping[str, str], workdir: Path, *argv: str, name: str = "output", cwd: Path = ROOT) -> Run:
    """Begins `python -m hsd_jax.train --workdir ... argv` with these environment variables.

    The workdir is given relative to the current directory, as users give it.
    """
    workdir.parent.mkdir(parents=True, exist_ok=True)
    output = workdir.parent / f"{workdir.name}-{name}.txt"
    phases, theirs = SERVER.Pipe(duplex=False)
    command = ["hsd_jax.train", *argv, "--workdir", os.path.relpath(workdir, cwd)]
    process = SERVER.Process(target=_run, args=(command, dict(variables), cwd, workdir, output, theirs))
    process.start()
    theirs.close()
    return Run(process, phases, workdir, output)


def finish(run: Run, code: int = 0, seconds: float = 600) -> str:
    """Waits for the end of a run and returns what it printed."""
    deadline = time.monotonic() + seconds
    while run.process.is_alive() and time.monotonic() < deadline:
        with suppress(EOFError):  # a full pipe would stop the run
            while run.phases.poll():
                run.phases.recv()
        run.process.join(0.05)
    if run.process.is_alive():
        run.process.kill()
        raise AssertionError(f"no end within {seconds} s: {run.said()[-3000:]}")
    assert run.process.exitcode == code, run.said()[-3000:]
    return run.said()


def reach(run: Run, step: int, phase: str) -> None:
    """Waits until a run enters a phase of a step; a checkpoint is saved in its step's "save"."""
    try:
        while (seen := run.phases.recv()) != (step, phase):
            assert seen[0] <= step, f"passed {phase} of step {step}"
    except EOFError:
        run.process.join()
        raise AssertionError(f"ended before {phase} of step {step}: {run.said()[-3000:]}") from None


def kill(run: Run) -> None:
    """kill -9, and waits until the processes that it had started are gone too."""
    pid = run.process.pid
    assert pid is not None and run.process.is_alive(), run.said()[-3000:]
    family = descendants(pid)
    run.process.kill()
    run.process.join()
    deadline = time.monotonic() + 20
    while left := [one for one in family if Path(f"/proc/{one}").exists()]:
        assert time.monotonic() < deadline, f"processes {left} outlive their run"
        time.sleep(0.02)


def descendants(pid: int) -> list[int]:
    """The living processes that a process has started, and theirs."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                parents[int(stat.parent.name)] = int(parent)
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


def lines(workdir: Path) -> list[dict[str, Any]]:
    """The whole lines of metrics.jsonl."""
    file = workdir / "metrics.jsonl"
    return [json.loads(line) for line in file.read_text().split("\n")[:-1]] if file.exists() else []


def trained(workdir: Path) -> list[dict[str, Any]]:
    """The lines without what depends on the machine's speed."""
    return [{k: v for k, v in line.items() if not k.startswith(OF_TIME)} for line in lines(workdir)]


def _run(
    argv: list[str], variables: dict[str, str], cwd: Path, workdir: Path, output: Path, phases: Connection
) -> None:
    os.environ.update(variables)
    os.chdir(cwd)
    with output.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    _tell(workdir, phases)
    if IN_TURNS in variables:
        _take_turns()
    sys.argv = argv
    runpy.run_module("hsd_jax.train", run_name="__main__")


def _tell(workdir: Path, phases: Connection) -> None:
    """Sends (step, phase) whenever the run enters a phase, and before it writes its report."""
    from hsd_jax.reporting import write
    from hsd_jax.runtime.timing import Clock

    inner, write_page = Clock.phase, write.write_page

    def tell(name: str) -> None:
        file = workdir / "metrics.jsonl"
        written = file.read_bytes().count(b"\n") if file.exists() else 0
        phases.send((max(written - 1, 0) if name in ("start", "save", "report") else written, name))

    @contextmanager
    def phase(self: Clock, name: str) -> Iterator[None]:
        tell(name)
        with inner(self, name):
            yield

    def reported(*args: Any) -> Any:
        tell("report")
        return write_page(*args)

    Clock.phase, write.write_page = phase, reported


def _take_turns() -> None:
    from jax.experimental import mesh_utils

    inner = mesh_utils.create_device_mesh

    def in_turns(sizes: Any, devices: Any, **options: Any) -> Any:
        own = {d.process_index: [e for e in devices if e.process_index == d.process_index] for d in devices}
        return inner(sizes, [d for turn in zip(*own.values(), strict=True) for d in turn], **options)

    mesh_utils.create_device_mesh = in_turns
