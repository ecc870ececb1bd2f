"""A long run of a smaller tiny config, watched from outside: memory, open files, child processes, recompilations.

python -m benchmarks.long_run [--steps 2000]

Fails (exit code 1) if, after the warm-up, memory grows by 1 MB or more per 100 steps (least squares over all steps),
anything is compiled again, or files or processes are left open. `--steps 20` only shows that it works: the slope of a
few steps says nothing.
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
SMALL = [
    *("--config", "configs/tiny.py", "--data.problems-per-step", "2", "--sampling.group-size", "2"),
    *("--sampling.response-tokens", "32", "--evaluation.problems", "4", "--evaluation.samples", "1"),
    *("--evaluation.every", "100", "--checkpoints.every", "50", "--logging.rollouts-every", "50"),
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


def slope(seen: list[Seen]) -> float:
    """Growth of memory in MB per 100 steps, by least squares."""
    return 100 * float(np.polyfit([one.step for one in seen], [one.memory for one in seen], 1)[0])


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
            time.sleep(0.1)
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
    if code or len(seen) < 4:
        print(f"the run ended with code {code} after {len(log)} lines")
        return 1
    warm = [one for one in seen if one.step > min(200, steps // 4)]
    growth, compiled = slope(warm), sum(line["recompilations"] for line in log)
    files, most = warm[-1].files - warm[0].files, max(one.children for one in warm) - warm[0].children
    print(f"steps {len(log) - 1}, looked at {len(warm)} times after step {warm[0].step - 1}")
    print(f"memory          {warm[0].memory:.0f} -> {warm[-1].memory:.0f} MB, {growth:+.3f} MB per 100 steps")
    print(f"open files      {warm[0].files} -> {warm[-1].files}")
    print(f"child processes {warm[0].children} -> {warm[-1].children}, most {most + warm[0].children}")
    print(f"recompilations  {compiled}")
    return int(growth >= MB_PER_100_STEPS or compiled > 0 or files > 4 or most > 2)


if __name__ == "__main__":
    sys.exit(main())
