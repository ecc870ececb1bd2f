"""Everything a run writes down: metrics, rollouts, evaluations, checkpoints, warnings, and the closing words."""

import dataclasses
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from etils import epath
from rich.console import Console

from hsd_jax import report
from hsd_jax.methods import peer_of
from hsd_jax.monitoring import console, guards, rollout_log, speed, writers
from hsd_jax.monitoring.console import Summary
from hsd_jax.rollout.collect import Batch
from hsd_jax.runtime import checkpoint, faults, multihost
from hsd_jax.runtime.timing import Clock, Compilations
from hsd_jax.setup.components import RunComponents
from hsd_jax.types import Rollouts
from hsd_jax.update.frozen import without_frozen
from hsd_jax.update.state import Trace, TrainState
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

    parts: RunComponents
    path: epath.Path
    store: checkpoint.Store
    sinks: list[writers.Sink]
    show: console.Show
    console: Console
    scores: Callable[[Params, int], dict[str, float]]
    row_sizes: Callable[[], list[Any]]
    resume_command: str
    frozen: dict[str, list[str]]
    clock: Clock
    compilations: Compilations
    lines: list[dict[str, Any]]
    pace: Callable[[float], dict[str, float]] = lambda mean: {}
    page: dict[str, Any] = field(default_factory=dict)
    saved_at: float = field(default_factory=time.monotonic)

    def record(self, batch: Batch, measured: Mapping[str, Any], trace: Trace) -> None:
        """Takes down a step: its metrics, and some of its rollouts where they are due."""
        ids = [row[:n].tolist() for row, n in zip(*_flat(batch.rollouts), strict=True)]
        texts = [text for row in batch.graded.texts for text in row]
        mine = {**batch.graded.counts(), "questions_drawn": batch.drawn, **writers.text_counts(texts, ids)}
        used = speed.of_host(batch.slot_steps, self.clock.step, self.compilations.take_programs())
        shares = multihost.gather(f"counts/{batch.step}", [mine, used])
        counts = added([counted for counted, _ in shares])
        words = {name: counts.pop(name) for name in writers.TEXT_COUNTS}
        self.page |= {**measured, **counts, **writers.text_means(words), **speed.of_step([used for _, used in shares])}
        self.page |= self.pace(self.page["response_length"])
        if measured.get("skipped"):
            names = [problem.id for problem in batch.problems]
            stats = {name: local_rows(values) for name, values in trace.stats.items()}
            guards.name_offenders(batch.step, names, stats, np.asarray(batch.rollouts.length_PG))
        every = self.parts.config.logging.rollouts_every
        if every and (batch.step == 1 or batch.step % every == 0):
            with self.clock.phase("log"):
                self._log_rollouts(batch, trace)

    def _log_rollouts(self, batch: Batch, trace: Trace) -> None:
        before = jax.process_index() * len(batch.problems)  # problems of the step that lie on earlier processes
        count = min(max(self.parts.config.logging.rollout_problems - before, 0), len(batch.problems))
        rows = rollout_log.entries(
            batch.step,
            batch.problems[:count],
            batch.rollouts,
            batch.graded,
            jax.tree.map(local_rows, trace),
            self.parts.texts.tokenizer,
        )
        rollout_log.write_together(self.path / "rollouts", batch.step, rows)

    def evaluation_is_due(self, step: int) -> bool:
        """Every so many steps, and at the end."""
        every = self.parts.config.evaluation.every
        return step == self.parts.config.steps or bool(every) and step % every == 0

    def evaluate(self, params: Params, step: int) -> None:
        """Adds the held-out scores to the step's line."""
        with self.clock.phase("evaluate"):
            self.page |= self.scores(params, step)

    def catch_up(self, params: Params, step: int) -> None:
        """Does the evaluation that a stop after `step` left out: for the step's line and for its checkpoint's score."""
        owed = self.evaluation_is_due(step) and self._score(step) is None
        if not multihost.gather(f"owed/{step}", owed)[0]:
            return
        self.evaluate(params, step)
        found, self.page = self.page, {}
        if not found:  # no held-out questions
            return
        with self.clock.phase("save"):
            checkpoint.add_score(self.store, step, found["eval/pass@1"])
        self.lines = [line | select_history(found) if line["step"] == step else line for line in self.lines]
        for sink in self.sinks:
            sink(step, found)

    def _score(self, step: int) -> float | None:
        return next((line.get("eval/pass@1") for line in reversed(self.lines) if line["step"] == step), None)

    def end_step(self, step: int) -> None:
        """Writes the finished step's line everywhere, shows it, and warns where the guards say so."""
        compiled = self.compilations.take()
        line = {"step": step, **self.page, **self.clock.lap(), "recompilations": compiled}
        self.page = {}
        self.lines.append(select_history(line))
        for sink in self.sinks:
            sink(step, {name: value for name, value in line.items() if name != "step"})
        with faults.stage("save"):
            checkpoint.write_manifests(self.store)
        self.show(step, line)
        guards.watch(self.lines, self.parts.config.guards, str(self.path))

    def checkpoint_is_due(self, step: int) -> bool:
        """Every so many steps, every so many minutes by the clock of process 0, and at the end."""
        settings = self.parts.config.checkpoints
        if step == self.parts.config.steps or step % settings.every == 0:
            return True
        late = time.monotonic() - self.saved_at >= 60 * settings.every_minutes
        return bool(settings.every_minutes) and multihost.gather(f"save/{step}", late)[0]

    def save(self, state: TrainState, step: int) -> None:
        """Starts writing a checkpoint with all that a continuation needs; its score is that of its own step, if any."""
        with self.clock.phase("save"), jax.transfer_guard("allow"):  # Orbax moves arrays in its own way
            checkpoint.save(self.store, step, without_frozen(state), self._meta(step), score=self._score(step))
        self.saved_at = time.monotonic()

    def _meta(self, step: int) -> dict[str, Any]:
        return {
            "step": step,
            "model": dataclasses.asdict(self.parts.model),
            "questions": dict(self.parts.questions.identity),
            "row_sizes": self.row_sizes(),
            "frozen": self.frozen,
            **json.loads((self.path / "config.json").read_text()),
        }

    def close(self, asked: str) -> None:
        """Waits for the last checkpoint and prints how the run went; `asked`: what ended it before it was done."""
        with self.clock.phase("save"):
            checkpoint.close(self.store)
        if not self.sinks:
            return
        self.clock.lap()
        if asked:
            self.console.print(f"stopped by {asked} after step {self.lines[-1]['step']}; continue with:")
            self.console.print(self.resume_command, soft_wrap=True, highlight=False)
        report.write_report(report.Arguments(str(self.path)))
        self.console.print(console.closing_table(self._summary()))
        words = console.words_on_coverage(self.parts.config, self.parts.method, self.lines)
        self.console.print(words, end="", highlight=False)
        if peer_of(self.parts.method):
            self.console.print(report.credit_profile(self.path), highlight=False)

    def _summary(self) -> Summary:
        ends = [found for line in self.lines if (found := console.held_out(line))]
        first, last = (ends[0], ends[-1]) if ends else ({}, {})
        places = {"checkpoints": str(self.path / "checkpoints"), "report": str(self.path / "report" / "index.html")}
        return Summary(first, last, self.clock.total, places)


def added(shares: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The sums over processes of what each has counted; a count that one does not name is zero there."""
    names = dict.fromkeys(name for share in shares for name in share)
    return {name: sum(share.get(name, 0) for share in shares) for name in names}


def _flat(rollouts: Rollouts) -> tuple[np.ndarray, np.ndarray]:
    response_PGT = np.asarray(rollouts.response_PGT)
    return response_PGT.reshape(-1, response_PGT.shape[-1]), np.asarray(rollouts.length_PG).reshape(-1)


def local_rows(x: Any) -> np.ndarray:
    """The rows of an array that lie on this process, in order."""
    if x.is_fully_addressable:
        return jax.device_get(x)
    parts = {shard.index[0].start or 0: shard.data for shard in x.addressable_shards}
    return np.concatenate([jax.device_get(parts[start]) for start in sorted(parts)])


def past_lines(path: epath.Path) -> list[dict[str, Any]]:
    """What a resumed run looks at again of the lines that it has already written."""
    file = path / "metrics.jsonl"
    return [select_history(json.loads(line)) for line in file.read_text().splitlines()] if file.exists() else []


def select_history(line: Mapping[str, Any]) -> dict[str, Any]:
    """What later steps and the closing words need of a line; whole lines would fill memory in a long run."""
    return {name: line[name] for name in HISTORY_KEYS if name in line}
