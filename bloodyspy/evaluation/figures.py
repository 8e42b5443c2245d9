"""Figures of a run, drawn without pyplot so that threads do not share state. They go to MLflow, never into git."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from bloodyspy.cells import CELL_TYPES
from bloodyspy.evaluation.calibration import Reliability
from bloodyspy.evaluation.intervals import Estimate
from bloodyspy.evaluation.metrics import Metrics

INK, MUTED, GRID = "#1f2430", "#6b7280", "#e5e7eb"
PURPLE, RED, TEAL = "#5b3f8c", "#c0392b", "#1b7f79"
_STAIN = LinearSegmentedColormap.from_list("stain", ["#ffffff", "#d9cdea", "#8a6bbf", "#3f2a66"])
DPI = 130


def confusion_matrix(metrics: Metrics, title: str) -> Figure:
    """Counts and the share of each row; a row is an actual type."""
    names = [f"{cell}  ({metrics.support[cell]:,})" for cell in CELL_TYPES]
    figure, _ = _confusion(np.array(metrics.confusion), names)
    figure.suptitle(f"{title}: accuracy {metrics.accuracy}", color=INK, fontsize=11)
    return figure


def confusion_by_subtype(metrics: Metrics, title: str) -> Figure:
    """Counts and the share of each row; a row is a sub-type, its share of right answers stands at the right.

    A wrongly filed sub-type stands twice, once under each cell type. Without any sub-type the figure says so.
    """
    if not metrics.subtypes:
        return _nothing(f"{title}: by sub-type", "no file name tells a sub-type")
    count = Counter(subtype.name for subtype in metrics.subtypes)
    names = [
        f"{s.name} as {s.cell_type}  ({s.n:,})" if count[s.name] > 1 else f"{s.name}  ({s.n:,})"
        for s in metrics.subtypes
    ]
    figure, axes = _confusion(np.array([s.predicted for s in metrics.subtypes]), names)
    right = axes.twinx()
    right.set_ylim(axes.get_ylim())
    right.set_yticks(range(len(names)), [str(s.sensitivity) for s in metrics.subtypes], fontsize=8, color=PURPLE)
    right.tick_params(length=0)
    right.spines[:].set_visible(False)
    for row in range(1, len(names)):
        if metrics.subtypes[row].cell_type is not metrics.subtypes[row - 1].cell_type:
            axes.axhline(row - 0.5, color=MUTED, linewidth=0.9)
    figure.suptitle(f"{title}: answered with their cell type, by sub-type", color=INK, fontsize=11)
    return figure


def _nothing(title: str, words: str) -> Figure:
    figure = Figure(figsize=(7.6, 1.6), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.axis("off")
    axes.text(0.5, 0.5, words, ha="center", va="center", color=MUTED)
    figure.suptitle(title, color=INK, fontsize=11)
    return figure


def _confusion(counts: NDArray[np.int64], names: Sequence[str]) -> tuple[Figure, Axes]:
    rows = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, rows, out=np.zeros(counts.shape), where=rows > 0)
    figure = Figure(figsize=(7.6, 1.7 + 0.65 * len(names)), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(shares, cmap=_STAIN, vmin=0, vmax=1, aspect="auto")
    for y, x in np.ndindex(counts.shape):
        if counts[y, x]:
            ink = "white" if shares[y, x] > 0.5 else INK
            axes.text(x, y - 0.12, f"{counts[y, x]:,}", ha="center", va="center", color=ink, fontsize=10)
            axes.text(x, y + 0.24, f"{shares[y, x]:.1%}", ha="center", va="center", color=ink, fontsize=7)
    axes.set_xticks(range(len(CELL_TYPES)), CELL_TYPES, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    axes.set_xticks(np.arange(len(CELL_TYPES) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=GRID, linewidth=0.8)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("predicted", color=MUTED)
    axes.set_ylabel("actual (images)", color=MUTED)
    return figure, axes


def sensitivity(metrics: Metrics, title: str, floor: float) -> Figure:
    """Sensitivity and specificity of each type with their intervals, the lowest sensitivity at the bottom.

    Args:
        metrics: of one part.
        title: of the figure.
        floor: of every type's sensitivity, 0 to 1; drawn where it is in sight.
    """
    cells = sorted(metrics.sensitivity, key=lambda cell: metrics.sensitivity[cell].value)
    figure = Figure(figsize=(10.2, 4.2), dpi=DPI, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    _intervals(left, [metrics.sensitivity[cell] for cell in cells], PURPLE, "sensitivity, 95 % interval (Wilson)")
    for name, value, colour in (("mean", metrics.balanced_accuracy.value, TEAL), ("floor", floor, RED)):
        if value >= left.get_xlim()[0]:
            left.axvline(value, color=colour, linewidth=1, linestyle="--", zorder=0)
            left.annotate(
                f"{name} {value:.1%}",
                (value, 1.0),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                xytext=(0, 3),
                ha="center",
                color=colour,
                fontsize=8,
            )
    if len(cells) == 1:  # there is no image of another type
        right.axis("off")
    else:
        _intervals(right, [metrics.specificity[cell] for cell in cells], TEAL, "specificity, 95 % interval (Wilson)")
    left.set_yticks(range(len(cells)), [f"{cell}  ({metrics.support[cell]:,})" for cell in cells])
    left.set_ylim(-0.6, len(cells) - 0.4)
    figure.suptitle(title, color=INK, fontsize=11)
    return figure


def _intervals(axes: Axes, estimates: Sequence[Estimate], colour: str, label: str) -> None:
    """One row an estimate, from the bottom."""
    values = np.array([estimate.value for estimate in estimates])
    reach = np.array([[e.value - e.low for e in estimates], [e.high - e.value for e in estimates]]).clip(min=0)
    axes.errorbar(
        values, range(len(values)), xerr=reach, fmt="o", color=colour, ecolor=f"{colour}66", elinewidth=3, ms=6
    )
    # a little room on both sides, so that a marker at 0 or 100 % is whole
    lowest = min(estimate.low for estimate in estimates)
    room = max(0.1 * (1 - lowest), 0.001)
    axes.set_xlim(max(-room, lowest - room), 1 + room)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel(label, color=MUTED)
    plain(axes, "x")


def reliability(before: Reliability, after: Reliability, title: str) -> Figure:
    """Accuracy against confidence by bins, before and after the temperature; below, where the answers lie.

    On the dashed line confidence is what it says. Whiskers are 95 % intervals (Wilson).
    """
    figure = Figure(figsize=(8.6, 5.2), dpi=DPI, layout="constrained")
    panels = figure.subplots(2, 2, sharex=True, sharey="row", height_ratios=(4, 1))
    for column, (found, words) in enumerate(((before, "before the temperature"), (after, "after"))):
        axes, below = panels[0, column], panels[1, column]
        confidence = [point.confidence for point in found.bins]
        accuracy = [point.accuracy for point in found.bins]
        reach = np.array([[e.value - e.low for e in accuracy], [e.high - e.value for e in accuracy]]).clip(min=0)
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle="--")
        axes.errorbar(
            confidence, [e.value for e in accuracy], yerr=reach, fmt="o", color=PURPLE, ecolor="#b9a6d9", ms=4
        )
        axes.set_title(f"{words}: calibration error {found.ece:.2%}, log loss {found.log_loss:.3f}", fontsize=9)
        images = [point.images for point in found.bins]
        below.bar(confidence, images, width=0.03, color=PURPLE)
        below.set_yscale("log")
        below.set_xlabel("confidence", color=MUTED)
        for drawn in (axes, below):
            plain(drawn, "y")
        below.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    panels[0, 0].set_ylabel("accuracy", color=MUTED)
    panels[1, 0].set_ylabel("images", color=MUTED)
    figure.suptitle(title, color=INK, fontsize=11)
    return figure


def risk_coverage(metrics: Metrics, title: str) -> Figure:
    """The share of wrong answers among the surest, for every share of answers that is kept."""
    found = metrics.risk_coverage
    figure = Figure(figsize=(6.4, 4.2), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.plot([p.coverage for p in found.points], [p.risk for p in found.points], color=PURPLE, linewidth=1.8)
    for point, colour in zip(found.coverage_at_risk, (TEAL, RED), strict=False):
        words = f"at most {point.risk:.1%} wrong: {point.coverage:.1%} answered"
        axes.plot([0, point.coverage], [point.risk] * 2, color=colour, linewidth=1, linestyle="--")
        axes.plot(point.coverage, point.risk, "o", color=colour, ms=5, clip_on=False, label=words)
    axes.set_xlim(0, 1.005)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("coverage: answers kept, the surest first", color=MUTED)
    axes.set_ylabel("risk: wrong ones among them", color=MUTED)
    axes.legend(frameon=False, fontsize=9, loc="upper left")
    plain(axes, "y")
    figure.suptitle(f"{title}: area under the curve {found.aurc:.4f}", color=INK, fontsize=11)
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
    """Take away all but the grid across one direction."""
    axes.grid(axis=grid, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(length=0, colors=INK)
