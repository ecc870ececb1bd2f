"""The comparison of methods as figures: one small panel per method, and one per warning metric."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hsd_jax.reporting.paper_figures import COLORS
from hsd_jax.update.metric_table import THRESHOLDS
from tools.compare_runs import Finished, curve, step_of_fall, warnings

Runs = Mapping[str, Sequence[Finished]]
COLUMNS = 5
DASHES = ("-", "--", "-.", ":")
# The metrics of the second figure: (metric, title, logarithmic, the checks of the health panel that look at it).
PANELS: tuple[tuple[str, str, bool, tuple[str, ...]], ...] = (
    ("eval/pass@1", "held-out pass@1", False, ()),
    ("kl_reference", "KL to the reference (nats)", True, ("kl_reference",)),
    ("kl", "KL teacher ‖ student (nats)", True, ()),
    ("entropy", "student's entropy (nats)", True, ("entropy_ratio",)),
    ("teacher_entropy", "teacher's entropy (nats)", True, ("teacher_drift",)),
    ("teacher_coherence", "teacher coherence", False, ("teacher_coherence",)),
    ("credit_before_divergence", "|credit| before the divergence (nats)", True, ("localization",)),
    ("repeated_ngrams", "repeated n-grams", False, ("repeated_ngrams",)),
    ("response_length", "response length (tokens)", False, ("length_ratio",)),
)


def write(runs: Runs, drifting: Runs, folder: Path) -> list[Path]:
    """pass-at-1 and, where there are runs that compare teachers, collapse; each as PNG and SVG."""
    import matplotlib

    style: Any = {"font.size": 8, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "methods"}
    with matplotlib.rc_context(style):
        paths = _save(draw_methods(runs), folder / "pass-at-1")
        return paths + (_save(draw_collapse(drifting), folder / "collapse") if drifting else [])


def draw_methods(runs: Runs) -> Any:
    """A panel for each method: mean over seeds, band from lowest to highest, and all other methods in grey."""
    columns = min(COLUMNS, len(runs))
    rows = -(-len(runs) // columns)
    canvas = _canvas(1.75 * columns + 0.4, 1.55 * rows + 0.4)
    grid = canvas.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    curves = {name: mean_and_band(of_seeds, "eval/pass@1") for name, of_seeds in runs.items()}
    for axes, name in zip(grid.flat, runs, strict=False):
        for steps, mean, _, _ in curves.values():
            axes.plot(steps, mean, color="0.85", linewidth=0.7)
        steps, mean, low, high = curves[name]
        axes.fill_between(steps, low, high, color=COLORS[0], alpha=0.25, linewidth=0)
        axes.plot(steps, mean, color=COLORS[0], linewidth=1.8)
        axes.set_title(f"{name}   {mean[-1]:.2f}", fontsize=8, loc="left")
        axes.set(ylim=(0, 1))
        axes.grid(axis="y", color="0.93", linewidth=0.6)
    for axes in grid.flat[len(runs) :]:
        axes.set_axis_off()
    seeds = sorted({len(of_seeds) for of_seeds in runs.values()})
    among = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    canvas.supxlabel(f"step (mean and range over {among} seeds; grey: the other methods; number: at the end)", size=8)
    canvas.supylabel("held-out pass@1", size=8)
    return canvas


def draw_collapse(runs: Runs) -> Any:
    """A panel for each metric, a line for each seed of each variant.

    Triangles: a check of the health panel leaves "ok"; squares: a guard of the training run rings; circles: a rise
    (see `compare_runs.RISES`); crosses: pass@1 has fallen. Dotted lines are the fixed thresholds of the checks.
    """
    canvas = _canvas(9.0, 7.4)
    grid = canvas.subplots(3, 3, sharex=True, squeeze=False)
    given = {(name, run.seed): warnings(run) for name, of_seeds in runs.items() for run in of_seeds}
    for axes, (metric, title, logarithmic, checks) in zip(grid.flat, PANELS, strict=True):
        for index, (name, of_seeds) in enumerate(runs.items()):
            look: Any = {"color": COLORS[index % len(COLORS)], "linestyle": DASHES[index // 2 % len(DASHES)]}
            for run in of_seeds:
                steps, values = curve(run, metric)
                axes.plot(steps, values, linewidth=1.0, alpha=0.85, label=name if run is of_seeds[0] else "_", **look)
                for step, marker in _marks(run, given[name, run.seed], metric, checks):
                    at = float(np.interp(step, steps, values)) if len(steps) else np.nan
                    axes.plot([step], [at], marker, color=look["color"], markersize=6, markeredgecolor="black")
        for check in set(checks) & {metric}:
            axes.axhline(THRESHOLDS[check].watch, color="0.5", linewidth=0.8, linestyle=":")
        axes.set_title(title, fontsize=8, loc="left")
        if logarithmic and any((curve(run, metric)[1] > 0).any() for of_seeds in runs.values() for run in of_seeds):
            axes.set_yscale("log")
        axes.grid(axis="y", color="0.93", linewidth=0.6)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    canvas.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False, fontsize=8)
    words = (
        "triangle: a check of the report leaves ok; square: a guard of the run rings; circle: a rise; cross: the fall"
    )
    canvas.supxlabel(f"step ({words})", size=8)
    return canvas


def _marks(run: Finished, given: Mapping[str, int], metric: str, checks: Sequence[str]) -> list[tuple[float, str]]:
    if metric == "eval/pass@1":
        fall = step_of_fall(run)
        return [(fall, "X")] if np.isfinite(fall) else []
    watched = [given[sign] for check in checks for sign in (f"watch: {check}", f"act: {check}") if sign in given]
    risen = [given[f"rise: {metric}"]] if f"rise: {metric}" in given else []
    guarded = [given[f"guard: {metric}"]] if f"guard: {metric}" in given else []
    kinds = ((watched, "^"), (guarded, "s"), (risen, "o"))
    return [(float(min(steps)), marker) for steps, marker in kinds if steps]


def mean_and_band(runs: Sequence[Finished], key: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Steps that every run has recorded, and mean, lowest and highest value there."""
    found = [dict(zip(*map(np.ndarray.tolist, curve(run, key)), strict=True)) for run in runs]
    steps = sorted(set.intersection(*(set(values) for values in found)))
    values = np.array([[one[step] for step in steps] for one in found])
    return np.array(steps), values.mean(0), values.min(0), values.max(0)


def _canvas(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(canvas)
    return canvas


def _save(canvas: Any, stem: Path) -> list[Path]:
    paths = [stem.with_suffix(".png"), stem.with_suffix(".svg")]
    canvas.savefig(paths[0], dpi=160, metadata={"Software": None})
    canvas.savefig(paths[1], metadata={"Date": None})
    return paths
