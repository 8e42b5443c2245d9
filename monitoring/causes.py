"""From what moved to what probably happened, and the sentence that says so."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bloodyspy.images.corruption import Shift
from bloodyspy.model.familiarity import COMPARED
from bloodyspy.model.signatures import Signatures
from monitoring.comparison import CASE_MIX, Comparison


class Cause(StrEnum):
    """What has probably changed."""

    STAIN = "stain"
    EXPOSURE = "exposure"
    FOCUS = "focus"
    SIZE = "size"
    CAMERA = "camera"
    DIRT = "dirt"
    OTHER = "other"
    """The pictures measure otherwise, in a way that no fault does which is known."""
    CONTENT = "content"
    """The cells look otherwise to the network, though the pictures measure as before."""
    CASE_MIX = "case mix"


OF_FAULT: Mapping[Shift, Cause] = {
    **dict.fromkeys((Shift.STAIN, Shift.STAIN_HUE, Shift.STAIN_STRENGTH), Cause.STAIN),
    **dict.fromkeys((Shift.ILLUMINATION, Shift.CONTRAST), Cause.EXPOSURE),
    **dict.fromkeys((Shift.BLUR, Shift.MOTION), Cause.FOCUS),
    Shift.MAGNIFICATION: Cause.SIZE,
    **dict.fromkeys((Shift.NOISE, Shift.JPEG), Cause.CAMERA),
    **dict.fromkeys((Shift.DEPOSIT, Shift.BUBBLE), Cause.DIRT),
}
"""Of each fault that is known by its mark."""

SAID: Mapping[Cause, str] = {
    Cause.STAIN: "The stain looks different",
    Cause.EXPOSURE: "The light looks different",
    Cause.FOCUS: "The pictures look out of focus, or sharper",
    Cause.SIZE: "Magnification or the cut of the pictures looks different",
    Cause.CAMERA: "The pictures look noisier, or otherwise compressed",
    Cause.DIRT: "Something lies on the cells: deposit of the stain, or bubbles",
    Cause.OTHER: "The pictures look different in a way that no known fault of stain or optics does",
}

ALIKE = 0.8
"""A fault is named where the cosine to its mark is at least this: most marks of the same fault come to 0.9 and more,
another laboratory's pictures to 0.77."""
_SHRINK = 0.02  # of the correlations towards none, so that they can be inverted


@dataclass(frozen=True, slots=True)
class Match:
    """The fault whose mark is most like what moved."""

    fault: Shift
    alike: float
    """Cosine of the angle between the two, -1 to 1."""

    @property
    def cause(self) -> Cause:
        """As far as it can be told."""
        return OF_FAULT[self.fault] if self.alike >= ALIKE else Cause.OTHER


class Marks:
    """Marks of faults in the space in which pictures of one type are spread alike in every direction.

    There changes of the means are equally easy to see in every direction, and the fault that is most likely to have
    made one is that at the smallest angle to it (Gaussian pictures, unknown strength of the fault).
    """

    def __init__(self, signatures: Signatures, reference: pd.DataFrame) -> None:
        """Of an artefact: its ``signatures.json`` and its reference."""
        columns = list(COMPARED)
        apart = reference[columns] - reference.groupby(CASE_MIX)[columns].transform("mean")
        self._unit = np.maximum(apart.to_numpy().std(axis=0), 1e-9)
        together = np.cov((apart / self._unit).to_numpy(), rowvar=False)
        variances, turned = np.linalg.eigh((1 - _SHRINK) * together + _SHRINK * np.eye(len(columns)))
        self._axes = turned / np.sqrt(variances)
        self._known = [
            (one.kind, self._placed(np.array([one.changes[name] for name in COMPARED]))) for one in signatures.known
        ]

    def nearest(self, comparison: Comparison, window: pd.DataFrame) -> Match:
        """The fault that a window's change of means is most like, at the window's own mix of types."""
        expected = comparison.expected(window)
        change = self._placed(np.array([window[name].mean() - expected[name] for name in COMPARED]))
        fault, alike = max(((kind, _cosine(change, mark)) for kind, mark in self._known), key=lambda one: one[1])
        return Match(fault, alike)

    def _placed(self, change: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(change / self._unit @ self._axes)


def _cosine(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    lengths = math.sqrt(float(one @ one) * float(other @ other))
    return float(one @ other) / lengths if lengths else 0.0


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first of several names, for a sentence."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
