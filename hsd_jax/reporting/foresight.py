"""Looks ahead before a run: samples a few groups with the untrained model and says whether hindsight can help it here.

Nothing is trained and no optimiser state exists: sampling, grading, peers, contexts and scoring are those of the run,
the gradient is left out. What a teacher at the very start would say is measured, which is where a run begins.
"""

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from hsd_jax import measures, methods, randomness, rollout_log, setup, teacher
from hsd_jax.clock import Clock
from hsd_jax.config import Config
from hsd_jax.contexts import Frame
from hsd_jax.credit import divergence_positions
from hsd_jax.errors import InputError
from hsd_jax.grading import submit_to
from hsd_jax.methods import Method
from hsd_jax.metrics import text_metrics
from hsd_jax.programs import to_host
from hsd_jax.reporting import health
from hsd_jax.reporting.coverage import Observed, group_sizes, observed
from hsd_jax.reporting.logs import Group, Record, parse_group
from hsd_jax.rollout import batch_of, sample_and_grade
from hsd_jax.setup import Parts
from hsd_jax.sharding import replicated
from hsd_jax.types import Problems, Rollouts
from hsd_jax.update import Settings, Trace, TrainState, choose_peers, interleave, micro_loss, prepare, restore_order
from hsd_jax.verifiers import pool
from models import hf
from models.qwen3 import Params

Outlook = Literal["can help", "may help", "cannot help as configured"]
# The checks of the health panel that mean something before the first update.
CHECKS = ("coverage", "teacher_coherence", "first_token_kl", "localisation", "truncated", "unread_answers", "masked")
# Below this share of rollouts that failed and have a peer there is too little to repair for a run to be worth it.
LEAST_RECOVERABLE = 0.05


@dataclass(frozen=True)
class Prognosis:
    """What was seen before training: the outlook in a sentence, the findings behind it, the numbers, the log lines."""

    outlook: Outlook
    reason: str
    findings: list[health.Finding]
    sizes: list[Observed]
    metrics: Record
    log: list[Record]


def foresee(config: Config, problems: int) -> Prognosis:
    """Samples `problems` groups with the initial weights and judges what a run would have to work with.

    Raises: InputError for settings that cannot run, for methods without a teacher, and in a run of several processes.
    """
    check(methods.resolve(config.method), config.method.name)
    metrics, log = look(setup.assemble(narrowed(config, problems)))
    groups = [group for group in (parse_group(line, Counter()) for line in log) if group is not None]
    return judge(metrics, groups, log)


def judge(metrics: Record, groups: Sequence[Group], log: list[Record]) -> Prognosis:
    """The prognosis from one step's metrics and its groups."""
    findings = [finding for finding in health.examine([metrics]) if finding.name in CHECKS]
    sizes = [observed(groups, size) for size in group_sizes(groups)]
    return Prognosis(*_outlook(findings, sizes), findings, sizes, metrics, log)


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


def check(method: Method, name: str) -> None:
    """Refuses what this look cannot judge."""
    if jax.process_count() > 1:
        raise InputError("--before-you-train runs in one process; start it on one host of the slice")
    if not methods.reads_teacher(method) or not method.reads.peer:
        raise InputError(f"--before-you-train judges methods whose teacher reads a peer; method.name is {name!r}")


def look(parts: Parts) -> tuple[Record, list[Record]]:
    """(metrics, rollout log) of one step that is sampled, graded and scored, but not learned from."""
    config, clock = parts.config, Clock()
    params = hf.load_params(config.model.path, parts.model, mesh=parts.mesh)
    with pool.start(workers=config.verifier.workers, math_limit_seconds=config.verifier.seconds) as graders:
        submit = submit_to(graders, lambda problem: problem.visible)
        batch = batch_of(parts, 1, parts.questions.steps[0])
        rows = config.data.problems_per_step * config.sampling.group_size
        program = setup.sampler(parts, rows=rows, response_tokens=max(parts.texts.windows.response.values()))
        rollouts, graded = sample_and_grade(parts, program, submit, params, batch, clock)
    with clock.phase("score"):
        pieces, placed, rewards_PG = setup.global_array(parts.mesh)((batch.pieces, rollouts, graded.rewards_PG))
        frame, key = jax.device_put(
            (parts.texts.frame, randomness.key_of(config.seed, 1, "peers")), replicated(parts.mesh)
        )
        measured, trace = jax.jit(partial(read, parts.settings))(params, pieces, frame, placed, rewards_PG, key)
        metrics, trace = to_host(measured), jax.device_get(trace)
    flat_ids = np.asarray(rollouts.response_PGT).reshape(-1, rollouts.response_PGT.shape[-1])
    ids = [row[:n].tolist() for row, n in zip(flat_ids, np.ravel(rollouts.length_PG), strict=True)]
    metrics |= graded.counts() | text_metrics([text for row in graded.texts for text in row], ids)
    log = rollout_log.entries(0, batch.problems, rollouts, graded, trace, parts.texts.tokenizer)
    return {"step": 0, **metrics, **clock.lap()}, log


def read(
    settings: Settings,
    params: Params,
    problems: Problems,
    frame: Frame,
    rollouts: Rollouts,
    rewards_PG: jax.Array,
    key: jax.Array,
) -> tuple[dict[str, jax.Array], Trace]:
    """What a first step would decide and measure; every copy of the weights is still the policy itself."""
    peers_PG = choose_peers(settings.method, problems, rollouts, rewards_PG, key)
    work, kept_PG, cut_PG = prepare(settings, problems, frame, rollouts, rewards_PG, peers_PG)
    names = teacher.names_of_copies(
        teacher=settings.method.teacher,
        teaches=True,
        anchored=bool(settings.method.beta),
        reference_every=settings.reference_every,
    )
    state = TrainState(params, (), dict.fromkeys(names, params), jnp.zeros((), jnp.int32))
    part_of: Callable[[Any], Any] = lambda part: micro_loss(settings, params, state, part)[1]  # noqa: E731
    stats = restore_order(jax.lax.map(part_of, interleave(work, settings.micro_batches)))
    divergence_PG = divergence_positions(rollouts.response_PGT, rollouts.length_PG, jnp.where(kept_PG, peers_PG, -1))
    weights_PGT = work.token.distill * work.weights_PGT
    trace = Trace(peers_PG, work.teacher, kept_PG, cut_PG, divergence_PG, weights_PGT, stats)
    return measures.measure(settings, rollouts, rewards_PG, trace), trace


def check_free(workdir: Path) -> None:
    """Raises InputError when the directory already holds anything: a run is never mixed with a look ahead."""
    if workdir.exists() and (not workdir.is_dir() or any(workdir.iterdir())):
        raise InputError(f"--workdir {workdir} is not empty; --before-you-train needs a new or an empty directory")


def write(prognosis: Prognosis, workdir: Path, config: Config) -> None:
    """Leaves what was seen as a workdir of one step, from which the report makes its page."""
    workdir.mkdir(parents=True, exist_ok=True)
    said = json.dumps({"config": dataclasses.asdict(config)}, default=str)
    (workdir / "config.json").write_text(said, encoding="utf-8")
    (workdir / "metrics.jsonl").write_text(json.dumps(prognosis.metrics) + "\n", encoding="utf-8")
    rollout_log.write(epath.Path(workdir) / "rollouts", 0, prognosis.log)


def as_text(prognosis: Prognosis) -> str:
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


def _outlook(findings: Sequence[health.Finding], sizes: Sequence[Observed]) -> tuple[Outlook, str]:
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
