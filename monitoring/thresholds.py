"""How far apart two samples of the same pictures may lie: the thresholds of the drift check.

Textbook thresholds cry wolf on windows of a few hundred rows and twenty columns, so ours come from resampling the
reference at the window's own size. Each resample draws *two* samples, one as large as the reference and one as large as
the window, because the reference is itself only a sample of normal pictures and its own sampling error counts.

Rows are drawn whole, which keeps the correlation between columns. A drawn value is then spread evenly over the gap
around its rank: no two draws tie, so every numeric column has the Kolmogorov-Smirnov null distribution of a continuous
quantity, which bounds that of a rounded one from above. Without this a small reference, drawn from with replacement,
would understate how far two honest samples can differ.

The overall rule is "some column is over its threshold". All thresholds are one factor times the column's own scale, and
the factor is chosen so that an undrifted window breaks the rule with the stated probability. That corrects for many
columns without pretending that they are independent (Westfall and Young, *Resampling-Based Multiple Testing*, 1993).
"""

import math

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from bloodyspy.cells import CELL_TYPES
from bloodyspy.errors import MonitoringError
from bloodyspy.images.statistics import STATISTICS

MEASURED: tuple[str, ...] = (*STATISTICS, "confidence")
"""Numeric columns, judged by :func:`ks_distance`."""
CASE_MIX = "predicted"
"""The column judged by :func:`share_distance`: a change of patients moves it as well as a fault does."""
JUDGED: tuple[str, ...] = (*MEASURED, CASE_MIX)

LOWEST_RATE = 0.001
"""Rarer false alarms than this would need more resamples than an hourly check should pay for."""

_SCALE_QUANTILE = 0.98
"""A column's scale is this quantile of its distance without drift: far enough in to be estimated well."""
_ALARMS = 25
"""Resamples that break the rule at the chosen factor; fewer would make the false-alarm rate itself a guess."""
_CELLS = 1_000_000
"""Cells sorted at once: bounds the memory to some tens of megabytes."""


def ks_distance(reference: ArrayLike, current: ArrayLike) -> float:
    """Two-sample Kolmogorov-Smirnov statistic: the largest gap between the two cumulative shares, 0 to 1.

    Constant samples need no guard: two equal constants are 0 apart, two different ones 1.
    """
    first, second = np.sort(np.asarray(reference)), np.sort(np.asarray(current))
    both = np.concatenate([first, second])
    below_first = np.searchsorted(first, both, side="right") / len(first)
    below_second = np.searchsorted(second, both, side="right") / len(second)
    return float(np.abs(below_first - below_second).max())


def share_distance(reference: ArrayLike, current: ArrayLike) -> float:
    """Total variation distance of two samples of names: half the sum of absolute differences of shares, 0 to 1."""
    first, second = np.asarray(reference, dtype=str), np.asarray(current, dtype=str)
    names = np.unique(np.concatenate([first, second]))
    return float(sum(abs(np.mean(first == name) - np.mean(second == name)) for name in names) / 2)


def distances(reference: pd.DataFrame, current: pd.DataFrame) -> dict[str, float]:
    """Distance of each judged column, in the order of :data:`JUDGED`."""
    measured = {name: ks_distance(reference[name], current[name]) for name in MEASURED}
    return {**measured, CASE_MIX: share_distance(reference[CASE_MIX], current[CASE_MIX])}


def calibrate(reference: pd.DataFrame, rows: int, false_alarm_rate: float, seed: int = 0) -> dict[str, float]:
    """Threshold of each judged column for windows of one size.

    Args:
        reference: observations of normal pictures, at least 2 rows.
        rows: size of the window to be judged.
        false_alarm_rate: probability that a window of normal pictures is over at least one threshold.
        seed: of the resampling; same arguments, same thresholds.

    Raises:
        MonitoringError: the rate is below :data:`LOWEST_RATE`, or no numeric column of the reference varies.
    """
    if false_alarm_rate < LOWEST_RATE:
        raise MonitoringError(
            f"A false-alarm rate of {false_alarm_rate:g} is too rare to be calibrated. "
            f"Set monitoring.false_alarm_rate in params.yaml to {LOWEST_RATE:g} or more."
        )
    resamples = max(2_000, math.ceil(_ALARMS / false_alarm_rate))
    null = null_distances(reference, rows, resamples, seed)
    scales = np.quantile(null, _SCALE_QUANTILE, axis=0)
    measured = scales[: len(MEASURED)]
    if not measured.any():
        raise MonitoringError(
            "All pictures of the model's reference measure alike. Assemble it again with `dvc repro`."
        )
    # Every numeric column has the same null distribution, so they share one scale, estimated from all that vary. One
    # that is constant in the reference is held to it too: a single odd picture is no alarm, another constant is.
    measured[:] = measured[measured > 0].mean()
    factor = _upper_quantile((null / scales).max(axis=1), false_alarm_rate)
    return {name: float(scale * factor) for name, scale in zip(JUDGED, scales, strict=True)}


def null_distances(reference: pd.DataFrame, rows: int, resamples: int, seed: int = 0) -> NDArray[np.float64]:
    """Distances between a resampled reference and a resampled window, shape (resamples, judged columns).

    Numeric columns that are constant in the reference stay 0.
    """
    size = len(reference)
    both = size + rows
    values = reference[list(MEASURED)].to_numpy(dtype=np.float64)
    varying = np.flatnonzero(values.min(axis=0) < values.max(axis=0))
    # Rank in the upper half of a key, place within the gap below, sample in the lowest bit: one sort orders all three.
    ranks = values.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable").astype(np.uint64)
    is_window = (np.arange(both) >= size).astype(np.uint64)
    classes = pd.Categorical(reference[CASE_MIX], categories=list(CELL_TYPES)).codes.astype(np.int64)
    # Half a picture more of each class (Jeffreys' prior): absent from a small reference does not mean impossible.
    unseen = len(CELL_TYPES) / 2 / (size + len(CELL_TYPES) / 2)
    random = np.random.default_rng(seed)
    null = np.zeros((resamples, len(JUDGED)))
    chunk = max(1, _CELLS // both)
    for start in range(0, resamples, chunk):
        count = min(chunk, resamples - start)
        drawn = random.integers(0, size, (count, both))
        for column in varying:
            key = ranks[:, column][drawn] << np.uint64(32)
            key |= random.integers(0, 1 << 31, (count, both), dtype=np.uint64) << np.uint64(1)
            key |= is_window
            key.sort(axis=1)
            steps = np.where(key & np.uint64(1), -size, rows)
            null[start : start + count, column] = np.abs(steps.cumsum(axis=1)).max(axis=1) / (size * rows)
        cells = np.where(
            random.random((count, both)) < unseen, random.integers(0, len(CELL_TYPES), (count, both)), classes[drawn]
        )
        for cell in range(len(CELL_TYPES)):
            is_cell = cells == cell
            gap = is_cell[:, :size].mean(axis=1) - is_cell[:, size:].mean(axis=1)
            null[start : start + count, -1] += np.abs(gap) / 2
    return null


def _upper_quantile(sample: NDArray[np.float64], rate: float) -> float:
    """The value that a new draw exceeds with a probability of at most ``rate``, resampling error included."""
    rank = math.ceil((1 - rate) * (len(sample) + 1))
    return float(np.sort(sample)[rank - 1])
