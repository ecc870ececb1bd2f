"""The figure of the page of predictions: mean |credit| by offset from the divergence, one panel for each view."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hsd_jax.reporting.paper_figures import COLORS
from tools.prediction_numbers import OFFSETS
from tools.prediction_views import VIEWS

COLUMNS = 4


def write(kept: Mapping[str, Any], folder: Path) -> Path:
    """predictions-credit.png; without dates, so that it can be made again byte for byte."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names, offsets = [*VIEWS], np.arange(OFFSETS[0], OFFSETS[1] + 1)
    figure = Figure(figsize=(9, 5.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(-(-len(names) // COLUMNS), COLUMNS, sharex=True, sharey=True)
    for axes, name in zip(grid.flat, names, strict=False):
        seeds = [np.array(seed["views"][name]["profile"], float) for seed in kept["seeds"].values()]
        for values in seeds:
            axes.plot(offsets, values, color="0.8", linewidth=0.8)
        axes.plot(offsets, np.mean(seeds, axis=0), color=COLORS[0], linewidth=1.6)
        axes.axvline(0, color="0.6", linewidth=0.6, linestyle=":")
        axes.set_title(name, fontsize=8, loc="left")
        axes.tick_params(labelsize=7)
    for axes in [*grid.flat][len(names) :]:
        axes.set_axis_off()
    figure.supxlabel("tokens from the divergence", size=8)
    figure.supylabel("mean |credit| (nats)", size=8)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "predictions-credit.png"
    figure.savefig(path, metadata={"Software": None})
    return path
