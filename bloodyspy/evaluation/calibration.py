"""How well confidence tells the share of right answers, before and after the temperature."""

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from bloodyspy.evaluation.intervals import Estimate, wilson
from bloodyspy.model.calibration import bin_of, expected_calibration_error, log_loss, tempered


class Bin(BaseModel):
    """Answers of about the same confidence: a point of the reliability diagram."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: int = Field(ge=1)
    confidence: float = Field(ge=0, le=1)
    """Mean of the answers."""
    accuracy: Estimate
    """Share of right ones, Wilson interval."""


class Reliability(BaseModel):
    """The calibration of one part's answers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ece: float = Field(ge=0, le=1)
    """Expected calibration error, see :func:`bloodyspy.model.calibration.expected_calibration_error`."""
    log_loss: float = Field(ge=0)
    """Mean negative natural logarithm of the true type's probability."""
    bins: tuple[Bin, ...] = Field(min_length=1)
    """Of the calibration error, by rising confidence; empty ones are left out."""


class Calibration(BaseModel):
    """What the temperature mended. It was fitted on the calibration part, so the test part tells its worth."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(gt=0)
    images: int = Field(ge=1)
    """Of the calibration part."""
    calibration_before: Reliability
    calibration_after: Reliability
    test_before: Reliability
    test_after: Reliability


def reliability(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> Reliability:
    """Calibration of probabilities, shape (n, 8), against the true types, shape (n,)."""
    confidence = probabilities.max(axis=1).astype(np.float64)
    correct = probabilities.argmax(axis=1) == labels
    bins = bin_of(confidence)
    return Reliability(
        ece=expected_calibration_error(correct, confidence),
        log_loss=log_loss(labels, probabilities),
        bins=tuple(
            Bin(
                images=int((bins == number).sum()),
                confidence=float(confidence[bins == number].mean()),
                accuracy=wilson(int(correct[bins == number].sum()), int((bins == number).sum())),
            )
            for number in np.unique(bins)
        ),
    )


def calibration(
    temperature: float,
    calibrated_on: tuple[NDArray[np.integer], NDArray[np.floating]],
    test: tuple[NDArray[np.integer], NDArray[np.floating]],
) -> Calibration:
    """What a temperature changes on the part that it was fitted on and on the sealed part.

    Args:
        temperature: above 0.
        calibrated_on: labels (n,) and probabilities (n, 8) of the calibration part, at temperature 1.
        test: the same of the sealed test part.
    """
    return Calibration(
        temperature=temperature,
        images=len(calibrated_on[0]),
        calibration_before=reliability(*calibrated_on),
        calibration_after=reliability(calibrated_on[0], tempered(calibrated_on[1], temperature)),
        test_before=reliability(*test),
        test_after=reliability(test[0], tempered(test[1], temperature)),
    )
