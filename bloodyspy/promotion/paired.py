"""Two models on the same images: how sure it is that one is not worse, or better.

Each image is asked in its eight positions (four quarter turns, each also mirrored), for a cell lies on a slide as it
fell. What counts is the share of positions that is answered rightly, 0 to 1, and of two models the difference of their
shares, -1 to 1. Its mean over the images is the difference in sensitivity under a random position, which is the same
number that one position an image would estimate, with a fraction of the variance: two trainings of one recipe disagree
mostly about which position of an unclear cell they get wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import binomtest, norm

RESAMPLES = 4000
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Counted:
    """Differences of shares, counted: what every function here needs of them."""

    values: NDArray[np.float64]
    """The different ones that occur, ascending, each from -1 to 1."""
    counts: NDArray[np.int64]
    """Images of each, at least 1."""

    @classmethod
    def of(cls, differences: NDArray[np.floating]) -> "Counted":
        """Count the differences of n images, n at least 1.

        Raises:
            ValueError: there are none, or one is no difference of two shares.
        """
        if not len(differences) or not (np.abs(differences) <= 1).all():
            raise ValueError("differences of shares lie between -1 and 1, and there is at least one")
        values, counts = np.unique(differences.astype(np.float64), return_counts=True)
        return cls(values, counts)

    @property
    def n(self) -> int:
        """Images."""
        return int(self.counts.sum())

    @property
    def mean(self) -> float:
        """Mean difference."""
        return float(self.counts @ self.values / self.n)


def score_statistic(counted: Counted, difference: float) -> float:
    """How many standard errors the mean lies above a supposed true difference.

    The standard error is the one under that supposition: of the distribution on [-1, 1] that has this mean and under
    which the images seen are likeliest. Where single answers are compared, so that a difference is -1, 0 or 1, this is
    Tango's score statistic (Statistics in Medicine 17:891, 1998); for shares the same principle gives a distribution on
    more than three points (Owen, Empirical Likelihood, 2001, with the two ends of the range as possible values). Unlike
    a statistic with the variance seen, it does not become endless where few images, or none, differ.

    What is paid for allowing the ends of the range where none was seen: losses that are spread over positions pass less
    often than they might. At a level of 5 %, with 98 and 199 images, 60 kinds of losses of exactly the margin passed
    0 to 6.5 % of the time.

    Args:
        counted: differences of shares.
        difference: strictly between -1 and 1.
    """
    distance = counted.values - difference
    share = counted.counts / counted.n
    mean = float(share @ distance)
    if abs(mean) < _ROUNDING:  # nearer than two means of eighths come; beyond it the variance is lost in rounding
        return 0.0
    # The likeliest shares are share / (1 + tilt * distance). The tilt can go no further than where an end of the range,
    # seen or not, would get a weight below nothing; what is then missing of 1 lies at that end.
    end = (-1.0 if mean > 0 else 1.0) - difference
    furthest = -1 / end * (1 - 1e-12)  # there itself one would divide by nothing

    def left_over(tilt: float) -> float:
        return float(share @ (distance / (1 + tilt * distance)))

    if left_over(furthest) * np.sign(mean) >= 0:
        likeliest = share / (1 + furthest * distance)
        variance = float(likeliest @ distance**2 + (1 - likeliest.sum()) * end**2)
    else:
        tilt = brentq(left_over, 0.0, furthest)
        variance = float((share / (1 + tilt * distance)) @ distance**2)
    return float(mean / np.sqrt(variance / counted.n))


def balanced_score_statistic(classes: Sequence[Counted], difference: float) -> float:
    """:func:`score_statistic` of the mean over classes of their mean differences.

    The likeliest distributions of all classes together with that mean: one multiplier is shared among them, and each
    class gives way by what its share of the mean is worth, 1 / images.

    Args:
        classes: differences of shares of each class, at least one.
        difference: of their mean, strictly between -1 and 1.
    """
    gain = float(np.mean([counted.mean for counted in classes]))
    if abs(gain - difference) < _ROUNDING:  # a mean of eighths: no nearer ones differ
        return 0.0

    def too_high(multiplier: float) -> float:
        means = [_likeliest(counted, multiplier / counted.n)[0] for counted in classes]
        return float(np.mean(means)) - difference

    side = np.sign(gain - difference)
    furthest = float(side)
    while too_high(furthest) * side > 0:
        furthest *= 2
    multiplier = brentq(too_high, *sorted((0.0, furthest)))
    variances = [_likeliest(counted, multiplier / counted.n)[1] / counted.n for counted in classes]
    return float((gain - difference) / (np.sqrt(np.sum(variances)) / len(classes)))


def _likeliest(counted: Counted, tilt: float) -> tuple[float, float]:
    """Mean and variance of the distribution on [-1, 1] that is tilted towards -1 (towards 1 where negative)."""
    share, least = counted.counts / counted.n, abs(tilt)

    def total(level: float) -> float:
        return float((share / (level + tilt * counted.values)).sum())

    slack = least + tilt * counted.values
    if (slack > 0).all() and total(least) <= 1 + _ROUNDING:
        likeliest, end = share / slack, -np.sign(tilt)  # what is missing of 1 lies at the end of the range
        missing = max(1 - likeliest.sum(), 0.0)
        mean = float(likeliest @ counted.values + missing * end)
        return mean, float(likeliest @ counted.values**2 + missing - mean**2)
    level = brentq(lambda level: total(level) - 1, least * (1 + 1e-12) + 1e-15, 1 + least + _ROUNDING)
    likeliest = share / (level + tilt * counted.values)
    mean = float(likeliest @ counted.values)
    return mean, float(likeliest @ counted.values**2) - mean**2


def not_worse(counted: Counted, margin: float) -> float:
    """One-sided p value of the supposition that the true difference is ``-margin`` or worse.

    Args:
        counted: differences of shares, new minus old.
        margin: how much worse still counts as not worse, strictly between 0 and 1.
    """
    return float(norm.sf(score_statistic(counted, -margin)))


def balanced_not_worse(classes: Sequence[Counted], margin: float) -> float:
    """:func:`not_worse` for the mean over classes; with a margin of 0 it is the p value of not being better."""
    return float(norm.sf(balanced_score_statistic(classes, -margin)))


def lower_bound(counted: Counted, level: float) -> float:
    """The worst true difference that the images do not speak against, one-sided: :func:`not_worse`, inverted.

    Args:
        counted: differences of shares, new minus old.
        level: one-sided, strictly between 0 and 0.5.
    """
    wanted = norm.isf(level)
    worst, best = -1 + 1e-9, min(counted.mean, 1 - 1e-9)
    if best <= worst or score_statistic(counted, worst) < wanted:
        return -1.0
    return float(brentq(lambda difference: score_statistic(counted, difference) - wanted, worst, best, xtol=1e-6))


def images_for_a_tie(margin: float, level: float) -> int:
    """Images of a class that it takes so that two models without any difference are shown to be not worse.

    With n images and no difference, the statistic is the root of n * margin / (1 - margin).
    """
    return int(np.ceil(norm.isf(level) ** 2 * (1 - margin) / margin))


def balanced_differences(classes: Sequence[Counted], seed: int = 0) -> NDArray[np.float64]:
    """Paired bootstrap of the difference in balanced accuracy: the mean over classes of their mean differences.

    Images are drawn with replacement within each class, for the classes' sizes are what they are.

    Returns:
        :data:`RESAMPLES` resampled differences.
    """
    rng = np.random.default_rng(seed)
    drawn = [rng.multinomial(one.n, one.counts / one.n, size=RESAMPLES) @ one.values / one.n for one in classes]
    return np.asarray(np.mean(drawn, axis=0), dtype=np.float64)


def mcnemar(gained: int, lost: int) -> float:
    """Exact one-sided p value that what was gained is chance (McNemar 1947): half of the images that differ expected.

    Args:
        gained: images that only the new model answers rightly.
        lost: images that only the old one does.
    """
    return float(binomtest(gained, gained + lost, alternative="greater").pvalue) if gained + lost else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """P values corrected for being several (Holm 1979), in the same order; none for none.

    By hand, because statsmodels' function collects the whole process's garbage in each call.
    """
    order = np.argsort(p_values)
    steps = np.array(p_values)[order] * np.arange(len(p_values), 0, -1)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return [float(p) for p in corrected]


def holm_levels(p_values: Sequence[float], level: float) -> list[float]:
    """The level of the step at which :func:`holm` looks at each: the smallest has level / n, the largest level."""
    rank = np.argsort(np.argsort(p_values, stable=True), stable=True)
    return [float(level / (len(p_values) - step)) for step in rank]
