"""Draws a figure as inline SVG. Colors are classes, so that the page's light and dark themes both apply."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

from hsd_jax.reporting.figures import Figure, Numbers, Series

WIDTH, HEIGHT = 440, 250
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 10, 36
HUES = 6
# More points than pixels only make the page large; a drawn line keeps the extremes of every column of pixels.
MOST_POINTS = 800


@dataclass(frozen=True)
class Scale:
    """Maps [low, high] linearly to pixels [start, end], what lies outside to the nearer end; `ticks` are round."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]

    def __call__(self, value: float) -> float:
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def draw(figure: Figure) -> Markup:
    """The SVG of a figure, with its title and description for readers that cannot see it."""
    x, y = scales(figure)
    parts = [_grid(figure, x, y)]
    if figure.mark is not None and x.low <= figure.mark <= x.high:
        at = f"{x(figure.mark):.1f}"
        parts.append(Markup(f'<line class="mark" x1="{at}" x2="{at}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'))
    for index, series in enumerate(figure.series):
        parts.append(_bars(figure, index, x, y) if figure.categories else _series(series, x, y))
    label = f"{figure.title}. {figure.y_label} by {figure.x_label}."
    opening = Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}" data-figure="{}">')
    hair = Markup('<line class="hair" y1="{}" y2="{}" visibility="hidden"/></svg>').format(TOP, HEIGHT - BOTTOM)
    return opening.format(WIDTH, HEIGHT, label, figure.name) + Markup("").join(parts) + hair


def scales(figure: Figure) -> tuple[Scale, Scale]:
    """The horizontal and vertical scale that hold every finite point, band and the zero of the vertical axis."""
    values = _finite([series.y for series in figure.series])
    spread = _finite([series.y + sign * _band(series) for series in figure.series for sign in (-1, 1)])
    if figure.share and values and max(values) <= 1.0 and min(values) >= 0.0:
        spread = [0.0, 1.0]
    elif values and min(values) >= 0.0:
        # A band may reach below zero where the quantity cannot: the axis does not follow it there.
        spread = [max(value, 0.0) for value in spread]
    if figure.categories and spread:
        spread.append(1.08 * max(spread))  # room for the number above the tallest bar
    y = _scale([*spread, 0.0], HEIGHT - BOTTOM, TOP, rounded=True)
    if figure.categories:
        count = len(figure.categories)
        return Scale(-0.5, count - 0.5, LEFT, WIDTH - RIGHT, tuple(map(float, range(count)))), y
    return _scale(_finite([series.x for series in figure.series]), LEFT, WIDTH - RIGHT, rounded=False), y


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round values (1, 2 or 5 times a power of ten apart) from at or below `low` to at or above `high`."""
    rough = (high - low) / count
    power = 10.0 ** np.floor(np.log10(rough))
    spacing = float(power * next(step for step in (1, 2, 5, 10) if rough <= step * power * (1 + 1e-9)))
    first, last = np.floor(low / spacing + 1e-9), np.ceil(high / spacing - 1e-9)
    return [round(float(spacing * index), 12) for index in range(int(first), int(last) + 1)]


def number(value: float) -> str:
    """A number as a reader wants it on an axis: at most three digits that matter."""
    return f"{value / 1000:g}k" if abs(value) >= 10_000 else f"{value:.3g}"


def thinned(series: Series) -> tuple[Numbers, Numbers, Numbers]:
    """x, y and band with at most about `MOST_POINTS` points: the smallest and the largest y of every bucket."""
    band = _band(series)
    if len(series.x) <= MOST_POINTS:
        return series.x, series.y, band
    buckets = np.array_split(np.arange(len(series.x)), MOST_POINTS // 2)
    values = np.where(np.isfinite(series.y), series.y, 0.0)
    kept = sorted({int(bucket[pick(values[bucket])]) for bucket in buckets for pick in (np.argmin, np.argmax)})
    return series.x[kept], series.y[kept], band[kept]


def _scale(values: Sequence[float], start: float, end: float, *, rounded: bool) -> Scale:
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    width = max(1.0, abs(low))  # a step that a float of this size can still tell apart
    if high - low < 1e-12 * width:
        low, high = (low, low + width) if rounded else (low - width / 2, high + width / 2)
    marks = ticks(low, high)
    if rounded:
        return Scale(marks[0], marks[-1], start, end, tuple(marks))
    return Scale(low, high, start, end, tuple(mark for mark in marks if low <= mark <= high))


def _band(series: Series) -> Numbers:
    return np.nan_to_num(series.band) if len(series.band) else np.zeros(len(series.y))


def _finite(arrays: Sequence[Numbers]) -> list[float]:
    return [float(value) for array in arrays for value in array if np.isfinite(value)]


def _grid(figure: Figure, x: Scale, y: Scale) -> Markup:
    parts = []
    for mark in y.ticks:
        at = y(mark)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 6}" y="{at + 3.5:.1f}" text-anchor="end">{number(mark)}</text>')
    for index, mark in enumerate(x.ticks):
        text = escape(figure.categories[index]) if figure.categories else number(mark)
        place = f'x="{x(mark):.1f}" y="{HEIGHT - BOTTOM + 14}"'
        parts.append(f'<text class="tick" {place} text-anchor="middle">{text}</text>')
    parts.append(
        f'<text class="axis" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 5}" text-anchor="middle">'
        f"{escape(figure.x_label)}</text>"
    )
    return Markup("".join(parts))


def _series(series: Series, x: Scale, y: Scale) -> Markup:
    hue = f"h{series.hue % HUES}"
    xs, ys, band = thinned(series)
    if series.points:
        return _points(xs, ys, band, hue, x, y)
    area = ""
    drawn = [(x(a), y(b - c), y(b + c)) for a, b, c in zip(xs, ys, band, strict=True) if np.isfinite(b)]
    if len(series.band) and drawn:
        upper = [f"{a:.1f} {high:.1f}" for a, _, high in drawn]
        lower = [f"{a:.1f} {low:.1f}" for a, low, _ in reversed(drawn)]
        area = f'<path class="band {hue}" d="M{" L".join(upper + lower)}Z"/>'
    line = f'<path class="line {hue} d{series.dash}" d="{_path(xs, ys, x, y)}"/>'
    few = len(drawn) == 1
    dots = (
        "".join(f'<circle class="dot {hue}" cx="{a:.1f}" cy="{y(b):.1f}" r="3"/>' for a, b in _dots(xs, ys, x))
        if few
        else ""
    )
    return Markup(area + line + dots)


def _dots(xs: Numbers, ys: Numbers, x: Scale) -> list[tuple[float, float]]:
    return [(x(a), b) for a, b in zip(xs, ys, strict=True) if np.isfinite(b)]


def _path(xs: Numbers, ys: Numbers, x: Scale, y: Scale) -> str:
    """Straight pieces; a value that is not a number leaves a gap."""
    pieces, pen_down = [], False
    for a, b in zip(xs, ys, strict=True):
        if np.isfinite(b):
            pieces.append(f"{'L' if pen_down else 'M'}{x(a):.1f} {y(b):.1f}")
        pen_down = bool(np.isfinite(b))
    return "".join(pieces)


def _points(xs: Numbers, ys: Numbers, band: Numbers, hue: str, x: Scale, y: Scale) -> Markup:
    parts = []
    for a, b, c in zip(xs, ys, band, strict=True):
        if np.isfinite(a) and np.isfinite(b):
            at = f"{x(a):.1f}"
            parts.append(f'<line class="whisker {hue}" x1="{at}" x2="{at}" y1="{y(b - c):.1f}" y2="{y(b + c):.1f}"/>')
            parts.append(f'<circle class="dot {hue}" cx="{at}" cy="{y(b):.1f}" r="3.5"/>')
    return Markup("".join(parts))


def _bars(figure: Figure, index: int, x: Scale, y: Scale) -> Markup:
    series, count = figure.series[index], len(figure.series)
    width = min(46.0, 0.72 * (x(1.0) - x(0.0)) / count)
    parts = []
    for place, value in zip(series.x, series.y, strict=True):
        if np.isfinite(value):
            left = x(place) + (index - count / 2) * width
            size = f'x="{left:.1f}" y="{y(value):.1f}" width="{width - 2:.1f}" height="{y(0.0) - y(value):.1f}"'
            parts.append(f'<rect class="bar h{series.hue % HUES}" rx="2" {size}/>')
            if count <= 2:
                text = f'x="{left + width / 2 - 1:.1f}" y="{y(value) - 4:.1f}" text-anchor="middle"'
                parts.append(f'<text class="value" {text}>{value:.{4 - count}g}</text>')
    return Markup("".join(parts))
