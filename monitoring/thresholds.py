"""How far from the reference a window of normal pictures may lie: the thresholds of the drift check.

Textbook thresholds cry wolf on windows of a few hundred rows and twenty columns, so ours come from resampling the
reference at the window's own size (:mod:`monitoring.resampling`). The overall rule is "some distance is over its
threshold". All thresholds are one factor times the distance's own scale, and the factor is chosen so that an undrifted
window breaks the rule with the stated probability. That corrects for many columns without pretending that they are
independent (Westfall and Young, *Resampling-Based Multiple Testing*, 1993). Alarms rarer than resamples can show are
extrapolated: the square of the largest of such distances has an exponential tail (as exp(-2 d^2) for Kolmogorov's;
Knijnenburg et al. 2009 fit tails of permutation values in the same way).
"""

import hashlib
import logging
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from monitoring.comparison import CASE_MIX, JUDGED, MEASURED, Comparison, codes_of, counts_of
from monitoring.resampling import null

LARGEST = 2_000
"""Rows that are resampled at most: in their units, distances of larger windows have the same thresholds."""
RESAMPLES = 2_000

logger = logging.getLogger(__name__)

_SCALE_QUANTILE = 0.98
"""A distance's scale is this quantile of it without drift: far enough in to be estimated well."""
_LEAST_SCALE = 1e-6
"""Where the network sees the same in all rows of a reference, nothing but rounding is left."""
_TAIL = 0.05
"""Share of the resamples that the tail is fitted to."""
_Z = 1.645
_ALARMS = 25
"""Resamples beyond the factor from which on it is counted and not extrapolated."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What resampling one reference for windows of one size has shown; good for any rate."""

    scales: NDArray[np.float64]
    """Of each of :data:`JUDGED`, in its unit."""
    largest: NDArray[np.float64]
    """Of each resample: its largest distance over its scale, rising."""

    @classmethod
    def calibrate(cls, comparison: Comparison, rows: int, resamples: int = RESAMPLES) -> Self:
        """Resample; windows of more than :data:`LARGEST` rows have the thresholds of these."""
        without = null(comparison, min(rows, LARGEST), resamples)
        scales = np.quantile(without, _SCALE_QUANTILE, axis=0)
        # Every column has Kolmogorov's distribution, so all have one scale: 21 estimates of it would be 21 chances to
        # take noise for it. One that is constant in the reference thus takes an odd picture, and no other constant.
        scales[: len(MEASURED)] = np.quantile(without[:, : len(MEASURED)][:, comparison.varying], _SCALE_QUANTILE)
        scales = np.maximum(scales, _LEAST_SCALE)
        return cls(scales, np.sort((without / scales).max(axis=1)))

    @classmethod
    def kept(cls, comparison: Comparison, reference: pd.DataFrame, rows: int, folder: Path | None) -> Self:
        """As :meth:`calibrate`, kept in a folder, if there is one, by the reference's content and the size.

        So they are resampled once. Sizes between those of a series of steps of an eighth have the thresholds of the
        next smaller one.
        """
        size = stepped(rows)
        if folder is None:
            return cls.calibrate(comparison, size)
        place = folder / f"{content_digest(reference)}-{size}.npz"
        try:
            with place.open("rb") as file, np.load(file, allow_pickle=False) as held:
                return cls(held["scales"], held["largest"])
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as exc:  # half of it, from a disk that was full
            logger.warning("%s cannot be read (%s); its thresholds are made anew.", place, exc)
        made = cls.calibrate(comparison, size)
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = place.with_name(f".{place.stem}-{os.getpid()}.npz")
        np.savez(unfinished, scales=made.scales, largest=made.largest)
        unfinished.replace(place)
        return made

    def factor(self, rate: float) -> float:
        """How many scales a distance may reach, that no more than this share of undrifted windows has one beyond.

        It is an upper bound, of 95 % confidence, of what so many resamples estimate: the rate is a promise.
        """
        n = len(self.largest)
        if rate * n >= _ALARMS:
            return float(self.largest[n - 1 - math.floor(rate * n - _Z * math.sqrt(rate * (1 - rate) * n))])
        tail = max(2, round(_TAIL * n))
        start, *beyond = self.largest[-tail - 1 :] ** 2
        slope = float(np.mean(np.array(beyond) - start)) * (1 + _Z / math.sqrt(tail))
        return math.sqrt(start + slope * math.log(tail / n / rate))

    def of(self, comparison: Comparison, window: pd.DataFrame, rate: float) -> dict[str, float]:
        """Threshold of each of :data:`JUDGED` for one window: its unit depends on the window's mix.

        Args:
            comparison: that these are of.
            window: to be judged.
            rate: share of undrifted windows with at least one distance over its threshold.
        """
        within, mix = comparison.unit(counts_of(codes_of(window[CASE_MIX]))), comparison.mix_unit(len(window))
        limits = self.factor(rate) * self.scales
        units = np.array([within] * (len(JUDGED) - 1) + [mix])
        return dict(zip(JUDGED, (limits * units).tolist(), strict=True))


def stepped(rows: int) -> int:
    """The largest number of 10, 11, … 16, 18, 20, 22, … (steps of an eighth) up to ``rows`` and :data:`LARGEST`."""
    size = 10
    while (larger := size + max(1, size // 8)) <= min(rows, LARGEST):
        size = larger
    return size


def content_digest(frame: pd.DataFrame) -> str:
    """Of a frame's columns and rows, 16 hex digits."""
    digest = hashlib.sha256(f"{list(frame.columns)}{len(frame)}".encode())
    digest.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    return digest.hexdigest()[:16]
