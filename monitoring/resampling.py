"""Distances between samples of the same pictures: what a window without any change looks like.

Each resample draws *two* samples, one as large as the reference and one as large as the window, because the reference
is itself only a sample of normal pictures and its own sampling error counts. Rows are drawn whole, which keeps the
correlation between columns. A drawn value is then spread evenly over the gap that it leaves in the other sample: no two
draws tie, so every column has the null distribution of a continuous quantity, which bounds that of a rounded one from
above.
"""

import numpy as np
from numpy.typing import NDArray

from monitoring.comparison import JUDGED, MEASURED, Comparison, counts_of, kolmogorov


def null(comparison: Comparison, rows: int, resamples: int, seed: int = 0) -> NDArray[np.float64]:
    """Distances without drift, in their units: between a resampled window and a resampled reference.

    Args:
        comparison: of the reference.
        rows: of the window.
        resamples: how many.
        seed: same arguments, same result.

    Returns:
        (resamples, judged).
    """
    random = np.random.default_rng(seed)
    codes, features = comparison.types, comparison.features
    m, sizes, starts = len(codes), comparison.sizes[codes], comparison.starts[codes]
    order = np.array([np.lexsort((column, codes)) for column in comparison.values])
    rank = np.argsort(order, axis=1)
    columns = len(MEASURED)
    present = np.flatnonzero(comparison.sizes)
    found = np.empty((resamples, len(JUDGED)))
    for number in range(resamples):
        # A reference of as many rows of each type; then a window.
        times = np.bincount(starts + random.integers(0, sizes), minlength=m)
        drawn = random.integers(0, m, rows)
        upto = np.take_along_axis(np.cumsum(times[order], axis=1), rank[:, drawn], axis=1)
        below = upto - (times + starts)[drawn]
        gap = (times[drawn] + 1) * random.random((columns, rows))
        counts = counts_of(codes[drawn])
        unit = comparison.unit(counts)
        found[number, :columns] = kolmogorov((below + gap) / (sizes[drawn] + 1)) / unit
        again = np.add.reduceat(times[:, None] * features, comparison.starts[present], axis=0)
        middles = again / comparison.sizes[present, None]
        seen = np.bincount(drawn, minlength=m) @ features / rows
        found[number, -2] = comparison.discrepancy(seen, counts[present] / rows @ middles) / unit
    found[:, -1] = _null_mix(comparison, rows, resamples, random)
    found[:, :columns][:, ~comparison.varying] = 0
    return found


def _null_mix(comparison: Comparison, rows: int, resamples: int, random: np.random.Generator) -> NDArray[np.float64]:
    drawn = (random.multinomial(n, comparison.shares, resamples) / n for n in (comparison.rows, rows))
    return np.asarray(comparison.gaps(*drawn).max(axis=1) / comparison.mix_unit(rows))
