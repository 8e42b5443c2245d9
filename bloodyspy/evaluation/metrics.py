"""A classifier on one part of the data set, with intervals."""

from collections.abc import Callable, Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from bloodyspy.cells import CELL_TYPES, SUBTYPES, CellType
from bloodyspy.evaluation.intervals import Estimate, bootstrapped, resampled_confusions, wilson
from bloodyspy.evaluation.selection import RiskCoverage, risk_coverage
from bloodyspy.model.calibration import expected_calibration_error, log_loss

CLASSES = len(CELL_TYPES)


class Subtype(BaseModel):
    """How the images of one sub-type were answered; the classifier itself knows only the eight types."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    cell_type: CellType
    """What its images are labelled as."""
    n: int = Field(ge=1)
    sensitivity: Estimate
    """Share answered with the cell type, Wilson interval."""
    predicted: tuple[int, ...] = Field(min_length=CLASSES, max_length=CLASSES)
    """Images answered with each of the eight types."""


class Metrics(BaseModel):
    """What :func:`score` found."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n: int = Field(ge=1)
    """Images scored."""
    accuracy: Estimate
    """Wilson interval."""
    balanced_accuracy: Estimate
    """Mean sensitivity of the classes that occur; bootstrap percentile interval."""
    macro_f1: Estimate
    """Mean F1 of the classes that occur or were predicted; bootstrap percentile interval."""
    sensitivity: dict[CellType, Estimate]
    """Wilson intervals; a cell type without an image has none and is left out."""
    specificity: dict[CellType, Estimate]
    """Share of the other types' images that were not taken for this one; Wilson intervals. Left out where there are no
    others."""
    support: dict[CellType, int]
    """Images of each of the eight types."""
    ece: float = Field(ge=0, le=1)
    """Expected calibration error, see :func:`bloodyspy.model.calibration.expected_calibration_error`."""
    log_loss: float = Field(ge=0)
    """Mean negative natural logarithm of the true type's probability."""
    risk_coverage: RiskCoverage
    """What refusing the least sure answers would buy."""
    confusion: tuple[tuple[int, ...], ...]
    """8 x 8 counts: rows are the actual types, columns the predicted, in the order of the cell types."""
    subtypes: tuple[Subtype, ...] = ()
    """By cell type; images whose file name tells no sub-type are in none."""

    @model_validator(mode="after")
    def _square(self) -> Self:
        if len(self.confusion) != CLASSES or any(len(row) != CLASSES for row in self.confusion):
            raise ValueError("the confusion matrix is not 8 x 8")
        return self

    def estimates(self) -> dict[str, Estimate]:
        """Every value that has an interval, by a flat name such as ``macro_f1`` or ``sensitivity_<cell type>``."""
        return {
            "accuracy": self.accuracy,
            "balanced_accuracy": self.balanced_accuracy,
            "macro_f1": self.macro_f1,
            **{f"sensitivity_{cell}": estimate for cell, estimate in self.sensitivity.items()},
            **{f"specificity_{cell}": estimate for cell, estimate in self.specificity.items()},
        }

    def flat(self) -> dict[str, float]:
        """Flat numbers for MLflow and ``dvc metrics``: ``x``, ``x_low`` and ``x_high`` for each estimate."""
        numbers: dict[str, float] = {"n": self.n, "ece": self.ece, "log_loss": self.log_loss}
        numbers["aurc"] = self.risk_coverage.aurc
        for point in self.risk_coverage.coverage_at_risk:
            numbers[f"coverage_at_{point.risk * 1000:.0f}_errors_in_1000"] = point.coverage
        for name, estimate in self.estimates().items():
            numbers |= estimate.flat(name)
        return numbers


def score(
    labels: NDArray[np.integer],
    probabilities: NDArray[np.floating],
    seed: int = 0,
    subtypes: Sequence[str | None] | None = None,
) -> Metrics:
    """Score probabilities against the truth.

    Args:
        labels: index of the true cell type, shape (n,), 0 to 7; n at least 1.
        probabilities: shape (n, 8), rows sum to 1; the first of equal maxima is the prediction.
        seed: of the bootstrap.
        subtypes: name of each image's sub-type where it is known, n of them.

    Raises:
        ValueError: the shapes do not fit, or there is nothing to score.
    """
    n = len(labels)
    if not n or probabilities.shape != (n, CLASSES):
        raise ValueError(f"{n} labels and probabilities of shape {probabilities.shape} cannot be scored")
    probabilities = probabilities.astype(np.float64)
    predicted = probabilities.argmax(axis=1)
    confusion = np.bincount(labels * CLASSES + predicted, minlength=CLASSES**2).reshape(CLASSES, CLASSES)
    hits, support, answers = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    others, false_alarms = n - support, answers - hits
    resampled = resampled_confusions(confusion, seed)

    def estimate(statistic: Callable[[NDArray[np.integer]], NDArray[np.float64]]) -> Estimate:
        return bootstrapped(float(statistic(confusion)), statistic(resampled), n)

    return Metrics(
        n=n,
        accuracy=wilson(int(hits.sum()), n),
        balanced_accuracy=estimate(balanced_accuracy),
        macro_f1=estimate(macro_f1),
        sensitivity={
            cell: wilson(int(hits[cell.position]), int(support[cell.position]))
            for cell in CELL_TYPES
            if support[cell.position]
        },
        specificity={
            cell: wilson(int((others - false_alarms)[cell.position]), int(others[cell.position]))
            for cell in CELL_TYPES
            if others[cell.position]
        },
        support={cell: int(support[cell.position]) for cell in CELL_TYPES},
        ece=expected_calibration_error(predicted == labels, probabilities.max(axis=1)),
        log_loss=log_loss(labels, probabilities),
        risk_coverage=risk_coverage(predicted == labels, probabilities.max(axis=1)),
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
        subtypes=_by_subtype(labels, predicted, subtypes) if subtypes is not None else (),
    )


def _by_subtype(
    labels: NDArray[np.integer], predicted: NDArray[np.integer], subtypes: Sequence[str | None]
) -> tuple[Subtype, ...]:
    """A name under two types, as a wrongly labelled file has it, is two sub-types."""
    known = list(SUBTYPES.values())
    present = {(int(label), name) for label, name in zip(labels, subtypes, strict=True) if isinstance(name, str)}
    named = np.array(subtypes, dtype=object)
    found = []
    for label, name in sorted(present, key=lambda pair: (pair[0], known.index(pair[1]) if pair[1] in known else 99)):
        counts = np.bincount(predicted[(labels == label) & (named == name)], minlength=CLASSES)
        found.append(
            Subtype(
                name=name,
                cell_type=CELL_TYPES[label],
                n=int(counts.sum()),
                sensitivity=wilson(int(counts[label]), int(counts.sum())),
                predicted=tuple(int(count) for count in counts),
            )
        )
    return tuple(found)


def balanced_accuracy(confusion: NDArray[np.integer]) -> NDArray[np.float64]:
    """Mean sensitivity of the classes that occur; ``confusion`` (..., 8, 8), answer (...)."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    return _mean_of_defined(hits, confusion.sum(axis=-1))


def macro_f1(confusion: NDArray[np.integer]) -> NDArray[np.float64]:
    """Mean F1 of the classes that occur or were predicted; ``confusion`` (..., 8, 8), answer (...)."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    return _mean_of_defined(2 * hits, confusion.sum(axis=-1) + confusion.sum(axis=-2))


def _mean_of_defined(numerator: NDArray[np.integer], denominator: NDArray[np.integer]) -> NDArray[np.float64]:
    defined = denominator > 0
    ratio = np.divide(numerator, denominator, out=np.zeros(numerator.shape), where=defined)
    return np.asarray(ratio.sum(axis=-1) / defined.sum(axis=-1), dtype=np.float64)
