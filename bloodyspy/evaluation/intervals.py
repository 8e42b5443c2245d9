"""Estimates with 95 % intervals."""

from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from scipy.stats import binomtest

LEVEL = 0.95
RESAMPLES = 2000


class Estimate(BaseModel):
    """A value and the 95 % interval around it, all fractions from 0 to 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float = Field(ge=0, le=1)
    low: float = Field(ge=0, le=1)
    high: float = Field(ge=0, le=1)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError("the interval's low end lies above its high end")
        return self

    def flat(self, name: str) -> dict[str, float]:
        """Three flat numbers: ``name``, ``name_low`` and ``name_high``."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}

    def __str__(self) -> str:
        return f"{self.value:.1%} ({self.low:.1%} to {self.high:.1%})"


def wilson(successes: int, trials: int) -> Estimate:
    """A proportion with Wilson's score interval (Wilson 1927, as :func:`scipy.stats.binomtest` computes it).

    Args:
        successes: 0 to ``trials``.
        trials: at least 1.
    """
    interval = binomtest(successes, trials).proportion_ci(LEVEL, method="wilson")
    # the far end is 1 - 1e-17 or 0 + 1e-17 at the borders, which a frozen fraction would refuse on the wrong side
    return Estimate(value=successes / trials, low=_fraction(interval.low), high=_fraction(interval.high))


def resampled_confusions(confusion: NDArray[np.int64], seed: int, resamples: int = RESAMPLES) -> NDArray[np.int64]:
    """Bootstrap of the images behind a confusion matrix: shape (resamples, 8, 8).

    Drawing n images with replacement and counting their (actual, predicted) pairs is one multinomial draw over the
    cells, so 2,000 resamples cost milliseconds whatever n is.
    """
    total = int(confusion.sum())
    draws = np.random.default_rng(seed).multinomial(total, confusion.ravel() / total, size=resamples)
    return draws.reshape(resamples, *confusion.shape)


def percentile(value: float, resampled: NDArray[np.float64]) -> Estimate:
    """A value with the percentile interval of its bootstrap distribution (Efron 1979)."""
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value=_fraction(value), low=_fraction(low), high=_fraction(high))


def bootstrapped(value: float, resampled: NDArray[np.float64], images: int) -> Estimate:
    """A mean of proportions with the percentile interval of its bootstrap distribution.

    Where every image is right, or none, all resamples agree; what so many images can tell is then told by Wilson.

    Args:
        value: 0 or 1 only where no image, or every one, counts.
        resampled: the same of each resample.
        images: that it was measured on, at least 1.
    """
    return percentile(value, resampled) if 0 < value < 1 else wilson(round(value) * images, images)


def _fraction(number: float) -> float:
    return min(max(float(number), 0.0), 1.0)
