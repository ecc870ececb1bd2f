"""A long run of a smaller tiny config, watched from outside: memory, open files, child processes, recompilations.

python -m benchmarks.long_run [--steps 2000]

Fails (exit code 1) if, after the warm-up, memory grows by 1 MB or more per 100 steps, anything is compiled again, or
files or processes are left open. Evaluations and checkpoints take tens of MB and give them back, at another moment each
time, so what counts is the floor: the least that was seen in every 100 steps. `--steps 30` only shows that it works:
the slope of a few steps says nothing.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

MB_PER_100_STEPS = 1.0
WARM_UP = 500  # steps, after which the allocator has settled
WINDOW = 100  # steps of which the least counts; an evaluation and two checkpoints are in each
SMALL = [
    *("--config", "configs/tiny.py", "--data.problems-per-step", "2", "--sampling.group-size", "2"),
    *("--sampling.response-tokens", "16", "--sampling.chunk", "16", "--data.context-tokens", "160"),
    *("--data.min-peer-tokens", "4", "--optimizer.loss-chunk", "64"),
    *("--evaluation.problems", "4", "--evaluation.samples", "1", "--evaluation.every", "100"),
    *("--checkpoints.every", "50", "--logging.rollouts-every", "50"),
]


@dataclass(frozen=True)
class Seen:
    """A process after a step: resident memory in MB, open files, and children that live."""

    step: int
    memory: float
    files: int
    children: int


def look(pid: int, step: int) -> Seen:
    """The process as the system sees it."""
    folder = Path("/proc") / str(pid)
    status = dict(line.split(":\t", 1) for line in (folder / "status").read_text().splitlines() if ":\t" in line)
    files = len(list((folder / "fd").iterdir()))
    return Seen(step, int(status["VmRSS"].split()[0]) / 1024, files, len(children(pid)))


def children(pid: int) -> list[int]:
    """Processes whose parent is `pid`."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(stat.parent.name))
    return found


def floors(seen: list[Seen], window: int, what: str) -> list[float]:
    """The least of a field in every whole window of steps."""
    found: dict[int, float] = {}
    for one in seen:
        k = (one.step - seen[0].step) // window
        found[k] = min(found.get(k, float("inf")), getattr(one, what))
    return [found[k] for k in sorted(found)][: (seen[-1].step - seen[0].step + 1) // window]


def slope(values: list[float], window: int) -> tuple[float, float]:
    """Growth per 100 steps by least squares, and its standard error."""
    steps = window * np.arange(len(values))
    (growth, _), covariance = np.polyfit(steps, values, 1, cov=True)
    return 100 * float(growth), 100 * float(np.sqrt(covariance[0, 0]))


def watch(steps: int, workdir: Path) -> tuple[list[Seen], list[dict[str, Any]], int]:
    """Trains and looks at the process whenever a step's line has been written."""
    command = [sys.executable, "-m", "hsd_jax.train", *SMALL, "--steps", str(steps), "--workdir", str(workdir)]
    seen: list[Seen] = []
    with (workdir.parent / "output.txt").open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        while process.poll() is None:
            with suppress(OSError, KeyError):  # the process ended while it was looked at
                step = written(workdir) - 1
                if step >= 1 and (not seen or seen[-1].step != step):
                    seen.append(look(process.pid, step))
            time.sleep(0.03)
    if process.returncode:
        print((workdir.parent / "output.txt").read_text(), file=sys.stderr)
    return seen, lines(workdir), process.returncode


def written(workdir: Path) -> int:
    """How many lines metrics.jsonl has."""
    file = workdir / "metrics.jsonl"
    return file.read_bytes().count(b"\n") if file.exists() else 0


def lines(workdir: Path) -> list[dict[str, Any]]:
    """The whole lines of metrics.jsonl."""
    file = workdir / "metrics.jsonl"
    return [json.loads(line) for line in file.read_text().split("\n")[:-1]] if file.exists() else []


def main() -> int:
    """Runs and judges."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=2000)
    steps = parser.parse_args().steps
    with tempfile.TemporaryDirectory() as folder:
        seen, log, code = watch(steps, Path(folder) / "run")
    if code or len(seen) < 16:
        print(f"the run ended with code {code} after {len(log)} lines")
        return 1
    warm = [one for one in seen if one.step > min(WARM_UP, steps // 4)]
    window = min(WINDOW, max(len(warm) // 4, 1))
    memory, files = floors(warm, window, "memory"), floors(warm, window, "files")
    growth, error = slope(memory, window)
    compiled, most = sum(line["recompilations"] for line in log), max(one.children for one in warm)
    print(f"steps {len(log) - 1}, looked at {len(warm)} times after step {warm[0].step - 1}")
    print(f"least memory of every {window} steps (MB): {' '.join(f'{one:.0f}' for one in memory)}")
    print(f"growth          {growth:+.3f} +- {error:.3f} MB per 100 steps")
    print(f"highest         {max(one.memory for one in warm):.0f} MB")
    print(f"open files      {files[0]:.0f} -> {files[-1]:.0f} (least of every {window} steps)")
    print(f"child processes {warm[0].children} -> {warm[-1].children}, most {most}")
    print(f"recompilations  {compiled}")
    leaked = files[-1] > files[0] + 2 or warm[-1].children > warm[0].children or most > warm[0].children + 2
    return int(growth >= MB_PER_100_STEPS or compiled > 0 or leaked)


if __name__ == "__main__":
    sys.exit(main())
