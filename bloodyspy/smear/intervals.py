"""Exact binomial intervals, and the same where the number of successes is itself uncertain."""

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95


def clopper_pearson(
    successes: NDArray[np.integer], trials: NDArray[np.integer], level: float = LEVEL
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The exact interval of a proportion (Clopper and Pearson 1934), from quantiles of the Beta distribution.

    Args:
        successes: 0 to ``trials``, any shape.
        trials: of the same shape, each at least 1.
        level: above 0, below 1.

    Returns:
        Low and high ends, fractions.
    """
    from scipy.special import betaincinv  # most of what the service would import for itself at its start

    tail = (1 - level) / 2
    failures = trials - successes
    # a Beta distribution needs parameters above 0: where one is not, the end is 0 or 1 and the quantile goes unused
    low = np.where(successes > 0, betaincinv(np.maximum(successes, 1), failures + 1, tail), 0.0)
    high = np.where(failures > 0, betaincinv(successes + 1, np.maximum(failures, 1), 1 - tail), 1.0)
    return low, high


def mixed_clopper_pearson(
    successes: NDArray[np.integer],
    trials: NDArray[np.integer],
    rng: np.random.Generator,
    level: float = LEVEL,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The exact interval where only a distribution of the successes is known, as draws of them.

    The ends of Clopper and Pearson's interval are quantiles of Beta(k, n - k + 1) and of Beta(k + 1, n - k); here each
    is the quantile of the mixture of these over the draws. Where all draws agree it is the exact interval itself.

    Args:
        successes: shape (..., draws, m): at each draw the successes of m proportions, 0 to ``trials``.
        trials: of the same shape, each at least 1.
        rng: draws from the mixtures.
        level: above 0, below 1.

    Returns:
        Low and high ends, fractions, shape (..., m).
    """
    tail = (1 - level) / 2
    failures = trials - successes
    # Beta as a ratio of Gammas: the Gamma of shape 0 is 0, which is the Beta of an end that is 0 or 1
    low = _beta(rng.standard_gamma(successes), rng.standard_gamma(failures + 1))
    high = _beta(rng.standard_gamma(successes + 1), rng.standard_gamma(failures))
    return np.quantile(low, tail, axis=-2), np.quantile(high, 1 - tail, axis=-2)


def _beta(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(one / (one + other), dtype=np.float64)
