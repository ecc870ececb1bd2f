"""The figures of the report as data: one record per figure, from which the page, the pictures and the CSV are made.

Because all three read the same record, a picture in a paper and a point on the page cannot disagree.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from hsd_jax.reporting import diagnostics
from hsd_jax.reporting.coverage import DIFFICULTIES, difficulty_of, group_sizes, most_recoverable, observed, recoverable
from hsd_jax.reporting.credit_profile import Means, offset_profile
from hsd_jax.reporting.logs import Group, Record
from hsd_jax.types import PHASES
from hsd_jax.update.metric_table import metric

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Series:
    """One line or set of points: `hue` picks the color (one per run or group), `dash` the stroke (0 is solid).

    `band` is the half-width of the 95 % band around `y`, empty when there is none.
    """

    label: str
    x: Numbers
    y: Numbers
    band: Numbers = field(default_factory=lambda: np.zeros(0))
    hue: int = 0
    dash: int = 0
    points: bool = False


@dataclass(frozen=True)
class Figure:
    """What one figure shows; `categories` turns it into bars, one group of bars per category.

    `mark` is a place on the horizontal axis worth a line; `share` says that values lie in [0, 1].
    """

    name: str
    title: str
    caption: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    categories: tuple[str, ...] = ()
    mark: float | None = None
    share: bool = False

    @property
    def drawn(self) -> tuple[Series, ...]:
        """The series with a finite number: the others would be names without a line."""
        return tuple(line for line in self.series if np.isfinite(line.y).any())

    @property
    def empty(self) -> bool:
        """Whether there is no finite number to draw."""
        return not self.drawn


@dataclass(frozen=True)
class RunData:
    """What the figures need of one run: its name, its metrics, and its groups (texts may be left out)."""

    name: str
    metrics: Sequence[Record]
    groups: Sequence[Group]


LIMITS = {  # how near a phase comes to what its chips could do
    "speed/update_mfu": "of peak in the update",
    "speed/sample_bandwidth": "of bandwidth while sampling",
}
# (name, title, unit, ((metric, label), ...)): the first metric is the one whose newest value is shown large.
CURVES = (  # name, title, recorded metrics with their labels; all of a figure have the unit of the first
    ("reward", "Pass rate while training", (("reward", ""),)),
    (
        "pass_at_1",
        "Evaluation",
        (
            ("eval/pass@1", "pass@1"),
            ("eval/greedy", "greedy"),
            ("eval/pass@4", "pass@4"),
            ("eval/pass@16", "pass@16"),
        ),
    ),
    ("right_paths", "Different right answers", (("eval/right_paths", ""),)),
    ("coverage", "Coverage", (("coverage", "with a peer"), ("fallback", "answer only"))),
    ("loss", "Loss", (("loss", ""),)),
    ("kl_reference", "KL to the reference", (("kl_reference", ""),)),
    ("entropy", "Entropy", (("entropy", "student"), ("teacher_entropy", "teacher"))),
    ("response_length", "Response length", (("response_length", ""),)),
    ("grad_norm", "Gradient norm before clipping", (("grad_norm", ""),)),
    ("speed", "Speed", (("speed/step", "step"), ("speed/sample", "sampling"), ("speed/update", "update"))),
    ("hosts", "Sampling on hosts", (("hosts/sample_slowest", "slowest"), ("hosts/sample_mean", "mean"))),
    ("slots", "Slots in use", (("hosts/slots", ""),)),
    ("memory", "Memory of the fullest chip", (("memory/in_use", "in use"), ("memory/peak", "peak"))),
    ("compiled", "Seconds to compile", (("compiled/seconds", ""),)),
    ("filled", "Places filled in the update", (("filled", ""),)),
    ("time", "Time per phase", (("time/sample", "sample"), ("time/grade", "grade"), ("time/update", "update"))),
)


def curves(runs: Sequence[RunData]) -> list[Figure]:
    """One figure per row of `CURVES`; runs differ in color, metrics of one figure in dash."""
    figures = []
    for name, title, metrics in CURVES:
        unit, lines = metric(metrics[0][0]).unit, []
        for hue, run in enumerate(runs):
            for dash, (key, label) in enumerate(metrics):
                steps, values = diagnostics.series(run.metrics, key)
                if len(steps):
                    color = hue if len(runs) > 1 else dash
                    lines.append(Series(_label(label, run, runs), steps, values, hue=color, dash=dash))
        figures.append(Figure(name, title, "", "step", unit, tuple(lines), share=unit.startswith("share")))
    return figures


def credit_figures(runs: Sequence[RunData]) -> list[Figure]:
    """The paper's figures and tables from recorded data, in the order in which they tell the story."""
    return [
        _offset_figure(runs),
        _mass_figure(runs),
        _shift_figure(runs),
        _coverage_figure(runs[0]),
        _coverage_by_size(runs[0]),
        _position_figure(runs),
        _peak_figure(runs),
        _phase_figure(runs),
    ]


def _offset_figure(runs: Sequence[RunData]) -> Figure:
    lines = [
        _from_means(_label("", run, runs), offset_profile(diagnostics.rollouts_of(run.groups)), hue)
        for hue, run in enumerate(runs)
    ]
    return Figure(
        "credit_by_offset",
        "Credit by offset from the divergence",
        "Mean |A| over rollouts with a peer; the band is 95 %. Expected: near zero before, a spike at 0, decay after.",
        "tokens from the divergence",
        "mean |credit|, nats",
        tuple(lines),
        mark=0.0,
    )


def _mass_figure(runs: Sequence[RunData]) -> Figure:
    lines = []
    for hue, run in enumerate(runs):
        rollouts = diagnostics.rollouts_of(run.groups)
        lines.append(_from_means(_label("recorded", run, runs), diagnostics.cumulative_mass(rollouts), hue))
        windows = np.array(diagnostics.WINDOWS, np.float64)
        even = diagnostics.uniform_mass(rollouts)
        lines.append(Series(_label("even spread", run, runs), windows, even, hue=hue, dash=1))
    return Figure(
        "credit_mass",
        "Credit mass near the divergence",
        "Share of Σ|A| within w tokens of the divergence, on both sides, over all rollouts with a peer.",
        "window w, tokens",
        "share of |credit|",
        tuple(lines),
        share=True,
    )


def _shift_figure(runs: Sequence[RunData]) -> Figure:
    lines = []
    for hue, run in enumerate(runs):
        rollouts = diagnostics.rollouts_of(run.groups)
        path = [rollout for rollout in rollouts if rollout.peer >= 0]
        endpoint = [rollout for rollout in rollouts if rollout.peer < 0 and rollout.context >= 0]
        for dash, (label, chosen) in enumerate((("answer and peer", path), ("answer only", endpoint))):
            if chosen:
                lines.append(_from_means(_label(label, run, runs), diagnostics.shift_by_position(chosen), hue, dash))
    return Figure(
        "shift_by_position",
        "Predictive shift by position in the response",
        "Mean KL(teacher ‖ student) by relative position, for teachers that read a peer and for those that "
        "read the answer only.",
        "relative position",
        "KL, nats",
        tuple(lines),
    )


def _coverage_figure(run: RunData) -> Figure:
    sizes = group_sizes(run.groups) or [4, 8, 16]
    rates = np.linspace(0.0, 1.0, 101)
    lines = []
    for hue, size in enumerate(sizes):
        closed = np.array([recoverable(rate, size) for rate in rates])
        lines.append(Series(f"G = {size}", rates, closed, hue=hue))
        seen = [
            observed([group for group in run.groups if difficulty_of(group) == difficulty], size)
            for difficulty in DIFFICULTIES
        ]
        seen = [item for item in seen if item.groups]
        lines.append(
            Series(
                f"G = {size}, observed",
                np.array([item.pass_rate for item in seen]),
                np.array([item.recoverable for item in seen]),
                np.array([item.recoverable_band for item in seen]),
                hue=hue,
                points=True,
            )
        )
    best, share = most_recoverable(sizes[-1])
    return Figure(
        "coverage",
        "What hindsight can repair",
        "Share of rollouts that failed and have a peer: f(p, G) = (1−p)(1−(1−p)^(G−1)). Points: "
        "observed for easy, medium and hard problems, with 95 % bars. "
        f"G = {sizes[-1]} repairs most at p = {best:.3f}: f = {share:.3f}.",
        "pass rate p",
        "share of rollouts",
        tuple(lines),
        share=True,
    )


def _coverage_by_size(run: RunData) -> Figure:
    sizes = group_sizes(run.groups)
    lines = []
    for hue, difficulty in enumerate(DIFFICULTIES):
        chosen = [group for group in run.groups if difficulty_of(group) == difficulty]
        seen = [observed(chosen, size) for size in sizes]
        if any(item.groups for item in seen):
            shares = np.array([item.has_peer for item in seen])
            bands = np.array([item.has_peer_band for item in seen])
            lines.append(Series(difficulty, np.array(sizes, np.float64), shares, bands, hue=hue))
    return Figure(
        "coverage_by_size",
        "Coverage by difficulty and group size",
        "Share of rollouts with a successful peer, over all sub-groups of the recorded groups. Difficulty is "
        "the recorded initial pass rate in thirds; where none is recorded, the group's own pass rate.",
        "group size G",
        "share of rollouts",
        tuple(lines),
        share=True,
    )


def _position_figure(runs: Sequence[RunData]) -> Figure:
    return _by_difficulty(
        runs,
        "divergence_position",
        "Where rollouts leave their peer",
        "Median position of the first token that differs from the peer.",
        "median position, tokens",
        "median_position",
    )


def _peak_figure(runs: Sequence[RunData]) -> Figure:
    return _by_difficulty(
        runs,
        "peak_credit",
        "Strength of the credit spike",
        "Largest value of the credit profile by offset.",
        "peak of mean |credit|, nats",
        "peak_credit",
    )


def _by_difficulty(runs: Sequence[RunData], name: str, title: str, caption: str, y_label: str, column: str) -> Figure:
    lines = []
    for hue, run in enumerate(runs):
        rows = diagnostics.divergence_by_difficulty(run.groups)
        values = np.array([getattr(row, column) for row in rows], np.float64)
        lines.append(Series(run.name, np.arange(len(rows), dtype=np.float64), values, hue=hue))
    return Figure(name, title, caption, "difficulty", y_label, tuple(lines), categories=(*DIFFICULTIES, "all"))


def _phase_figure(runs: Sequence[RunData]) -> Figure:
    found = [diagnostics.phase_seconds(run.metrics) for run in runs]
    names = tuple(name for name in (*PHASES, "other") if any(name in seconds for seconds in found))

    def bars(label: str, seconds: Mapping[str, float], hue: int, dash: int = 0) -> Series:
        values = np.array([seconds.get(name, np.nan) for name in names])
        return Series(label, np.arange(len(names), dtype=np.float64), values, hue=hue, dash=dash)

    lines = []
    for hue, (run, seconds) in enumerate(zip(runs, found, strict=True)):
        lines.append(bars(run.name, seconds, hue))
        planned = {name: diagnostics.series_mean(run.metrics, f"plan/{name}") for name in names}
        if np.isfinite([*planned.values()]).any():
            lines.append(bars(f"{run.name}, planned", planned, len(runs) + hue, 1))
    caption = "Mean seconds of a step without the first one, which compiles. Planned: for the lengths sampled."
    for run in runs:
        shares = {words: diagnostics.series_mean(run.metrics, name) for name, words in LIMITS.items()}
        caption += "".join(f" {run.name}: {share:.2f} {words}." for words, share in shares.items() if share == share)
    return Figure(
        "time_per_phase", "Time per phase", caption, "phase", "seconds per step", tuple(lines), categories=names
    )


def _from_means(label: str, means: Means, hue: int, dash: int = 0) -> Series:
    return Series(label, means.at, means.mean, means.band, hue=hue, dash=dash)


def _label(label: str, run: RunData, runs: Sequence[RunData]) -> str:
    """What distinguishes a line: its metric, and the run when there are several."""
    return " · ".join(part for part in (label, run.name if len(runs) > 1 else "") if part) or run.name
