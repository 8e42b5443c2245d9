"""How far from the reference a window of normal pictures may lie: the thresholds of the drift check.

Three kinds of change are kept apart. *Optics*: the statistics of the pictures. *Network*: what the network sees in
them. *Case mix*: the shares of the predicted types. A smear with more lymphocytes moves every mean that lymphocytes are
unlike the others in, so the first two are compared **within the predicted type**: a picture's value becomes its place
among the reference's pictures of the same type, which is uniform on (0, 1) whatever the mix, as long as nothing else
has changed (the probability integral transform). Embeddings are held against the reference reweighted to the window's
mix.

Textbook thresholds cry wolf on windows of a few hundred rows and twenty columns, so ours come from resampling the
reference at the window's own size. Each resample draws *two* samples, one as large as the reference and one as large as
the window, because the reference is itself only a sample of normal pictures and its own sampling error counts. Rows are
drawn whole, which keeps the correlation between columns. A drawn value is then spread evenly over the gap that it
leaves in the other sample: no two draws tie, so every column has the null distribution of a continuous quantity, which
bounds that of a rounded one from above.

With n_c of the window's n rows and m_c of the reference's in type c, the variance of all these comparisons under no
change is 1/n + sum of (n_c/n)^2/m_c times something that hardly depends on the mix. Distances are judged in units of
the root of it (:meth:`Comparison.unit`), so that thresholds of one mix hold for another.

The overall rule is "some distance is over its threshold". All thresholds are one factor times the distance's own scale,
and the factor is chosen so that an undrifted window breaks the rule with the stated probability. That corrects for many
columns without pretending that they are independent (Westfall and Young, *Resampling-Based Multiple Testing*, 1993).
Alarms rarer than resamples can show are extrapolated: the square of the largest of such distances has an exponential
tail (as exp(-2 d^2) for Kolmogorov's; Knijnenburg et al. 2009 fit tails of permutation values in the same way).
"""

import hashlib
import logging
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from bloodyspy.cells import CELL_TYPES
from bloodyspy.errors import MonitoringError
from bloodyspy.images.statistics import STATISTICS
from bloodyspy.observation import EMBEDDING

OPTICS: tuple[str, ...] = (*STATISTICS, "foreignness")
"""Columns that say how the picture was made."""
SEEN: tuple[str, ...] = ("novelty", "confidence")
"""Columns that say what the network makes of it."""
MEASURED: tuple[str, ...] = (*OPTICS, *SEEN)
"""Judged by :meth:`Comparison.places`, within the predicted type."""
FEATURES = "embedding"
"""Name of the distance between embeddings."""
CASE_MIX = "predicted"
"""The column of predicted types, and the name of the distance between their shares."""
JUDGED: tuple[str, ...] = (*MEASURED, FEATURES, CASE_MIX)
"""Everything that is judged, in this order."""

FEWEST = 8
"""Pictures of a type in the reference; rows of a rarer type count in the case mix only."""
LARGEST = 2_000
"""Rows that are resampled at most: in their units, distances of larger windows have the same thresholds."""
RESAMPLES = 2_000

logger = logging.getLogger(__name__)

_SCALE_QUANTILE = 0.98
"""A distance's scale is this quantile of it without drift: far enough in to be estimated well."""
_TAIL = 0.05
"""Share of the resamples that the tail is fitted to."""
_Z = 1.645
_ALARMS = 25
"""Resamples beyond the factor from which on it is counted and not extrapolated."""
_WAVES = 64
"""Random Fourier features of the kernel."""
_TYPES = np.array([str(cell) for cell in CELL_TYPES])


@dataclass(frozen=True, slots=True)
class _Codes:
    """Predicted types as positions, (n,)."""

    of: NDArray[np.int64]

    @classmethod
    def read(cls, frame: pd.DataFrame) -> Self:
        return cls(np.asarray(pd.Categorical(frame[CASE_MIX], categories=_TYPES).codes, np.int64))

    @property
    def counts(self) -> NDArray[np.int64]:
        return np.bincount(self.of, minlength=len(_TYPES))


class Comparison:
    """A reference made ready: windows are held against it."""

    def __init__(self, reference: pd.DataFrame) -> None:
        """Sort the reference by type.

        Args:
            reference: observations of normal pictures, with the columns of an observation.

        Raises:
            MonitoringError: no type has :data:`FEWEST` rows, or no numeric column varies.
        """
        codes = _Codes.read(reference)
        self.rows = len(reference)
        self.counts = codes.counts
        self.compared = self.counts >= FEWEST
        kept = np.flatnonzero(self.compared[codes.of])
        kept = kept[np.argsort(codes.of[kept], kind="stable")]
        if not len(kept):
            raise MonitoringError(
                f"No predicted type has {FEWEST} rows in the model's reference, so nothing can be compared within a "
                "type. Import more images and run `dvc repro`."
            )
        self._types = codes.of[kept]
        self._sizes = np.where(self.compared, self.counts, 0)
        self._starts = np.concatenate([[0], np.cumsum(self._sizes)])[:-1]
        self._values = reference[list(MEASURED)].to_numpy(np.float64)[kept]
        self.varying = self._values.min(axis=0) < self._values.max(axis=0)
        """Which of the measured columns are not the same in all rows, (columns,)."""
        if not self.varying.any():
            raise MonitoringError(
                "All rows of the model's reference measure alike. Assemble it again with `dvc repro`."
            )
        self._embedded = reference[list(EMBEDDING)].to_numpy(np.float64)[kept]

    @cached_property
    def _sorted(self) -> list[NDArray[np.float64]]:
        """Of each type: its values, each column sorted."""
        return [np.sort(self._values[self._block(code)], axis=0) for code in range(len(_TYPES))]

    @cached_property
    def _waves(self) -> NDArray[np.float64]:
        """Frequencies of a Gaussian kernel (Rahimi and Recht 2007), as wide as the median distance within a type."""
        random = np.random.default_rng(0)
        gaps = []
        for code in np.flatnonzero(self._sizes):
            own = self._embedded[self._block(int(code))]
            one, other = random.integers(0, len(own), (2, 500))
            gaps.append(np.linalg.norm(own[one] - own[other], axis=1)[one != other])
        width = float(np.median(np.concatenate(gaps))) or 1.0
        return random.normal(size=(len(EMBEDDING), _WAVES)) / width

    @cached_property
    def _features(self) -> NDArray[np.float64]:
        """Of the reference's rows, (m, 2 * waves)."""
        return self._kernel(self._embedded)

    @cached_property
    def _middles(self) -> NDArray[np.float64]:
        """Mean of them in each type, (8, 2 * waves)."""
        return np.array(
            [
                self._features[self._block(c)].mean(axis=0) if n else self._features[0] * 0
                for c, n in enumerate(self._sizes)
            ]
        )

    def _block(self, code: int) -> slice:
        return slice(self._starts[code], self._starts[code] + self._sizes[code])

    def _kernel(self, embedded: NDArray[np.float64]) -> NDArray[np.float64]:
        """Random Fourier features whose inner product is the kernel, (n, 2 * waves)."""
        turned = embedded @ self._waves
        return np.concatenate([np.cos(turned), np.sin(turned)], axis=1) / math.sqrt(_WAVES)

    def places(self, name: str, values: ArrayLike, types: ArrayLike) -> NDArray[np.float64]:
        """Where values of one column lie among the reference's of the same type, of the rows that can be compared.

        Args:
            name: of :data:`MEASURED`.
            values: of the window, (n,).
            types: predicted types of the same rows, (n,).

        Returns:
            At most n values in (0, 1), in no order: the share of the reference's that lies below. Those that share a
            gap of the reference, or tie with the same of its values, are spread evenly over it.
        """
        codes = np.asarray(pd.Categorical(np.asarray(types, dtype=str), categories=_TYPES).codes, np.int64)
        column = MEASURED.index(name)
        return self._places(np.asarray(values, np.float64)[:, None], codes, slice(column, column + 1))[:, 0]

    def _places(self, values: NDArray[np.float64], codes: NDArray[np.int64], columns: slice) -> NDArray[np.float64]:
        found = []
        for code in np.flatnonzero(self.compared):
            own = values[codes == code]
            ordered = self._sorted[code][:, columns]
            if not len(own):
                continue
            pairs = zip(np.sort(own, axis=0).T, ordered.T, strict=True)
            found.append(np.stack([_spread(values, among) for values, among in pairs], axis=1))
        return np.concatenate(found) if found else np.empty((0, values.shape[1]))

    def unit(self, counts: NDArray[np.int64]) -> float:
        """Standard deviation of a comparison within types, up to a constant, by the window's rows of each type.

        Args:
            counts: of all types, (8,).

        Returns:
            sqrt(1/n + sum of (n_c/n)^2/m_c) over the types that can be compared; infinite where there is no row.
        """
        own = np.where(self.compared, counts, 0)
        n = own.sum()
        if not n:
            return math.inf
        return math.sqrt(1 / n + float((own[self.compared] ** 2 / self.counts[self.compared]).sum()) / n**2)

    def mix_unit(self, rows: int) -> float:
        """The same for the shares of the types."""
        return math.sqrt(1 / rows + 1 / self.rows)

    def distances(self, window: pd.DataFrame) -> dict[str, float]:
        """Of each of :data:`JUDGED`, 0 to about 1.

        Columns: Kolmogorov's distance of the places from the uniform distribution. Embedding: maximum mean discrepancy
        (Gretton et al. 2012) from the reference reweighted to the window's mix. Types: total variation distance.
        """
        codes = _Codes.read(window)
        counts = codes.counts
        own = np.where(self.compared, counts, 0)
        values = window[list(MEASURED)].to_numpy(np.float64)
        found = kolmogorov(self._places(values, codes.of, slice(None)))
        return dict(
            zip(JUDGED, (*found.tolist(), self._discrepancy(window, codes, own), self._gap(counts)), strict=True)
        )

    def embedding_distance(self, window: pd.DataFrame) -> float:
        """The one of :data:`FEATURES` alone."""
        codes = _Codes.read(window)
        return self._discrepancy(window, codes, np.where(self.compared, codes.counts, 0))

    def share_distance(self, types: ArrayLike) -> float:
        """The one of :data:`CASE_MIX` alone."""
        return self._gap(_Codes.read(pd.DataFrame({CASE_MIX: np.asarray(types, dtype=str)})).counts)

    def expected(self, window: pd.DataFrame) -> dict[str, float]:
        """Mean of each measured column in the reference reweighted to the window's mix."""
        own = np.where(self.compared, _Codes.read(window).counts, 0)
        weights = own / max(1, own.sum())
        middles = np.array([one.mean(axis=0) if len(one) else np.zeros(len(MEASURED)) for one in self._sorted])
        return dict(zip(MEASURED, (weights @ middles).tolist(), strict=True))

    def _discrepancy(self, window: pd.DataFrame, codes: _Codes, own: NDArray[np.int64]) -> float:
        if not own.sum():
            return 0.0
        kept = self.compared[codes.of]
        seen = self._kernel(window[list(EMBEDDING)].to_numpy(np.float64)[kept]).mean(axis=0)
        return float(np.linalg.norm(seen - own / own.sum() @ self._middles))

    def _gap(self, counts: NDArray[np.int64]) -> float:
        return float(np.abs(counts / counts.sum() - self.counts / self.counts.sum()).sum() / 2)

    def null(self, rows: int, resamples: int = RESAMPLES, seed: int = 0) -> NDArray[np.float64]:
        """Distances without drift, in their units: between a resampled window and a resampled reference.

        Args:
            rows: of the window.
            resamples: how many.
            seed: same arguments, same result.

        Returns:
            (resamples, judged).
        """
        random = np.random.default_rng(seed)
        m, sizes, starts, codes = len(self._types), self._sizes[self._types], self._starts[self._types], self._types
        order = np.array([np.lexsort((column, codes)) for column in self._values.T]).T
        rank = np.argsort(order, axis=0)
        columns = np.arange(len(MEASURED))
        present = np.flatnonzero(self._sizes)
        found = np.empty((resamples, len(JUDGED)))
        for number in range(resamples):
            # A reference of as many rows of each type; then a window.
            times = np.bincount(starts + random.integers(0, sizes), minlength=m)
            drawn = random.integers(0, m, rows)
            below = (
                np.cumsum(times[order], axis=0)[rank[drawn], columns] - times[drawn][:, None] - starts[drawn][:, None]
            )
            gap = (times[drawn][:, None] + 1) * random.random((rows, len(columns)))
            counts = np.bincount(codes[drawn], minlength=len(_TYPES))
            unit = self.unit(counts)
            found[number, : len(columns)] = kolmogorov((below + gap) / (sizes[drawn][:, None] + 1)) / unit
            again = np.add.reduceat(times[:, None] * self._features, self._starts[present], axis=0)
            middles = again / self._sizes[present, None]
            seen = np.bincount(drawn, minlength=m) @ self._features / rows
            found[number, -2] = np.linalg.norm(seen - counts[present] / rows @ middles) / unit
        found[:, -1] = self._null_mix(rows, resamples, random)
        found[:, : len(columns)][:, ~self.varying] = 0
        return found

    def _null_mix(self, rows: int, resamples: int, random: np.random.Generator) -> NDArray[np.float64]:
        # Half a picture more of each type (Jeffreys' prior): absent from a small reference does not mean impossible.
        shares = (self.counts + 0.5) / (self.rows + len(_TYPES) / 2)
        reference, window = (random.multinomial(n, shares, resamples) / n for n in (self.rows, rows))
        return np.asarray(np.abs(reference - window).sum(axis=1) / 2 / self.mix_unit(rows))


def _spread(values: NDArray[np.float64], among: NDArray[np.float64]) -> NDArray[np.float64]:
    """Places of sorted values among sorted others, in (0, 1)."""
    first, last = np.searchsorted(among, values, "left"), np.searchsorted(among, values, "right")
    gap = first + last  # rises, and is another one for each gap and each tie
    begins, ends = np.searchsorted(gap, gap, "left"), np.searchsorted(gap, gap, "right")
    within = (np.arange(len(values)) - begins + 0.5) / (ends - begins)
    return (first + within * (last - first + 1)) / (len(among) + 1)


def kolmogorov(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Kolmogorov's distance of each column of (n, columns) values from the uniform distribution on (0, 1)."""
    n = len(places)
    if not n:
        return np.zeros(places.shape[1])
    ordered = np.sort(places, axis=0)
    steps = np.arange(n)[:, None] / n
    return np.maximum((ordered - steps).max(axis=0), (steps + 1 / n - ordered).max(axis=0))


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
        null = comparison.null(min(rows, LARGEST), resamples)
        scales = np.quantile(null, _SCALE_QUANTILE, axis=0)
        # Every column has Kolmogorov's distribution, so all have one scale: 21 estimates of it would be 21 chances to
        # take noise for it. One that is constant in the reference thus takes an odd picture, and no other constant.
        scales[: len(MEASURED)] = np.quantile(null[:, : len(MEASURED)][:, comparison.varying], _SCALE_QUANTILE)
        return cls(scales, np.sort((null / scales).max(axis=1)))

    @classmethod
    def kept(cls, comparison: Comparison, reference: pd.DataFrame, rows: int, folder: Path) -> Self:
        """As :meth:`calibrate`, kept in a folder by the reference's content and the size: resampled once.

        Sizes between those of a series of steps of an eighth have the thresholds of the next smaller one.
        """
        size = stepped(rows)
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
        unfinished = place.with_name(f".{place.stem}-{hash(made.largest.tobytes()) & 0xFFFF:x}.npz")
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
        within, mix = comparison.unit(_Codes.read(window).counts), comparison.mix_unit(len(window))
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
