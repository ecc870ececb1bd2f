"""What `tools.compare_methods` reads off the metrics of a run: scores, collapse, and which warning came first."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hsd_jax.monitoring import guards
from hsd_jax.reporting import health
from hsd_jax.reporting.logs import Record, read_run
from hsd_jax.update.metric_table import Threshold

GOOD = 0.8  # the pass@1 whose step is reported
FALL = 0.1  # a run has begun to collapse when pass@1 is so far below its best
COLLAPSED = 0.5  # and has collapsed when it ends below this share of its best

# Signs that neither guards nor health panel look at: the mean of 5 steps against that of the run's first 10 steps.
RISES = (
    guards.Alarm("kl", Threshold(5, 5), "teacher and student move apart", ratio=True),
    guards.Alarm("credit_before_divergence", Threshold(5, 5), "credit where nothing differs", ratio=True),
    guards.Alarm("teacher_entropy", Threshold(2, 2), "the teacher becomes unsure", ratio=True),
)


@dataclass(frozen=True)
class Finished:
    """A run, whole or in progress: seed, commit, and one record per step."""

    name: str
    seed: int
    commit: str
    metrics: tuple[Record, ...]


def read(out: Path, name: str) -> list[Finished]:
    """The runs OUT/NAME-SEED that have been evaluated at least once, in the order of seeds."""
    found = []
    for path in out.glob(f"{name}-*"):
        seed = path.name.removeprefix(f"{name}-")
        if path.is_dir() and seed.isdecimal():
            run = read_run(path)
            if any("eval/pass@1" in line for line in run.metrics):
                found.append(Finished(name, int(seed), str(run.config.get("commit", "")), tuple(run.metrics)))
    return sorted(found, key=lambda one: one.seed)


def last_step_of(workdir: Path) -> int:
    """The last step with a held-out score; -1 before the first. A line that is still being written does not count."""
    file = workdir / "metrics.jsonl"
    steps = [-1]
    for line in file.read_text(errors="replace").splitlines() if file.exists() else []:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        steps += [record["step"]] if isinstance(record, dict) and "eval/pass@1" in record else []
    return max(steps)


def curve(run: Finished, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of a metric where it was recorded as a number."""
    points = [(line["step"], line[key]) for line in run.metrics if _is_number(line.get(key))]
    return np.array([step for step, _ in points], float), np.array([value for _, value in points], float)


def last(run: Finished, key: str) -> float:
    """The last value of a metric; nan if it was never recorded."""
    _, values = curve(run, key)
    return float(values[-1]) if len(values) else float("nan")


def recent(run: Finished, key: str, steps: int = 5) -> float:
    """The mean over the last steps; nan if there are none."""
    _, values = curve(run, key)
    return float(values[-steps:].mean()) if len(values) else float("nan")


def step_of_good(run: Finished) -> float:
    """The first evaluation at which pass@1 is good; nan if none."""
    steps, scores = curve(run, "eval/pass@1")
    return float(steps[np.argmax(scores >= GOOD)]) if (scores >= GOOD).any() else float("nan")


def step_of_fall(run: Finished) -> float:
    """The first evaluation at which pass@1 is clearly below its best so far; nan if none."""
    steps, scores = curve(run, "eval/pass@1")
    fallen = scores < np.maximum.accumulate(scores) - FALL
    return float(steps[np.argmax(fallen)]) if fallen.any() else float("nan")


def has_collapsed(run: Finished) -> bool:
    """Whether pass@1 ends below half of its best."""
    _, scores = curve(run, "eval/pass@1")
    return bool(scores[-1] < COLLAPSED * scores.max())


def warnings(run: Finished) -> dict[str, int]:
    """The step of each sign's first time: an alarm of a training run, a check of the report's health panel, a rise.

    A check counts from where its level leaves "ok"; one that never was "ok" says nothing about this run.
    """
    lines: list[dict[str, Any]] = [dict(line) for line in run.metrics if line["step"]]
    given: dict[str, int] = {}
    was_ok: set[str] = set()
    for n in range(1, len(lines) + 1):
        step = lines[n - 1]["step"]
        for kind, alarms in (("guard", guards.ALARMS), ("rise", RISES)):
            for alarm in [alarm for alarm in alarms if guards.rings(alarm, lines[:n])]:
                given.setdefault(f"{kind}: {alarm.metric}", step)
        for finding in health.examine(lines[:n]):
            was_ok |= {finding.name} if finding.level == "ok" else set()
            if finding.name in was_ok and finding.level in ("watch", "act"):
                given.setdefault(f"{finding.level}: {finding.name}", step)
    return given


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and bool(np.isfinite(value))
