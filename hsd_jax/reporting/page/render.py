"""Puts the page together: reads the runs, chooses what fits, and fills the template. One file comes out."""

import base64
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np
from markupsafe import Markup

from hsd_jax.reporting import figures, health
from hsd_jax.reporting.logs import Group, Record, Run, read_groups, read_run
from hsd_jax.reporting.page import encode, summary, svg

HERE = Path(__file__).parent
# The strongest color stands for the credit that this share of tokens stays below, rounded up to a round number.
COLOR_QUANTILE = 0.99
ROUND_LIMITS = (0.1, 0.2, 0.3, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 20.0)


@dataclass(frozen=True)
class Loaded:
    """A run with its groups without texts, and of the run that is shown in full the blocks for the page."""

    run: Run
    groups: list[Group]
    blocks: list[bytes]
    previews: list[str]
    tokens: encode.TokenTable


def load(workdir: Path, *, texts: bool) -> Loaded:
    """Reads a workdir, one group at a time; with `texts` the groups are also packed for the rollout view."""
    run, table = read_run(workdir), encode.TokenTable()
    groups, blocks, previews = [], [], []
    for group in read_groups(workdir, run.damage):
        groups.append(encode.without_texts(group))
        if texts:
            blocks.append(encode.encode_group(group, table))
            previews.append(" ".join(group.question[:400].split())[:90])
    return Loaded(run, groups, blocks, previews, table)


def render(main: Loaded, others: Sequence[Loaded], most_bytes: int) -> str:
    """The whole page as text, below `most_bytes` where the texts allow it (what was left out is said on the page)."""
    runs = run_data(main, others)
    curves, credit = figures.curves(runs), figures.credit_figures(runs)
    tokens = encode.to_text(encode.encode_table(main.tokens))
    fixed = len(tokens) + 400_000 + 40 * sum(len(line.x) for figure in (*curves, *credit) for line in figure.series)
    shown = choose_groups(
        [group.step for group in main.groups], [len(block) for block in main.blocks], most_bytes - fixed
    )
    findings = health.examine(main.run.metrics)
    script = (HERE / "page.js").read_text(encoding="utf-8")
    return _template().render(
        title=main.run.name,
        facts=summary.facts(main.run),
        notes=summary.notes([item.run for item in (main, *others)], len(main.groups), len(shown)),
        tiles=summary.tiles(main.run, main.groups),
        health_summary=summary.health_summary(findings),
        urgent=[summary.finding(finding) for finding in findings if finding.level in ("act", "watch")],
        findings=[summary.finding(finding) for finding in findings],
        curves=[_card(figure) for figure in curves],
        figures=[_card(figure) for figure in credit],
        shown_rollouts=sum(len(main.groups[index].rollouts) for index in shown),
        style=Markup((HERE / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash="sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=Markup(encode.script_json(_page_data(main, shown, [*curves, *credit]))),
        tokens=tokens,
        blocks=[encode.to_text(main.blocks[index]) for index in shown],
    )


def run_data(main: Loaded, others: Sequence[Loaded]) -> list[figures.RunData]:
    """What the figures need of all runs; a number tells directories of the same name apart."""
    names: Counter[str] = Counter()
    runs = []
    for item in (main, *others):
        names[item.run.name] += 1
        count = names[item.run.name]
        name = item.run.name if count == 1 else f"{item.run.name} ({count})"
        runs.append(figures.RunData(name, item.run.metrics, item.groups))
    return runs


def choose_groups(steps: Sequence[int], sizes: Sequence[int], most_bytes: int) -> list[int]:
    """Indices of the groups that fit into `most_bytes` of base64, in the order of the log.

    When not all fit, every step gives its first group before any gives its second, newest steps first.
    """
    seen: Counter[int] = Counter()
    rank = []
    for step in steps:
        rank.append(seen[step])
        seen[step] += 1
    kept, used = [], 0
    for index in sorted(range(len(steps)), key=lambda index: (rank[index], -steps[index])):
        used += 4 * ((sizes[index] + 2) // 3) + 400
        if used > most_bytes:
            break
        kept.append(index)
    return sorted(kept)


def credit_limit(groups: Sequence[Group]) -> float:
    """The credit in nats at which color is strongest: one for the whole run, so that colors can be compared."""
    found = [np.abs(rollout.credit) for group in groups for rollout in group.rollouts]
    values = np.concatenate(found) if found else np.zeros(0)
    values = values[np.isfinite(values)]
    high = float(np.quantile(values, COLOR_QUANTILE)) if len(values) else 1.0
    return next((limit for limit in ROUND_LIMITS if limit >= high), ROUND_LIMITS[-1])


def _template() -> jinja2.Template:
    loader = jinja2.FileSystemLoader(HERE)
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.get_template("page.html")


def _page_data(main: Loaded, shown: Sequence[int], drawn: Sequence[figures.Figure]) -> Record:
    return {
        "credit_limit": credit_limit(main.groups),
        "groups": [_group_index(main.groups[index], main.previews[index]) for index in shown],
        "charts": {figure.name: _chart_data(figure) for figure in drawn if not figure.empty},
    }


def _group_index(group: Group, preview: str) -> Record:
    return {
        "step": group.step,
        "id": group.question_id,
        "source": group.source,
        "difficulty": group.difficulty,
        "preview": preview,
        "rollouts": [
            {
                "reward": rollout.reward,
                "reason": rollout.reason,
                "finished": rollout.finished,
                "peer": rollout.peer,
                "context": rollout.context,
                "divergence": rollout.divergence,
                "weight": rollout.weight,
                "length": len(rollout.credit),
                "peak": float(np.max(np.abs(np.nan_to_num(rollout.credit)), initial=0.0)),
            }
            for rollout in group.rollouts
        ],
    }


def _chart_data(figure: figures.Figure) -> Record:
    x, _ = svg.scales(figure)
    return {
        "x_label": figure.x_label,
        "y_label": figure.y_label,
        "low": x.low,
        "high": x.high,
        "left": x.start,
        "right": x.end,
        "categories": list(figure.categories),
        "series": [
            {
                "label": line.label,
                "x": _rounded(line.x),
                "y": _rounded(line.y),
                "band": _rounded(line.band),
            }
            for line in figure.series
        ],
    }


def _rounded(values: figures.Numbers) -> list[float]:
    return [float(f"{value:.6g}") for value in values]


def _card(figure: figures.Figure) -> Record:
    newest = [line.y[np.isfinite(line.y)] for line in figure.series[:1]] if not figure.caption else []
    return {
        "name": figure.name,
        "title": figure.title,
        "caption": figure.caption,
        "empty": figure.empty,
        "latest": svg.number(float(newest[0][-1])) if newest and len(newest[0]) else "",
        "legend": _legend(figure),
        "svg": "" if figure.empty else svg.draw(figure),
    }


def _legend(figure: figures.Figure) -> list[Record]:
    """Keys of the lines; points share the color of the line they belong to and need none."""
    lines = [line for line in figure.drawn if not line.points]
    return [
        {
            "label": line.label,
            "hue": line.hue % svg.HUES,
            "shape": "bar" if figure.categories else f"d{line.dash}",
        }
        for line in lines
        if len(lines) > 1
    ]
