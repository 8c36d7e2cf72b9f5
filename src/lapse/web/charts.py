"""Where the lines and bars of a chart go; the templates draw them as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.ticker import MaxNLocator

from lapse.core.language import number

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 200, 52, 8, 10, 26
MOST_LABELS = 12


@dataclass(frozen=True)
class Chart:
    """A chart, in the units of its own drawing."""

    title: str
    """What it shows, for who cannot see it too."""
    width: int
    height: int
    ticks: Sequence[tuple[float, str]]
    """Height and text of the lines behind it."""
    labels: Sequence[tuple[float, str]]
    points: Sequence[tuple[float, float, str]]
    """Place and text of each value."""
    bars: Sequence[tuple[float, float, float, float]] = ()
    """x, y, width and height; none for a line."""

    @property
    def line(self) -> str:
        """Return the points of the line as SVG writes them."""
        return " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in self.points)


def line_of(title: str, labels: Sequence[str], values: Sequence[float], *, unit: str = "", least: float = 0.0) -> Chart:
    """Return a line over labels at equal distances, from `least` up."""
    return _chart(title, labels, values, unit, least, as_bars=False)


def bars_of(title: str, labels: Sequence[str], values: Sequence[float], *, unit: str = "") -> Chart:
    """Return a bar for each label, from nought up."""
    return _chart(title, labels, values, unit, 0.0, as_bars=True)


def _chart(title: str, labels: Sequence[str], values: Sequence[float], unit: str, least: float, *, as_bars: bool) -> Chart:
    steps = MaxNLocator(nbins=3).tick_values(min([*values, least]), max([*values, least + 1e-9]))
    least, most = float(steps[0]), float(steps[-1])
    step = (WIDTH - LEFT - RIGHT) / max(1, len(values))
    high = HEIGHT - TOP - BOTTOM

    def y(value: float) -> float:
        return TOP + high * (1 - (value - least) / (most - least or 1))

    xs = [LEFT + step * (number + 0.5) for number in range(len(values))]
    every = 1 + (len(labels) - 1) // MOST_LABELS
    shown = [(x, label) for number, (x, label) in enumerate(zip(xs, labels, strict=True)) if number % every == 0]
    ticks = [(y(value), number(f"{value:.6g}{unit}")) for value in map(float, steps)]
    points = [
        (x, y(value), f"{label}: {number(f'{value:.4g}{unit}')}") for x, value, label in zip(xs, values, labels, strict=True)
    ]
    bars = [
        (x - step * 0.38, y(value), step * 0.76, HEIGHT - BOTTOM - y(value)) for x, value in zip(xs, values, strict=True)
    ]
    return Chart(title, WIDTH, HEIGHT, ticks, shown, points, bars if as_bars else ())
