"""The parity gate: exports that succeed and are wrong never come further than this."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import recall_score

from bloodyspy.errors import ExportMismatch
from bloodyspy.model.calibration import expected_calibration_error, fit_temperature, tempered
from bloodyspy.model.inference import Precision

TOLERANCE = 1e-4
"""Of a probability: more is not rounding of float32."""
ALLOWED = 0.002
"""What a reduced precision may cost: 0.2 points of balanced accuracy, and of calibration error."""


@dataclass(frozen=True, slots=True)
class Quality:
    """What answers are worth on the validation part, with a temperature of their own from the calibration part."""

    temperature: float
    balanced_accuracy: float
    ece: float


@dataclass(frozen=True, slots=True)
class Parity:
    """Answers beside those of Keras."""

    max_difference: float
    classes_differ: int
    images: int
    """Of the validation part, that were compared."""
    quality: Quality


def quality(
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    calibration_labels: NDArray[np.int64],
    calibration_probabilities: NDArray[np.float32],
) -> Quality:
    """Balanced accuracy and calibration error of answers on the validation part, at the temperature that fits them."""
    temperature = fit_temperature(calibration_labels, calibration_probabilities)
    predicted = probabilities.argmax(axis=1)
    confidence = tempered(probabilities, temperature).max(axis=1)
    return Quality(
        temperature=temperature,
        balanced_accuracy=float(recall_score(labels, predicted, labels=np.unique(labels), average="macro")),
        ece=expected_calibration_error(predicted == labels, confidence),
    )


def compare(
    labels: NDArray[np.int64],
    calibration_labels: NDArray[np.int64],
    expected: tuple[NDArray[np.float32], ...],
    found: tuple[NDArray[np.float32], ...],
) -> Parity:
    """Hold a graph's answers against those of Keras; both tuples: on the validation and on the calibration part.

    Raises:
        ExportMismatch: they are no probabilities of eight types.
    """
    for right, answer in zip(expected, found, strict=True):
        if right.shape != answer.shape:
            raise ExportMismatch(f"It answers with the shape {answer.shape} where Keras has {right.shape}.")
        if not np.isfinite(answer).all():
            raise ExportMismatch("It answers with something that is no number.")
    return Parity(
        max_difference=float(np.abs(expected[0] - found[0]).max()),
        classes_differ=int((expected[0].argmax(axis=1) != found[0].argmax(axis=1)).sum()),
        images=len(labels),
        quality=quality(labels, found[0], calibration_labels, found[1]),
    )


def judge(precision: Precision, parity: Parity, baseline: Quality, most_differ: float) -> tuple[bool, str]:
    """Whether a variant may serve, and the reason in words.

    Args:
        precision: float32 has to be the network but for rounding; a reduced precision has to be as good.
        parity: its answers beside those of Keras.
        baseline: what Keras' own answers are worth.
        most_differ: share of the pictures that a reduced precision may give another class: what the promotion gate
            will allow, or it would refuse a network for its export where another export is at hand.
    """
    if precision is Precision.FLOAT32:
        what = f"{parity.classes_differ} classes differ, probabilities by up to {parity.max_difference:.1g}"
        return parity.classes_differ == 0 and parity.max_difference <= TOLERANCE, what
    lost = baseline.balanced_accuracy - parity.quality.balanced_accuracy
    risen = parity.quality.ece - baseline.ece
    what = (
        f"balanced accuracy {_points(-lost)}, calibration error {_points(risen)}, "
        f"another class in {parity.classes_differ} of {parity.images}"
    )
    return lost <= ALLOWED and risen <= ALLOWED and parity.classes_differ / parity.images <= most_differ, what


def _points(difference: float) -> str:
    return f"{round(100 * difference, 2) + 0.0:+.2f} points"  # + 0.0: there is no negative nothing
