"""Which answers go out unseen, which a person looks at first, and which are none: ``auto``, ``review`` or ``reject``.

A network gives every picture one of eight names. Whether this picture may be named at all is asked of four witnesses:
its calibrated probability, its conformal set, how unlike the training pictures it is
(:mod:`bloodyspy.model.familiarity`), and what is wrong with it as a picture. The limits of all of them come from the
calibration part, at stated shares of error (:mod:`bloodyspy.evaluation.policy_fitting`), and travel in the artefact.
NumPy alone: the service applies them.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bloodyspy.cells import CELL_TYPES, CellType
from bloodyspy.errors import ArtefactInvalid
from bloodyspy.images.statistics import ImageStatistics

POLICY = "policy.json"


class Action(StrEnum):
    """What is done with an answer."""

    AUTO = "auto"
    REVIEW = "review"
    REJECT = "reject"


class Reason(StrEnum):
    """Why an answer does not go out unseen."""

    UNFAMILIAR = "unfamiliar"
    FOREIGN = "foreign"
    AMBIGUOUS = "ambiguous"
    UNSURE = "unsure"
    FOCUS = "focus"
    EXPOSURE = "exposure"
    STAIN = "stain"

    @property
    def sentence(self) -> str:
        """The same in words."""
        return _SENTENCES[self]


_SENTENCES = {
    Reason.UNFAMILIAR: "What the model sees in it is unlike the cells that it has learnt: perhaps no cell at all.",
    Reason.FOREIGN: "Its light, colours and sharpness do not go together as they do at home: another preparation, "
    "camera or subject.",
    Reason.AMBIGUOUS: "Not exactly one cell type is plausible.",
    Reason.UNSURE: "The probability is lower than that of answers which are reliably right.",
    Reason.FOCUS: "It is blurred beyond what the calibration pictures show.",
    Reason.EXPOSURE: "It is darker or lighter than the calibration pictures.",
    Reason.STAIN: "Its colours are not those of the calibration pictures.",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the policy says of one answer."""

    action: Action
    reasons: tuple[Reason, ...]
    """None where the answer goes out unseen; the gravest first."""
    candidates: tuple[CellType, ...]
    """The conformal set: the types that are plausible, none to eight of them."""
    novelty: float
    """How unlike the training cells it looks to the network, 0 to 1."""
    foreignness: float
    """How unlike the training pictures its statistics are, in standard deviations."""


class Limits(BaseModel):
    """Of a distance: beyond the first a person looks, beyond the second nothing is answered."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    review: float = Field(ge=0)
    reject: float = Field(ge=0)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.review > self.reject:
            raise ValueError("what is refused is nearer than what is reviewed")
        return self


class Band(BaseModel):
    """Where a statistic of ordinary pictures lies: how far one is from there counts in robust standard deviations."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    statistic: str
    middle: float
    spread: float = Field(gt=0)
    below: bool = True
    """Whether too little of it is wrong."""
    above: bool = True
    """Whether too much of it is."""

    def distance(self, statistics: ImageStatistics) -> float:
        """0 in the middle and on the side that is right."""
        deviation = (float(getattr(statistics, self.statistic)) - self.middle) / self.spread
        return max(0.0, deviation if self.above else 0.0, -deviation if self.below else 0.0)


class Quality(BaseModel):
    """One respect in which a picture can be unusable: the farthest of its bands counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reason: Reason
    bands: tuple[Band, ...] = Field(min_length=1)
    limit: float = Field(ge=0)

    def distance(self, statistics: ImageStatistics) -> float:
        """Of the picture, in robust standard deviations."""
        return max(band.distance(statistics) for band in self.bands)


class AnswerPolicy(BaseModel):
    """``policy.json`` of an artefact: the limits, and what they promise on pictures like the calibration part's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: int = Field(ge=1)
    """Of the calibration part, that all limits come from."""
    least_probability: dict[CellType, float]
    """A type is plausible where its probability is at least this; a type without a calibration image always is."""
    miscoverage: dict[CellType, float]
    """Share of a type's cells whose set may miss it: what was asked for, or what so few images can promise."""
    least_confidence: float = Field(ge=0, le=1)
    """Of an answer that goes out unseen."""
    error: float = Field(gt=0, lt=1)
    """Share of the answers above ``least_confidence`` that may be wrong."""
    novelty: Limits
    foreignness: Limits
    refused: float = Field(gt=0, lt=1)
    """Share of such pictures that may lie beyond ``reject``, for each of the two distances."""
    qualities: tuple[Quality, ...]

    @classmethod
    def read(cls, folder: Path) -> "AnswerPolicy":
        """The policy of an artefact.

        Raises:
            ArtefactInvalid: ``policy.json`` is of another format.
        """
        try:
            return cls.model_validate_json((folder / POLICY).read_bytes())
        except ValidationError as exc:
            raise ArtefactInvalid(folder, f"{POLICY} is of another format ({exc.error_count()} faults)") from exc

    def judge(
        self, probabilities: NDArray[np.floating], novelty: float, foreignness: float, statistics: ImageStatistics
    ) -> Verdict:
        """What is done with one answer.

        Args:
            probabilities: calibrated, (8,).
            novelty, foreignness: of the same picture, from :class:`bloodyspy.model.familiarity.Familiarity`.
            statistics: of the same picture.
        """
        candidates = self.candidates(probabilities)
        best = int(np.argmax(probabilities))
        # not <= instead of >: what is no number is nothing known
        found = {
            Reason.UNFAMILIAR: not novelty <= self.novelty.review,
            Reason.FOREIGN: not foreignness <= self.foreignness.review,
            Reason.AMBIGUOUS: candidates != (CELL_TYPES[best],),
            Reason.UNSURE: not probabilities[best] >= self.least_confidence,
            **{quality.reason: not quality.distance(statistics) <= quality.limit for quality in self.qualities},
        }
        reasons = tuple(reason for reason in Reason if found.get(reason))
        if not (novelty <= self.novelty.reject and foreignness <= self.foreignness.reject):
            action = Action.REJECT
        else:
            action = Action.REVIEW if reasons else Action.AUTO
        return Verdict(action, reasons, candidates, novelty, foreignness)

    def candidates(self, probabilities: NDArray[np.floating]) -> tuple[CellType, ...]:
        """The conformal set of calibrated probabilities (8,): class-conditional, of the least ambiguous kind.

        Sadinle, Lei & Wasserman 2019: of a type's cells at least the share 1 - miscoverage have it in their set, as
        long as they are like those of the calibration part.
        """
        return tuple(
            cell for cell, p in zip(CELL_TYPES, probabilities, strict=True) if p >= self.least_probability[cell]
        )
