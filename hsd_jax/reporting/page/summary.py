"""The words and few numbers at the top of the page: what was run, what to know before reading, how it goes."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from hsd_jax.reporting import diagnostics, health, trends
from hsd_jax.reporting.logs import Group, Record, Run, clean
from hsd_jax.reporting.page import svg


def facts(run: Run) -> list[str]:
    """What was run, in one line: only what the workdir really says."""
    config = run.config.get("config")
    config = config if isinstance(config, dict) else {}
    parts = [
        ("method", _field(config, "method", "name")),
        ("model", _field(config, "model", "path")),
        ("data", _field(config, "data", "source")),
        ("group size", _field(config, "sampling", "group_size")),
        ("commit", clean(run.config.get("commit"))[:10]),
    ]
    steps = _field(config, "steps")
    if run.metrics:
        newest = f"{run.metrics[-1]['step']:,}"
        parts.append(("step", f"{newest} of {steps}" if steps else newest))
    return [f"{name} {value}" for name, value in parts if value]


def _field(config: Record, *path: str) -> str:
    value: Any = config
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return "" if value is None or isinstance(value, dict | list) else clean(value)


def notes(runs: Sequence[Run], recorded: int, shown: int) -> list[str]:
    """What a reader must know before reading: nothing there yet, lines left out, rollouts left out."""
    said = []
    if not runs[0].metrics and not recorded:
        said.append("This run has not recorded a step yet. Open the report again when it has.")
    for run in runs:
        said += [f"{run.name}: left out {count:,} × {what}." for what, count in sorted(run.damage.items()) if count]
    if shown < recorded:
        said.append(
            f"The rollout view holds {shown:,} of {recorded:,} recorded problems, spread over all steps, to keep this "
            "file small (--max-megabytes). Figures and numbers use all of them."
        )
    return said


def tiles(run: Run, groups: Sequence[Group]) -> list[Record]:
    """The few numbers a reader wants first."""
    metrics, found = run.metrics, []
    _, evaluated = diagnostics.series(metrics, "eval/pass@1")
    if len(evaluated):
        note = f"from {_percent(float(evaluated[0]))}" if len(evaluated) > 1 else ""
        found.append({"label": "pass@1, held out", "value": _percent(float(evaluated[-1])), "note": note})
    for key, label in (("reward", "Pass rate"), ("coverage", "Coverage")):
        value = trends.recent(metrics, key)
        if np.isfinite(value):
            found.append({"label": label, "value": _percent(value), "note": "newest steps"})
    mass = diagnostics.cumulative_mass(diagnostics.rollouts_of(groups), (8,)).mean[0]
    if np.isfinite(mass):
        found.append({"label": "Credit near divergence", "value": _percent(float(mass)), "note": "within 8 tokens"})
    seconds = diagnostics.series_mean(metrics, "time/step")
    if np.isfinite(seconds):
        found.append({"label": "Time per step", "value": f"{seconds:.3g}\N{NO-BREAK SPACE}s", "note": ""})
    return found


def _percent(value: float) -> str:
    return f"{100 * value:.1f}\N{NO-BREAK SPACE}%" if np.isfinite(value) else "–"


def health_summary(findings: Sequence[health.Finding]) -> str:
    """The health panel in one line."""
    levels = Counter(finding.level for finding in findings)
    judged = len(findings) - levels["unknown"]
    if judged == 0:
        return "nothing recorded to judge yet"
    words = [f"{levels['ok']} of {judged} checks in order"]
    words += [
        f"{levels[level]} {text}" for level, text in (("act", "to act on"), ("watch", "to look at")) if levels[level]
    ]
    words += [f"{levels['unknown']} without data"] if levels["unknown"] else []
    return ", ".join(words)


def finding(found: health.Finding) -> Record:
    """A finding as the template shows it."""
    return {**found.__dict__, "value": svg.number(found.value) if np.isfinite(found.value) else "–"}
