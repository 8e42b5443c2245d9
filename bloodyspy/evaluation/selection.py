"""What refusing the least sure answers would buy: risk against coverage."""

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

TOLERATED = (0.01, 0.005)
_POINTS = 100


class RiskPoint(BaseModel):
    """The share of pictures that is answered, and the share of those answers that is wrong."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    coverage: float = Field(ge=0, le=1)
    risk: float = Field(ge=0, le=1)


class RiskCoverage(BaseModel):
    """What :func:`risk_coverage` found."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    aurc: float = Field(ge=0, le=1)
    """Area under the curve: the mean risk over all coverages."""
    points: tuple[RiskPoint, ...] = Field(min_length=1, max_length=_POINTS + 1)
    """The curve by rising coverage, at steps of about a hundredth; the last is at coverage 1."""
    coverage_at_risk: tuple[RiskPoint, ...]
    """For each tolerated risk the largest coverage that keeps it; coverage 0 where none does."""


def risk_coverage(correct: NDArray[np.bool_], confidence: NDArray[np.floating]) -> RiskCoverage:
    """Risk of the surest answers for every share of them (Geifman and El-Yaniv 2017).

    The area is the mean of the n risks (Geifman, Uziel and El-Yaniv 2019). No threshold tells equally sure answers
    apart, so they are taken together: each has the risk of them all, whatever their order.

    Args:
        correct: whether each prediction was right, shape (n,), n at least 1.
        confidence: probability of the predicted type, shape (n,).
    """
    n = len(correct)
    order = np.argsort(-confidence, kind="stable")
    ranked = confidence[order]
    taken = np.searchsorted(-ranked, -ranked, side="right")  # answers at least as sure as the k-th
    risks = np.cumsum(~correct[order])[taken - 1] / taken
    coverages = taken / n
    shown = np.unique(taken[np.ceil(np.arange(1, _POINTS + 1) * n / _POINTS).astype(int) - 1])
    return RiskCoverage(
        aurc=float(risks.mean()),
        points=tuple(RiskPoint(coverage=k / n, risk=float(risks[k - 1])) for k in shown),
        coverage_at_risk=tuple(
            RiskPoint(coverage=float(coverages[risks <= tolerated].max(initial=0.0)), risk=tolerated)
            for tolerated in TOLERATED
        ),
    )
