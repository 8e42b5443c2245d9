"""Two distributions in one small picture: the reference filled, the window as a line. Inline SVG, axes with units."""

import math
from html import escape

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bloodyspy.cells import CELL_TYPES
from monitoring.page.columns import title

_WIDTH, _HEIGHT = 300, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 34, 6, 8, 34
_BINS = 24


def weights(reference: pd.DataFrame, current: pd.DataFrame) -> NDArray[np.float64]:
    """Of the reference's rows, so that its mix of predicted types is the window's; they sum to 1.

    A type that the reference lacks cannot be weighted in; where it lacks all of them, its rows count alike.
    """
    there = reference["predicted"].map(reference["predicted"].value_counts())
    asked = reference["predicted"].map(current["predicted"].value_counts()).fillna(0.0)
    found = asked.to_numpy(np.float64) / there.to_numpy(np.float64)
    return found / found.sum() if found.sum() > 0 else np.full(len(reference), 1 / max(len(reference), 1))


def distribution(name: str, reference: pd.DataFrame, current: pd.DataFrame) -> str:
    """A drawing of one column in both frames; empty where it is no row of numbers or types."""
    if name == "predicted":
        return _shares(reference, current)
    if not all(name in frame and pd.api.types.is_numeric_dtype(frame[name]) for frame in (reference, current)):
        return ""
    first, second = (frame[name].to_numpy(np.float64) for frame in (reference, current))
    share, kept = weights(reference, current), np.isfinite(first)
    first, share, second = first[kept], share[kept], second[np.isfinite(second)]
    if not (len(first) and len(second) and share.sum() > 0):
        return ""
    edges = _edges(first, second)
    heights = (
        np.histogram(np.clip(values, edges[0], edges[-1]), edges, weights=each)[0]
        for values, each in ((first, share / share.sum()), (second, np.full(len(second), 1 / len(second))))
    )
    return _histogram(name, edges, *heights)


def _edges(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """From the lowest to the highest value but the outermost two in a thousand, which are shown at the ends."""
    both = [np.quantile(values, (0.002, 0.998)) for values in (first, second)]
    low, high = min(ends[0] for ends in both), max(ends[1] for ends in both)
    if high - low <= abs(high) * 1e-9:
        low, high = low - 0.5, high + 0.5
    return np.asarray(np.linspace(low, high, _BINS + 1))


def _histogram(
    name: str, edges: NDArray[np.float64], reference: NDArray[np.float64], window: NDArray[np.float64]
) -> str:
    top = max(reference.max(), window.max())
    wide, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def x(value: float) -> float:
        return float(_LEFT + (value - edges[0]) / (edges[-1] - edges[0]) * wide)

    def y(share: float) -> float:
        return float(_TOP + high * (1 - share / top))

    def steps(heights: NDArray[np.float64]) -> str:
        path = [f"M{x(edges[0]):.1f} {y(0):.1f}"]
        for height, end in zip(heights, edges[1:], strict=True):
            path += [f"V{y(height):.1f}", f"H{x(end):.1f}"]
        return " ".join([*path, f"V{y(0):.1f}"])

    words, unit = title(name)
    marks = "".join(
        f'<text x="{x(value):.1f}" y="{_HEIGHT - 20}" text-anchor="middle">{_number(value)}</text>'
        f'<line class="axis" x1="{x(value):.1f}" x2="{x(value):.1f}" y1="{y(0):.1f}" y2="{y(0) + 4:.1f}"/>'
        for value in _ticks(edges[0], edges[-1])
    )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(words)}: reference and window">'
        f'<path class="reference" d="{steps(reference)}Z"/><path class="window" d="{steps(window)}"/>'
        f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(0):.1f}" y2="{y(0):.1f}"/>{marks}'
        f'<text x="{_LEFT - 4}" y="{y(top) + 8:.1f}" text-anchor="end">{top:.0%}</text>'
        f'<text x="{_LEFT - 4}" y="{y(0):.1f}" text-anchor="end">0</text>'
        f'<text x="{_LEFT + wide / 2:.0f}" y="{_HEIGHT - 4}" text-anchor="middle">{escape(unit)}</text></svg>'
    )


def _shares(reference: pd.DataFrame, current: pd.DataFrame) -> str:
    shares = [frame["predicted"].value_counts(normalize=True) for frame in (reference, current)]
    top = max(float(share.max()) for share in shares)
    row, left, wide = 19, 84, _WIDTH - 84 - 34
    drawn = []
    for place, cell in enumerate(CELL_TYPES):
        first, second = (float(share.get(str(cell), 0.0)) for share in shares)
        y = place * row + 2
        drawn.append(
            f'<text x="{left - 5}" y="{y + 11}" text-anchor="end">{cell}</text>'
            f'<rect class="reference" x="{left}" y="{y}" width="{first / top * wide:.1f}" height="7"/>'
            f'<rect class="window" x="{left}" y="{y + 7}" width="{second / top * wide:.1f}" height="7"/>'
            f'<text x="{left + max(first, second) / top * wide + 4:.1f}" y="{y + 11}">{second:.0%}</text>'
        )
    height = len(CELL_TYPES) * row + 2
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="Answered types: shares of reference and window">'
        f"{''.join(drawn)}</svg>"
    )


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers inside, two to five of them."""
    rough = (high - low) / 4
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough)
    first = math.ceil(low / step)
    return [number * step for number in range(first, math.floor(high / step) + 1)]


def _number(value: float) -> str:
    return f"{value:.6g}"
