"""Writes figures for papers: PNG and SVG by matplotlib, and the numbers as CSV."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hsd_jax.reporting.figures import Figure, Series

# Colors that stay apart for all common kinds of color blindness (Okabe and Ito), strongest first.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES = ("-", "--", ":", "-.")


def write_figures(figures: Sequence[Figure], folder: Path) -> list[Path]:
    """NAME.csv, NAME.png and NAME.svg for every figure that has numbers; returns the paths written."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for figure in figures:
        if not figure.empty:
            written.append(write_csv(figure, folder / f"{figure.name}.csv"))
            written.extend(write_pictures(figure, folder))
    return written


def write_csv(figure: Figure, path: Path) -> Path:
    """One row per point: series, x (or category), y, half-width of the 95 % band (empty: none), full precision."""
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["series", figure.x_label, figure.y_label, "band_95"])
        for series in figure.series:
            bands = series.band if len(series.band) else np.full(len(series.y), np.nan)
            for x, y, band in zip(series.x, series.y, bands, strict=True):
                place = figure.categories[int(x)] if figure.categories else repr(float(x))
                rows.writerow([series.label, place, _cell(y), _cell(band)])
    return path


def write_pictures(figure: Figure, folder: Path) -> list[Path]:
    """The figure as PNG (200 dots per inch) and as SVG, one column wide; fixed so that equal runs give equal files."""
    # Only here: a second of import that the page itself does not need.
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    style: Any = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": figure.name}
    with matplotlib.rc_context(style):
        canvas = Canvas(figsize=(4.2, 2.8), layout="constrained")
        FigureCanvasAgg(canvas)
        axes = canvas.subplots()
        for index, series in enumerate(figure.drawn):
            _plot(axes, figure, series, index)
        if figure.mark is not None:
            axes.axvline(figure.mark, color="0.6", linewidth=0.8, linestyle=":")
        if figure.categories:
            axes.set_xticks(range(len(figure.categories)), figure.categories)
        axes.set(xlabel=figure.x_label, ylabel=figure.y_label, title=figure.title)
        axes.grid(axis="y", color="0.92", linewidth=0.6)
        axes.set_axisbelow(True)
        if len(figure.drawn) > 1:
            axes.legend(frameon=False, fontsize=7)
        paths = [folder / f"{figure.name}.png", folder / f"{figure.name}.svg"]
        canvas.savefig(paths[0], dpi=200, metadata={"Software": None})
        canvas.savefig(paths[1], metadata={"Date": None})
    return paths


def _plot(axes: Any, figure: Figure, series: Series, index: int) -> None:
    color = COLORS[series.hue % len(COLORS)]
    band = np.nan_to_num(series.band) if len(series.band) else None
    if figure.categories:
        width = 0.72 / len(figure.drawn)
        place = series.x + (index - (len(figure.drawn) - 1) / 2) * width
        axes.bar(place, np.nan_to_num(series.y), width * 0.92, color=color, label=_plain(series.label))
    elif series.points:
        axes.errorbar(series.x, series.y, band, fmt="o", markersize=3.5, color=color, elinewidth=0.9)
    else:
        dash = DASHES[series.dash % len(DASHES)]
        axes.plot(series.x, series.y, dash, color=color, linewidth=1.4, label=_plain(series.label))
        if band is not None:
            axes.fill_between(series.x, series.y - band, series.y + band, color=color, alpha=0.18, linewidth=0)


def _plain(label: str) -> str:
    """A label without matplotlib's two special characters: a leading underscore hides it, dollars start formulas."""
    return label.lstrip("_").replace("$", r"\$") or "run"


def _cell(value: float) -> str:
    return repr(float(value)) if np.isfinite(value) else ""
