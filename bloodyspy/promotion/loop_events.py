"""What the audit log tells of the loop: why the model is trained anew, how that ended, and how a watch ended."""

from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Trigger(StrEnum):
    """What made the loop begin."""

    DRIFT = "drift"
    LABELS = "labels"
    CALENDAR = "calendar"
    HAND = "hand"


class LoopBegun(_Frozen):
    """The model is to be trained anew; told once more by each run that goes on with it after a kill or a failure."""

    kind: Literal["loop begun"] = "loop begun"
    trigger: Trigger
    key: str = Field(min_length=1)
    """What the reason is known by: the same one begins no second loop."""
    reason: str = Field(min_length=1)
    """One sentence."""
    data_version: str
    """Of data/ when it began."""
    champion: int | None

    @property
    def words(self) -> str:
        """For people."""
        return f"retraining was begun ({self.trigger}): {self.reason}"


class LoopOutcome(StrEnum):
    """What a loop ended with."""

    PROMOTED = "promoted"
    REFUSED = "refused"
    REJECTED = "rejected"
    """By a person."""
    UNCHANGED = "unchanged"
    """The best candidate is the champion already, or was decided on before."""
    GIVEN_UP = "given up"


class LoopEnded(_Frozen):
    """A loop came to its end, good or bad."""

    kind: Literal["loop ended"] = "loop ended"
    key: str = Field(min_length=1)
    outcome: LoopOutcome
    data_version: str
    """That was trained on."""
    summary: str

    @property
    def words(self) -> str:
        """For people."""
        return f"retraining ended, {self.outcome}: {self.summary}"


class WatchEnded(_Frozen):
    """A new champion was watched long enough and stays. One that does not stay is told by its rollback."""

    kind: Literal["watch ended"] = "watch ended"
    version: int
    proven: bool
    """Whether there were labels enough to tell."""
    summary: str

    @property
    def words(self) -> str:
        """For people."""
        return f"the watch of version {self.version} is over: {self.summary}"
