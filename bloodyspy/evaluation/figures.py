"""Figures of a run, drawn without pyplot so that threads do not share state. They go to MLflow, never into git."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from bloodyspy.cells import CELL_TYPES
from bloodyspy.evaluation.metrics import Metrics

INK, MUTED, GRID = "#1f2430", "#6b7280", "#e5e7eb"
PURPLE, RED, TEAL = "#5b3f8c", "#c0392b", "#1b7f79"
_STAIN = LinearSegmentedColormap.from_list("stain", ["#ffffff", "#d9cdea", "#8a6bbf", "#3f2a66"])
DPI = 130


def confusion_matrix(metrics: Metrics, title: str) -> Figure:
    """Counts and the share of each row; a row is an actual type."""
    counts = np.array(metrics.confusion)
    rows = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, rows, out=np.zeros(counts.shape), where=rows > 0)
    figure = Figure(figsize=(7.6, 6.9), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares, cmap=_STAIN, vmin=0, vmax=1)
    for y, x in np.ndindex(counts.shape):
        if counts[y, x]:
            ink = "white" if shares[y, x] > 0.5 else INK
            axes.text(x, y - 0.12, f"{counts[y, x]:,}", ha="center", va="center", color=ink, fontsize=10)
            axes.text(x, y + 0.24, f"{shares[y, x]:.1%}", ha="center", va="center", color=ink, fontsize=7)
    axes.set_xticks(range(len(CELL_TYPES)), CELL_TYPES, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(CELL_TYPES)), [f"{cell}  ({metrics.support[cell]:,})" for cell in CELL_TYPES])
    axes.set_xticks(np.arange(len(CELL_TYPES) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(CELL_TYPES) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=GRID, linewidth=0.8)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("predicted", color=MUTED)
    axes.set_ylabel("actual (images)", color=MUTED)
    figure.suptitle(f"{title}: accuracy {metrics.accuracy}", color=INK, fontsize=11)
    return figure


def sensitivity(metrics: Metrics, title: str, floor: float) -> Figure:
    """Sensitivity of each type with its interval, the lowest at the bottom.

    Args:
        metrics: of one part.
        title: of the figure.
        floor: what every type must reach, 0 to 1; drawn where it is in sight.
    """
    cells = sorted(metrics.sensitivity, key=lambda cell: metrics.sensitivity[cell].value)
    estimates = [metrics.sensitivity[cell] for cell in cells]
    values = np.array([estimate.value for estimate in estimates])
    reach = np.array([[e.value - e.low for e in estimates], [e.high - e.value for e in estimates]]).clip(min=0)
    figure = Figure(figsize=(7.2, 4.2), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.errorbar(values, range(len(cells)), xerr=reach, fmt="o", color=PURPLE, ecolor="#b9a6d9", elinewidth=3, ms=6)
    # a little room beyond 0 and 100 %, so that a marker there is whole
    axes.set_xlim(left=max(-0.01, min(e.low for e in estimates) - 0.03), right=1.01)
    for name, value, colour in (("mean", metrics.balanced_accuracy.value, TEAL), ("floor", floor, RED)):
        if value >= axes.get_xlim()[0]:
            axes.axvline(value, color=colour, linewidth=1, linestyle="--", zorder=0)
            axes.annotate(
                f"{name} {value:.1%}",
                (value, 1.0),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                xytext=(0, 3),
                ha="center",
                color=colour,
                fontsize=8,
            )
    axes.set_yticks(range(len(cells)), [f"{cell}  ({metrics.support[cell]:,})" for cell in cells])
    axes.set_ylim(-0.6, len(cells) - 0.4)
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlabel("sensitivity, 95 % interval (Wilson)", color=MUTED)
    plain(axes, "x")
    figure.suptitle(title, color=INK, fontsize=11)
    return figure


def learning_curves(history: pd.DataFrame, title: str) -> Figure:
    """Loss and accuracy by epoch, training and validation part.

    Args:
        history: columns ``epoch``, ``loss``, ``accuracy``, ``val_loss``, ``val_accuracy``.
        title: of the figure.
    """
    figure = Figure(figsize=(9.2, 3.9), dpi=DPI, layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for column, colour, label in ((name, MUTED, "training"), (f"val_{name}", PURPLE, "validation")):
            axes.plot(history["epoch"], history[column], color=colour, marker="o", ms=3.5, linewidth=1.6, label=label)
        axes.set_xlabel("epoch", color=MUTED)
        axes.set_title(name, color=INK, fontsize=10)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        plain(axes, "y")
        axes.legend(frameon=False, fontsize=9)
        if name == "accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        else:
            axes.set_ylim(bottom=0)
    figure.suptitle(title, color=INK, fontsize=11)
    return figure


def worst_errors(predictions: pd.DataFrame, count: int) -> pd.DataFrame:
    """The wrong answers given with most confidence, worst first; columns as :data:`scoring.PREDICTIONS`."""
    wrong = predictions[predictions["predicted"] != predictions["actual"]]
    return wrong.sort_values(["confidence", "path"], ascending=[False, True]).head(count)


def example_errors(
    predictions: pd.DataFrame, picture: Callable[[str], NDArray[np.uint8]], title: str, count: int = 24
) -> Figure:
    """A gallery of :func:`worst_errors`.

    Args:
        predictions: of one part.
        picture: RGB pixels of a path of ``predictions``.
        title: of the figure.
        count: pictures at most.
    """
    worst = worst_errors(predictions, count)
    errors = int((predictions["predicted"] != predictions["actual"]).sum())
    columns = 6 if len(worst) > 8 else max(1, min(4, len(worst)))
    rows = max(1, -(-len(worst) // columns))
    figure = Figure(figsize=(max(1.75 * columns, 5.0), 2.1 * rows + 0.45), dpi=DPI, layout="constrained")
    grid = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for axes in grid:
        axes.axis("off")
    for axes, row in zip(grid, worst.itertuples(index=False), strict=False):
        axes.imshow(picture(str(row.path)))
        axes.set_title(f"{row.actual}\n→ {row.predicted} {row.confidence:.0%}", fontsize=8, color=RED, pad=3)
    if worst.empty:
        grid[0].text(0.5, 0.5, "no error in this part", ha="center", va="center", color=MUTED)
    shown = f"the {len(worst)} surest of {errors:,}" if len(worst) < errors else f"all {errors}"
    figure.suptitle(f"{title}: {shown} errors in {len(predictions):,} images", color=INK, fontsize=11)
    return figure


def plain(axes: Axes, grid: Literal["x", "y"]) -> None:
    axes.grid(axis=grid, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0, colors=INK)
