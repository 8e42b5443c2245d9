"""What the answer policy does to pictures of known types: how many answers go out unseen, and how right they are."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from bloodyspy.cells import CELL_TYPES, CellType
from bloodyspy.evaluation.intervals import Estimate, wilson
from bloodyspy.observation import Observation
from bloodyspy.policy import Action, Reason


class Selective(BaseModel):
    """What :func:`measure` found; all shares have Wilson intervals."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: int = Field(ge=1)
    auto: Estimate
    """Share whose answer goes out unseen."""
    right: Estimate | None
    """Share of those that is right; None where no answer goes out."""
    review: Estimate
    """Share that a person looks at first."""
    reject: Estimate
    """Share that is refused as no cell: of cells, falsely."""
    harmless: Estimate
    """Share that is right or does not go out unseen: what is left is wrong and unseen."""
    covered: dict[CellType, Estimate]
    """Share of each type's pictures that have it in their set of plausible types; a type without a picture has none."""
    plausible: float = Field(ge=0, le=len(CELL_TYPES))
    """Mean number of types in a set."""
    reasons: dict[Reason, int]
    """Pictures for which each counts; one can have several."""

    def flat(self) -> dict[str, float]:
        """Flat numbers for MLflow and ``dvc metrics``."""
        numbers: dict[str, float] = {"plausible": self.plausible}
        shares = {"auto": self.auto, "right": self.right, "review": self.review, "reject": self.reject}
        for name, share in (shares | {"harmless": self.harmless}).items():
            numbers |= share.flat(name) if share else {}
        return numbers | {f"covered_{cell}": share.value for cell, share in self.covered.items()}


def measure(labels: NDArray[np.integer], observations: Sequence[Observation]) -> Selective:
    """Hold the policy's actions against the truth.

    Args:
        labels: true types, (n,), 0 to 7; n at least 1.
        observations: of the same pictures, n of them.
    """
    n = len(observations)
    actions = np.array([seen.verdict.action for seen in observations])
    right = np.array([seen.predicted.position for seen in observations]) == labels
    auto = actions == Action.AUTO
    covered = {}
    for cell in CELL_TYPES:
        own = [seen for seen, label in zip(observations, labels, strict=True) if label == cell.position]
        if own:
            covered[cell] = wilson(sum(cell in seen.verdict.candidates for seen in own), len(own))
    reasons = Counter(reason for seen in observations for reason in seen.verdict.reasons)
    return Selective(
        images=n,
        auto=wilson(int(auto.sum()), n),
        right=wilson(int((auto & right).sum()), int(auto.sum())) if auto.any() else None,
        review=wilson(int((actions == Action.REVIEW).sum()), n),
        reject=wilson(int((actions == Action.REJECT).sum()), n),
        harmless=wilson(int((right | ~auto).sum()), n),
        covered=covered,
        plausible=float(np.mean([len(seen.verdict.candidates) for seen in observations])),
        reasons={reason: reasons[reason] for reason in Reason},
    )
