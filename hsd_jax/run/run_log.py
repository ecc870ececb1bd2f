"""What a run writes down: metrics, rollouts, evaluations, warnings, and the final summary."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from etils import epath

from hsd_jax.config import Config
from hsd_jax.monitoring import console, guards, rollout_log, speed, writers
from hsd_jax.reporting import logs
from hsd_jax.rollout.collect import Batch
from hsd_jax.runtime import multihost
from hsd_jax.runtime.timing import Clock, Compilations
from hsd_jax.types import Rollouts
from hsd_jax.update.device_arrays import local_rows
from hsd_jax.update.state import Trace
from models.qwen3 import Params

log = logging.getLogger(__name__)
HISTORY_KEYS = (
    *("step", "skipped", "coverage", "eval/greedy", "eval/pass@1", *guards.VARIETY, "eval/right_paths"),
    *(alarm.metric for alarm in guards.ALARMS),
    *(f"{kind}/{phase}" for phase in guards.PLANNED for kind in ("time", "plan")),
)


@dataclass
class RunLog:
    """One run's log while it is being written; only process 0 of a pod has sinks and shows anything."""

    config: Config
    path: epath.Path
    sinks: list[writers.Sink]
    show: console.Show
    scores: Callable[[Params, int], dict[str, float]]
    clock: Clock
    compilations: Compilations
    lines: list[dict[str, Any]]
    pace: Callable[[float, Mapping[str, float]], dict[str, float]] = lambda mean, seconds: {}
    page: dict[str, Any] = field(default_factory=dict)

    def record(self, batch: Batch, measured: Mapping[str, Any], trace: Trace, tokenizer: Any) -> None:
        """Takes down a step: its metrics, and some of its rollouts where they are due."""
        ids = [row[:n].tolist() for row, n in zip(*_flat(batch.rollouts), strict=True)]
        texts = [text for row in batch.graded.texts for text in row]
        mine = {**batch.graded.counts(), "questions_drawn": batch.drawn, **writers.text_counts(texts, ids)}
        used = speed.of_host(batch.slot_steps, self.clock.step, self.compilations.take_programs())
        shares = multihost.gather(f"counts/{batch.step}", [mine, used])
        counts = added([counted for counted, _ in shares])
        words = {name: counts.pop(name) for name in writers.TEXT_COUNTS}
        self.page |= {**measured, **counts, **writers.text_means(words), **speed.of_step([used for _, used in shares])}
        slowest = {phase: max(host[phase] for _, host in shares) for phase in ("sample", "update")}
        self.page |= self.pace(self.page["response_length"], slowest)
        if measured.get("skipped"):
            names = [problem.id for problem in batch.problems]
            stats = {name: local_rows(values) for name, values in trace.stats.items()}
            guards.name_offenders(batch.step, names, stats, np.asarray(batch.rollouts.length_PG))
        every = self.config.logging.rollouts_every
        if every and (batch.step == 1 or batch.step % every == 0):
            with self.clock.phase("log"):
                self._log_rollouts(batch, trace, tokenizer)

    def _log_rollouts(self, batch: Batch, trace: Trace, tokenizer: Any) -> None:
        before = jax.process_index() * len(batch.problems)  # problems of the step on earlier processes
        count = min(max(self.config.logging.rollout_problems - before, 0), len(batch.problems))
        rows = rollout_log.entries(
            batch.step,
            batch.problems[:count],
            batch.rollouts,
            batch.graded,
            jax.tree.map(local_rows, trace),
            tokenizer,
        )
        rollout_log.write_together(self.path / "rollouts", batch.step, rows)

    def evaluation_is_due(self, step: int) -> bool:
        """Every so many steps, and at the end."""
        every = self.config.evaluation.every
        return step == self.config.steps or bool(every) and step % every == 0

    def evaluate(self, params: Params, step: int) -> None:
        """Adds the held-out scores to the step's line."""
        with self.clock.phase("evaluate"):
            self.page |= self.scores(params, step)

    def take(self) -> dict[str, Any]:
        """What was added since the last line, which it is left out of."""
        found, self.page = self.page, {}
        return found

    def amend(self, step: int, found: Mapping[str, Any]) -> None:
        """Adds to the line of a step that has been written."""
        self.lines = [line | select_history(found) if line["step"] == step else line for line in self.lines]
        for sink in self.sinks:
            sink(step, dict(found))

    def score(self, step: int) -> float | None:
        """The held-out score of a step's line, if it has one."""
        return next((line.get("eval/pass@1") for line in reversed(self.lines) if line["step"] == step), None)

    def end_step(self, step: int) -> None:
        """Writes the finished step's line everywhere, shows it, and warns where the guards say so."""
        compiled = self.compilations.take()
        line = {"step": step, **self.take(), **self.clock.lap(), "recompilations": compiled}
        self.lines.append(select_history(line))
        for sink in self.sinks:
            sink(step, {name: value for name, value in line.items() if name != "step"})
        self.show(step, line)
        guards.watch(self.lines, self.config.guards, str(self.path))


def added(shares: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The sums over processes of what each has counted; a count that one does not name is zero there."""
    names = dict.fromkeys(name for share in shares for name in share)
    return {name: sum(share.get(name, 0) for share in shares) for name in names}


def _flat(rollouts: Rollouts) -> tuple[np.ndarray, np.ndarray]:
    response_PGT = np.asarray(rollouts.response_PGT)
    return response_PGT.reshape(-1, response_PGT.shape[-1]), np.asarray(rollouts.length_PG).reshape(-1)


def past_lines(path: epath.Path) -> list[dict[str, Any]]:
    """What a resumed run looks at again of the lines that it has already written."""
    file = path / "metrics.jsonl"
    lines = map(json.loads, file.read_text().splitlines() if file.exists() else ())
    # values that a run did not write would end it at the first warning that compares them
    return [{name: x for name, x in select_history(line).items() if logs.is_number(x)} for line in lines]


def select_history(line: Mapping[str, Any]) -> dict[str, Any]:
    """What later steps and the final summary need of a line; whole lines would fill memory in a long run."""
    return {name: line[name] for name in HISTORY_KEYS if name in line}
