"""How far a window of observations is from a reference, in three ways that are kept apart.

*Optics*: the statistics of the pictures. *Network*: what the network sees in them. *Case mix*: the shares of the
predicted types. A smear with more lymphocytes moves every mean that lymphocytes are unlike the others in, so the first
two are compared **within the predicted type**: a picture's value becomes its place among the reference's pictures of
the same type, which is uniform on (0, 1) whatever the mix, as long as nothing else has changed (the probability
integral transform). Embeddings are held against the reference reweighted to the window's mix.

With n_c of the window's n rows and m_c of the reference's in type c, the variance of all these comparisons under no
change is 1/n + sum of (n_c/n)^2/m_c times something that hardly depends on the mix. Distances are judged in units of
the root of it (:meth:`Comparison.unit`), so that thresholds of one mix hold for another.
"""

import math
from collections.abc import Sequence
from functools import cached_property

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
_WAVES = 64
"""Random Fourier features of the kernel."""
_TYPES = np.array([str(cell) for cell in CELL_TYPES])


class Comparison:
    """A reference made ready: windows are held against it."""

    def __init__(self, reference: pd.DataFrame) -> None:
        """Sort the reference by type.

        Args:
            reference: observations of normal pictures, with the columns of an observation.

        Raises:
            MonitoringError: no type has :data:`FEWEST` rows, or no numeric column varies.
        """
        codes = codes_of(reference[CASE_MIX])
        self.rows = len(reference)
        self.counts = counts_of(codes)
        """Rows of each type, (8,)."""
        self.compared = self.counts >= FEWEST
        """Whether a type has enough, (8,)."""
        kept = np.flatnonzero(self.compared[codes])
        kept = kept[np.argsort(codes[kept], kind="stable")]
        if not len(kept):
            raise MonitoringError(
                f"No predicted type has {FEWEST} rows in the model's reference, so nothing can be compared within a "
                "type. Import more images and run `dvc repro`."
            )
        self.types = codes[kept]
        """Of the m rows that are compared with, sorted, (m,)."""
        self.sizes = np.where(self.compared, self.counts, 0)
        """How many of them each type has, (8,)."""
        self.starts = np.concatenate([[0], np.cumsum(self.sizes)])[:-1]
        """Where each type begins among them, (8,)."""
        self.values = _rows_of(reference, MEASURED)[:, kept]
        """Of them, (columns of MEASURED, m)."""
        self.varying = self.values.min(axis=1) < self.values.max(axis=1)
        """Which of the measured columns are not the same in all rows, (columns,)."""
        if not self.varying.any():
            raise MonitoringError(
                "All rows of the model's reference measure alike. Assemble it again with `dvc repro`."
            )
        self._embedded = _rows_of(reference, EMBEDDING).T[kept]

    @cached_property
    def _sorted(self) -> list[NDArray[np.float64]]:
        """Of each type: its values, each column sorted, (columns, rows of the type)."""
        return [np.sort(self.values[:, self._block(code)], axis=1) for code in range(len(_TYPES))]

    @cached_property
    def _waves(self) -> NDArray[np.float64]:
        """Frequencies of a Gaussian kernel (Rahimi and Recht 2007), as wide as the median distance within a type."""
        random = np.random.default_rng(0)
        gaps = []
        for code in np.flatnonzero(self.sizes):
            own = self._embedded[self._block(int(code))]
            one, other = random.integers(0, len(own), (2, 500))
            gaps.append(np.linalg.norm(own[one] - own[other], axis=1)[one != other])
        width = float(np.median(np.concatenate(gaps))) or 1.0
        return random.normal(size=(len(EMBEDDING), _WAVES)) / width

    @cached_property
    def features(self) -> NDArray[np.float32]:
        """Of the reference's rows, (m, 2 * waves)."""
        return self._kernel(self._embedded)

    @cached_property
    def _middles(self) -> NDArray[np.float64]:
        """Mean of them in each type, (8, 2 * waves)."""
        return np.array(
            [
                self.features[self._block(c)].mean(axis=0, dtype=np.float64) if n else np.zeros(2 * _WAVES)
                for c, n in enumerate(self.sizes)
            ]
        )

    def _block(self, code: int) -> slice:
        return slice(self.starts[code], self.starts[code] + self.sizes[code])

    def _kernel(self, embedded: NDArray[np.float64]) -> NDArray[np.float32]:
        """Random Fourier features, (n, 2 * waves): their inner product over the waves' number is the kernel."""
        turned = (embedded @ self._waves).astype(np.float32)  # a fourth of the time of cosines in float64
        features = np.empty((len(turned), 2 * _WAVES), np.float32)
        np.cos(turned, out=features[:, :_WAVES])
        np.sin(turned, out=features[:, _WAVES:])
        return features

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
        codes = codes_of(types)
        column = MEASURED.index(name)
        return self._places(np.asarray(values, np.float64)[None], codes, slice(column, column + 1))[0]

    def _places(self, values: NDArray[np.float64], codes: NDArray[np.int64], columns: slice) -> NDArray[np.float64]:
        """As :meth:`places`, of several columns: (columns, n) in, (columns, at most n) out."""
        found = [
            _spread(np.sort(values[:, codes == code], axis=1), self._sorted[code][columns])
            for code in np.flatnonzero(self.compared & (counts_of(codes) > 0))
        ]
        return np.concatenate(found, axis=1) if found else np.empty((len(values), 0))

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
        """Of each of :data:`JUDGED`, 0 or more.

        Columns: Kolmogorov's distance of the places from the uniform distribution. Embedding: maximum mean discrepancy
        (Gretton et al. 2012) from the reference reweighted to the window's mix. Types: the largest difference of a
        share, in deviations of one picture: a sum over all types would drown a change of one in the noise of seven.
        """
        codes = codes_of(window[CASE_MIX])
        found = kolmogorov(self._places(_rows_of(window, MEASURED), codes, slice(None)))
        others = (self._discrepancy(window, codes), self._gap(counts_of(codes)))
        return dict(zip(JUDGED, (*found.tolist(), *others), strict=True))

    def embedding_distance(self, window: pd.DataFrame) -> float:
        """The one of :data:`FEATURES` alone."""
        return self._discrepancy(window, codes_of(window[CASE_MIX]))

    def share_distance(self, types: ArrayLike) -> float:
        """The one of :data:`CASE_MIX` alone."""
        return self._gap(counts_of(codes_of(types)))

    def expected(self, window: pd.DataFrame) -> dict[str, float]:
        """Mean of each measured column in the reference reweighted to the window's mix."""
        own = np.where(self.compared, counts_of(codes_of(window[CASE_MIX])), 0)
        weights = own / max(1, own.sum())
        middles = np.array([one.mean(axis=1) if one.size else np.zeros(len(MEASURED)) for one in self._sorted])
        return dict(zip(MEASURED, (weights @ middles).tolist(), strict=True))

    def _discrepancy(self, window: pd.DataFrame, codes: NDArray[np.int64]) -> float:
        own = np.where(self.compared, counts_of(codes), 0)
        if not own.sum():
            return 0.0
        kept = self.compared[codes]
        seen = self._kernel(_rows_of(window, EMBEDDING).T[kept]).mean(axis=0, dtype=np.float64)
        return self.discrepancy(seen, own / own.sum() @ self._middles)

    @staticmethod
    def discrepancy(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
        """Between two mean features, (2 * waves,)."""
        return float(np.linalg.norm(one - other)) / math.sqrt(_WAVES)

    @cached_property
    def shares(self) -> NDArray[np.float64]:
        """Of the types in the reference, (8,), with half a picture more of each (Jeffreys' prior).

        Absent from a small reference does not mean impossible.
        """
        return np.asarray((self.counts + 0.5) / (self.rows + len(_TYPES) / 2))

    def gaps(self, one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
        """Between two times eight shares, (..., 8), in deviations of one picture: as if it were of the type or not."""
        return np.asarray(np.abs(one - other) / np.sqrt(self.shares * (1 - self.shares)))

    def moved_type(self, window: pd.DataFrame) -> tuple[str, float, float]:
        """The type whose share is the furthest away, with its share in reference and window."""
        counts = counts_of(codes_of(window[CASE_MIX]))
        before, now = self.counts / self.rows, counts / counts.sum()
        code = int(self.gaps(now, before).argmax())
        return str(_TYPES[code]), float(before[code]), float(now[code])

    def _gap(self, counts: NDArray[np.int64]) -> float:
        return float(self.gaps(counts / counts.sum(), self.counts / self.rows).max())


def _rows_of(frame: pd.DataFrame, columns: Sequence[str]) -> NDArray[np.float64]:
    """Columns of a frame as rows: what is done to one of them goes through memory in order."""
    return np.stack([frame[name].to_numpy(np.float64) for name in columns])


def codes_of(types: ArrayLike) -> NDArray[np.int64]:
    """Positions of the names of types, (n,)."""
    return np.asarray(pd.Categorical(np.asarray(types, dtype=str), categories=_TYPES).codes, np.int64)


def counts_of(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of each type, (8,)."""
    return np.bincount(codes, minlength=len(_TYPES))


def _spread(values: NDArray[np.float64], among: NDArray[np.float64]) -> NDArray[np.float64]:
    """Places of sorted values (columns, n) among sorted others (columns, m), in (0, 1)."""
    pairs = list(zip(among, values, strict=True))
    first, last = (np.array([np.searchsorted(*pair, side) for pair in pairs]) for side in ("left", "right"))
    # Along each row the sum rises, and is another one for each gap and each tie; a row begins with another one, too.
    gap = (first + last).ravel()
    begin = np.ones(gap.size, dtype=np.bool_)
    begin[1:] = gap[1:] != gap[:-1]
    begin[:: values.shape[1]] = True
    begins = np.flatnonzero(begin)
    counts = np.append(begins[1:], gap.size) - begins
    within = (np.arange(gap.size) - np.repeat(begins, counts) + 0.5) / np.repeat(counts, counts)
    return np.asarray((first + within.reshape(first.shape) * (last - first + 1)) / (among.shape[1] + 1))


def kolmogorov(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Kolmogorov's distance of each row of (columns, n) values from the uniform distribution on (0, 1)."""
    n = places.shape[1]
    if not n:
        return np.zeros(len(places))
    above = np.sort(places, axis=1) - np.arange(n) / n
    return np.maximum(above.max(axis=1), 1 / n - above.min(axis=1))
