"""Looks ahead before a run: samples a few groups with the untrained model and says whether hindsight can help it here.

It is the run's own first step, sampled, graded, scored and measured, behind an optimizer that changes nothing and
keeps no state. What a teacher at the very start would say is measured, which is where a run begins.
"""

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jax
import numpy as np
import optax
from etils import epath

from hsd_jax.config import Config
from hsd_jax.errors import InputError
from hsd_jax.methods.row import peer_of
from hsd_jax.monitoring import rollout_log
from hsd_jax.monitoring.writers import text_metrics
from hsd_jax.reporting import health
from hsd_jax.reporting.coverage import Observed, group_sizes, observed
from hsd_jax.reporting.logs import Group, Record, parse_group
from hsd_jax.rollout.collect import RolloutStage, sample_and_grade, weights_for_sampling
from hsd_jax.rollout.graders import open_graders, submit_in_training
from hsd_jax.runtime import paths, random_keys
from hsd_jax.runtime.timing import Clock
from hsd_jax.setup import components
from hsd_jax.setup.components import RunComponents
from hsd_jax.update.compiled import compiled_step, run_update

Verdict = Literal["can help", "may help", "cannot help as configured"]
# The checks of the health panel that mean something before the first update.
CHECKS = ("coverage", "teacher_coherence", "first_token_kl", "localization", "truncated", "unread_answers", "masked")
# Below this share of rollouts that failed and have a peer there is too little to repair for a run to be worth it.
LEAST_RECOVERABLE = 0.05


@dataclass(frozen=True)
class PreflightReport:
    """What was seen before training: the outlook in a sentence, the findings behind it, the numbers, the log lines."""

    outlook: Verdict
    reason: str
    findings: list[health.Finding]
    sizes: list[Observed]
    metrics: Record
    log: list[Record]


def preflight(config: Config, problems: int, build: Callable[[Config], RunComponents]) -> PreflightReport:
    """Samples `problems` groups with the initial weights and judges what a run would have to work with.

    `build` is `setup.build.build_components`.

    Raises: InputError for settings that cannot run, for methods without a teacher, and in a run of several processes.
    """
    if jax.process_count() > 1:
        raise InputError("--before-you-train runs in one process; start it on one host of the slice")
    parts = build(narrowed(config, problems))
    if not peer_of(parts.run.method):
        raise InputError(
            f"--before-you-train judges methods whose teacher reads a peer; method.name is {config.method.name!r}"
        )
    metrics, log = look(parts)
    groups = [group for group in (parse_group(line, Counter()) for line in log) if group is not None]
    return judge(metrics, groups, log)


def judge(metrics: Record, groups: Sequence[Group], log: list[Record]) -> PreflightReport:
    """The prognosis from one step's metrics and its groups."""
    findings = [finding for finding in health.examine([metrics]) if finding.name in CHECKS]
    sizes = [observed(groups, size) for size in group_sizes(groups)]
    return PreflightReport(*_outlook(findings, sizes), findings, sizes, metrics, log)


def narrowed(config: Config, problems: int) -> Config:
    """The config with one small batch: as many micro-batches as possible, so that it fits wherever the run fits.

    Raises: InputError when there is not at least one problem.
    """
    if problems < 1:
        raise InputError(f"--problems must be at least 1; got {problems}")
    # One problem per device at a time, and whole rounds of them.
    rows = jax.device_count() // max(config.mesh.tensor, 1)
    rounds = -(-problems // rows)
    return dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, problems_per_step=rounds * rows),
        optimizer=dataclasses.replace(config.optimizer, micro_batches=rounds),
    )


def look(parts: RunComponents) -> tuple[Record, list[Record]]:
    """(metrics, rollout log) of a first step that leaves the weights as they are."""
    clock, run, texts = Clock(), parts.run, parts.sampler.texts
    still = dataclasses.replace(parts.step.settings, optimizer=optax.set_to_zero())
    step = compiled_step(still, parts.step.layout, texts.frame, run.mesh)
    with open_graders(run.config.verifier, programs="code" in parts.questions.identity["weights"]) as graders:
        submit = submit_in_training(graders, run.config.verifier)
        stage = RolloutStage(run.config, run.method, parts.sampler, parts.questions.steps, submit)
        state = components.initial_state(run, still.optimizer)
        batch = sample_and_grade(stage, weights_for_sampling(stage, state.policy, clock), 1, clock)
    key = random_keys.key_of(run.config.seed, 1, "peers")
    _, metrics, trace = run_update(step, state, batch.arrays, key, clock)
    flat_ids = np.asarray(batch.rollouts.response_PGT).reshape(-1, batch.rollouts.response_PGT.shape[-1])
    ids = [row[:n].tolist() for row, n in zip(flat_ids, np.ravel(batch.rollouts.length_PG), strict=True)]
    words = text_metrics([text for row in batch.graded.texts for text in row], ids)
    host = jax.device_get(trace)
    log = rollout_log.entries(0, batch.problems, batch.rollouts, batch.graded, host, texts.tokenizer)
    return {"step": 0, **metrics, **batch.graded.counts(), **words, **clock.lap()}, log


def check_free(workdir: Path) -> None:
    """Raises InputError when the directory already holds anything: a run is never mixed with a look ahead."""
    if workdir.exists() and (not workdir.is_dir() or any(workdir.iterdir())):
        raise InputError(f"--workdir {workdir} is not empty; --before-you-train needs a new or an empty directory")


def write(prognosis: PreflightReport, workdir: Path, config: Config) -> None:
    """Leaves what was seen as a workdir of one step, from which the report makes its page."""
    workdir.mkdir(parents=True, exist_ok=True)
    said = json.dumps({"config": paths.as_record(config)}, default=str)
    (workdir / "config.json").write_text(said, encoding="utf-8")
    (workdir / "metrics.jsonl").write_text(json.dumps(prognosis.metrics) + "\n", encoding="utf-8")
    rollout_log.write(epath.Path(workdir) / "rollouts", 0, prognosis.log)


def as_text(prognosis: PreflightReport) -> str:
    """The prognosis for a terminal: the outlook, coverage by group size, the findings with what to do."""
    metrics = prognosis.metrics
    lines = [f"Hindsight {prognosis.outlook}: {prognosis.reason}", ""]
    lines.append(f"pass rate {metrics['reward']:.2f}, response length {metrics['response_length']:.0f} tokens")
    for seen in prognosis.sizes:
        lines.append(
            f"G = {seen.group_size:<3d} with a peer {seen.has_peer:.2f}, failed with a peer {seen.recoverable:.2f}"
            f" (±{_band(seen.recoverable_band)}, {seen.groups} groups)"
        )
    lines.append("")
    for finding in prognosis.findings:
        mark = {"ok": "ok  ", "watch": "look", "act": "act ", "unknown": "?   "}[finding.level]
        value = f"{finding.value:.3g}" if np.isfinite(finding.value) else "not measured"
        lines.append(f"{mark} {finding.title}: {value} ({finding.limit})")
        lines += [f"     {finding.advice}"] if finding.level in ("watch", "act") else []
    return "\n".join(lines)


def _outlook(findings: Sequence[health.Finding], sizes: Sequence[Observed]) -> tuple[Verdict, str]:
    most = sizes[-1].recoverable if sizes else 0.0
    solved = sizes[-1].pass_rate if sizes else 0.0
    bad = [finding for finding in findings if finding.level == "act"]
    doubtful = [finding for finding in findings if finding.level == "watch"]
    if most < LEAST_RECOVERABLE:
        why = "nearly every rollout already succeeds" if solved > 0.5 else "nearly no group has a success to learn from"
        return "cannot help as configured", f"only {most:.1%} of rollouts failed and have a peer; {why}."
    if bad:
        return "cannot help as configured", "see " + ", ".join(finding.title.lower() for finding in bad) + "."
    seen = f"{most:.0%} of rollouts failed and have a peer to learn from"
    if doubtful:
        return "may help", f"{seen}, but see {', '.join(finding.title.lower() for finding in doubtful)}."
    return "can help", f"{seen}, and the teacher passes every check."


def _band(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "?"
