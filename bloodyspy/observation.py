"""One frozen row for one classified picture: the same columns in the reference and in the live log."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bloodyspy.cells import CELL_TYPES, CellType
from bloodyspy.images.statistics import STATISTICS, ImageStatistics
from bloodyspy.policy import Verdict


@dataclass(frozen=True, slots=True)
class Provenance:
    """Which fit answered, and which data it was trained on."""

    run_id: str
    data_version: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a request's pictures come from, as far as the client says; empty where it does not."""

    site: str = ""
    instrument: str = ""
    specimen: str = ""
    """A pseudonym (:mod:`bloodyspy.specimen`)."""


NOWHERE = Origin()
"""The client does not say."""


@dataclass(frozen=True, slots=True)
class Observation:
    """A classified picture: no image bytes, no names."""

    statistics: ImageStatistics
    probabilities: tuple[float, ...]
    """One per cell type, in their order; they sum to 1."""
    verdict: Verdict
    """Whether the answer goes out unseen."""
    embedding: tuple[float, ...]
    """Where the network sees it among the training cells (:mod:`bloodyspy.model.familiarity`), 16 values."""
    provenance: Provenance

    @classmethod
    def of(
        cls,
        statistics: ImageStatistics,
        probabilities: NDArray[np.float32],
        verdict: Verdict,
        embedding: NDArray[np.float64],
        provenance: Provenance,
    ) -> "Observation":
        """From the pieces of the road; ``probabilities`` has shape (8,), ``embedding`` (16,)."""
        return cls(statistics, tuple(probabilities.tolist()), verdict, tuple(embedding.tolist()), provenance)

    @property
    def predicted(self) -> CellType:
        """The most probable cell type."""
        return CELL_TYPES[self.probabilities.index(self.confidence)]

    @property
    def confidence(self) -> float:
        """Probability of the predicted type, 0 to 1."""
        return max(self.probabilities)

    def row(self) -> dict[str, str | int | float]:
        """Flat values in the order of :data:`COLUMNS`."""
        return {
            **self.statistics.row(),
            **dict(zip(PROBABILITIES, self.probabilities, strict=True)),
            "predicted": str(self.predicted),
            "confidence": self.confidence,
            "novelty": self.verdict.novelty,
            "foreignness": self.verdict.foreignness,
            "action": str(self.verdict.action),
            "reasons": " ".join(self.verdict.reasons),
            # A thousandth of a deviation is far finer than what is judged by it, and a fourth of the digits.
            **{name: round(value, 3) for name, value in zip(EMBEDDING, self.embedding, strict=True)},
            "run_id": self.provenance.run_id,
            "data_version": self.provenance.data_version,
        }


PROBABILITIES: tuple[str, ...] = tuple(f"p_{cell}" for cell in CELL_TYPES)
EMBEDDING: tuple[str, ...] = tuple(f"embedding_{number}" for number in range(16))
COLUMNS: tuple[str, ...] = (
    *(*STATISTICS, *PROBABILITIES, "predicted", "confidence"),
    *("novelty", "foreignness", "action", "reasons", *EMBEDDING, "run_id", "data_version"),
)

# What the service adds to a row; a reference has none of these. `picture` is the place among the pictures of a request,
# from 0: with the request's id it says which rows of two versions belong to one picture. The last three are empty where
# the client does not say.
LIVE_COLUMNS: tuple[str, ...] = (
    *("time", "request_id", "picture", "model_version"),
    *("site", "instrument", "specimen"),
)

ANSWERED = "answered"
"""What a reference says besides, where pictures of the random audit are in it: when such a one was answered, in UTC.
Null for pictures that were imported."""


def rows(observations: Iterable[Observation]) -> list[dict[str, str | int | float]]:
    """Rows for a frame."""
    return [observation.row() for observation in observations]
