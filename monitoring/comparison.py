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
        self.values = reference[list(MEASURED)].to_numpy(np.float64)[kept]
        """Of them, (m, columns of MEASURED)."""
        self.varying = self.values.min(axis=0) < self.values.max(axis=0)
        """Which of the measured columns are not the same in all rows, (columns,)."""
        if not self.varying.any():
            raise MonitoringError(
                "All rows of the model's reference measure alike. Assemble it again with `dvc repro`."
            )
        self._embedded = reference[list(EMBEDDING)].to_numpy(np.float64)[kept]

    @cached_property
    def _sorted(self) -> list[NDArray[np.float64]]:
        """Of each type: its values, each column sorted."""
        return [np.sort(self.values[self._block(code)], axis=0) for code in range(len(_TYPES))]

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
    def features(self) -> NDArray[np.float64]:
        """Of the reference's rows, (m, 2 * waves)."""
        return self._kernel(self._embedded)

    @cached_property
    def _middles(self) -> NDArray[np.float64]:
        """Mean of them in each type, (8, 2 * waves)."""
        return np.array(
            [
                self.features[self._block(c)].mean(axis=0) if n else self.features[0] * 0
                for c, n in enumerate(self.sizes)
            ]
        )

    def _block(self, code: int) -> slice:
        return slice(self.starts[code], self.starts[code] + self.sizes[code])

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
        codes = codes_of(types)
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
        codes = codes_of(window[CASE_MIX])
        values = window[list(MEASURED)].to_numpy(np.float64)
        found = kolmogorov(self._places(values, codes, slice(None)))
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
        middles = np.array([one.mean(axis=0) if len(one) else np.zeros(len(MEASURED)) for one in self._sorted])
        return dict(zip(MEASURED, (weights @ middles).tolist(), strict=True))

    def _discrepancy(self, window: pd.DataFrame, codes: NDArray[np.int64]) -> float:
        own = np.where(self.compared, counts_of(codes), 0)
        if not own.sum():
            return 0.0
        kept = self.compared[codes]
        seen = self._kernel(window[list(EMBEDDING)].to_numpy(np.float64)[kept]).mean(axis=0)
        return float(np.linalg.norm(seen - own / own.sum() @ self._middles))

    def _gap(self, counts: NDArray[np.int64]) -> float:
        return float(np.abs(counts / counts.sum() - self.counts / self.counts.sum()).sum() / 2)


def codes_of(types: ArrayLike) -> NDArray[np.int64]:
    """Positions of the names of types, (n,)."""
    return np.asarray(pd.Categorical(np.asarray(types, dtype=str), categories=_TYPES).codes, np.int64)


def counts_of(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of each type, (8,)."""
    return np.bincount(codes, minlength=len(_TYPES))


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
