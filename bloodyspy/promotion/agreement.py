"""Two versions on the same pictures, without labels: how often they agree, and where they part.

That they agree does not make either right. That they part on live pictures where they did not on the sealed ones says
that the live ones are others.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from bloodyspy.cells import CELL_TYPES
from bloodyspy.errors import PromotionError
from bloodyspy.evaluation.intervals import Estimate, wilson
from bloodyspy.observation import PROBABILITIES

NAMED = 10
"""Requests that an agreement names at most."""

_KEY = ["request_id", "picture"]


@dataclass(frozen=True, slots=True)
class Pairs:
    """What two versions answered to n pictures; n may be 0."""

    ids: tuple[str, ...]
    """Of each picture's request, or its path: what stands in the place of a name, n of them, not all different."""
    champion: NDArray[np.float64]
    """Probabilities, shape (n, 8)."""
    challenger: NDArray[np.float64]
    """The same of the other version."""
    ambiguous: int = 0
    """Pictures left out, because more than one row of a version claims to be theirs: a client used an id again."""

    def __len__(self) -> int:
        return len(self.ids)


class Agreement(BaseModel):
    """How far two versions agree. All of it is counted or measured on pictures that both answered."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    champion: int
    challenger: int
    pairs: int = Field(ge=1, description="pictures that both answered")
    ambiguous: int = Field(ge=0, description="pictures left out, because an id was used again")
    agreeing: Estimate = Field(description="share of pairs with the same type")
    table: tuple[tuple[int, ...], ...] = Field(description="pairs, by champion's type (row) and challenger's (column)")
    mean_difference: float = Field(ge=0, le=1, description="mean absolute difference in p of the champion's type")
    most_apart: tuple[str, ...] = Field(description="ids of requests with another type, largest difference in p first")

    @property
    def summary(self) -> str:
        """One sentence for people."""
        return (
            f"Versions {self.champion} and {self.challenger} give the same type to {self.agreeing} of {self.pairs:,} "
            f"pictures; the probability of version {self.champion}'s type differs by {self.mean_difference:.4f} on "
            "average."
        )


def joined(champion: pd.DataFrame, challenger: pd.DataFrame) -> Pairs:
    """Pair the rows of one picture, by request and place in the request, in the order of the champion's rows.

    Rows without a partner are left out: the other version was not there yet, or no more, or had no room.

    Args:
        champion: rows of one version, with request_id, picture and PROBABILITIES.
        challenger: rows of the other.
    """
    columns = [*_KEY, *PROBABILITIES]
    known = champion[_KEY].drop_duplicates().merge(challenger[_KEY].drop_duplicates())
    single, other = (frame[columns].drop_duplicates(_KEY, keep=False) for frame in (champion, challenger))
    both = single.merge(other, on=_KEY, suffixes=("", "_challenger"))
    return Pairs(
        ids=tuple(both["request_id"]),
        champion=both[list(PROBABILITIES)].to_numpy(dtype=np.float64),
        challenger=both[[f"{name}_challenger" for name in PROBABILITIES]].to_numpy(dtype=np.float64),
        ambiguous=len(known) - len(both),
    )


def agreement(pairs: Pairs, champion: int, challenger: int) -> Agreement:
    """Measure how far two versions agree.

    Args:
        pairs: of these two versions.
        champion: number of the version whose type the other's is held against.
        challenger: number of the other.

    Raises:
        PromotionError: there is no pair.
    """
    if not len(pairs):
        raise PromotionError(
            f"There is no picture that version {champion} and version {challenger} both answered. Let one answer in "
            "the other's shadow for a while, or give pictures to `bloodyspy replay`."
        )
    types, others = pairs.champion.argmax(axis=1), pairs.challenger.argmax(axis=1)
    every = np.arange(len(pairs))
    differences = np.abs(pairs.champion[every, types] - pairs.challenger[every, types])
    table = np.zeros((len(CELL_TYPES), len(CELL_TYPES)), dtype=np.int64)
    np.add.at(table, (types, others), 1)
    apart = sorted(every[types != others], key=lambda i: (-differences[i], pairs.ids[i]))
    return Agreement(
        champion=champion,
        challenger=challenger,
        pairs=len(pairs),
        ambiguous=pairs.ambiguous,
        agreeing=wilson(int(np.trace(table)), len(pairs)),
        table=tuple(tuple(row) for row in table.tolist()),
        mean_difference=float(differences.mean()),
        most_apart=tuple(dict.fromkeys(pairs.ids[i] for i in apart))[:NAMED],
    )
