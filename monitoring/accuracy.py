"""How many answers of a window are right, without labels: from calibrated probabilities, where these hold."""

import json
import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict, Field

from bloodyspy.model.artifact import METRICS, Artefact

_Z = 1.959964  # of 95 %


class Accuracy(BaseModel):
    """An estimate of the share of right answers, with its 95 % interval."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float = Field(ge=0, le=1)
    low: float = Field(ge=0, le=1)
    high: float = Field(ge=0, le=1)

    def __str__(self) -> str:
        return f"{self.value:.1%} ({self.low:.1%} to {self.high:.1%})"


@dataclass(frozen=True, slots=True)
class Calibrated:
    """How far the probabilities of a model were off on its sealed part: what a window's mean has to be corrected by."""

    gap: float
    """Share of right answers less the mean confidence."""
    error: float
    """Standard error of it."""

    @classmethod
    def of(cls, artefact: Artefact) -> Self:
        """As the artefact's ``metrics.json`` tells it, from the bins of its reliability diagram."""
        # Not by evaluation.scores, whose imports take longer than a verdict.
        scores = json.loads((artefact.path / METRICS).read_bytes())
        bins = [
            (b["images"], b["confidence"], b["accuracy"]["value"]) for b in scores["calibration"]["test_after"]["bins"]
        ]
        images = sum(n for n, _, _ in bins)
        confidence = sum(n * p for n, p, _ in bins) / images
        right = sum(n * share for n, _, share in bins) / images
        # Of right answers given their confidence: the sum of Bernoulli variances within the bins.
        variance = sum(n * max(p * (1 - p), 1 / images) for n, p, _ in bins) / images**2
        return cls(right - confidence, math.sqrt(variance))

    def estimate(self, confidence: ArrayLike) -> Accuracy:
        """Of answers with these calibrated confidences, as long as their pictures are like those of the sealed part.

        The mean confidence, corrected by the gap; its variance is that of so many independent answers which are right
        with these probabilities, p (1 - p) each, and that of the gap (Garg et al. 2022 call the plain mean *average
        confidence*, and show that it fails under shift: whoever reports it says first that there is none).

        Args:
            confidence: probabilities of the predicted types, (n,), n at least 1.
        """
        p = np.asarray(confidence, np.float64)
        value = min(1.0, max(0.0, float(p.mean()) + self.gap))
        spread = _Z * math.sqrt(float((p * (1 - p)).sum()) / len(p) ** 2 + self.error**2)
        return Accuracy(value=value, low=max(0.0, value - spread), high=min(1.0, value + spread))
