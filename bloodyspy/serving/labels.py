"""What people say that answered pictures show: one row each, on the disk before the answer.

The rows are a :class:`~bloodyspy.serving.daily_log.DailyLog` in ``var/labels`` with the fields of :class:`KeptLabel`.
They name a picture as the observation log does, by its request and its place in it; where somebody says two things of
one picture, the later row holds.
"""

from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from bloodyspy.cells import Label
from bloodyspy.errors import LabelLost
from bloodyspy.serving.daily_log import DailyLog
from bloodyspy.smear.reading import Before


class GivenLabel(Before):
    """A label that a person gives; without one an earlier label is taken back."""

    model_config = ConfigDict(title="GivenLabel")


class KeptLabel(BaseModel):
    """A label that is kept."""

    model_config = ConfigDict(frozen=True)

    time: datetime = Field(description="when it was written down")
    request_id: str
    picture: int
    label: Label | None
    reviewer: str = Field(description="who gave it")


class Labels:
    """The labels that this process takes. Safe to call from several threads."""

    def __init__(self, folder: Path) -> None:
        self._log = DailyLog(folder)

    def keep(self, given: GivenLabel, reviewer: str) -> KeptLabel:
        """Write a label down.

        Raises:
            LabelLost: it cannot be written.
        """
        time = datetime.now(UTC)
        kept = KeptLabel(time=time, reviewer=reviewer, **given.model_dump())
        try:
            self._log.append([kept.model_dump(mode="json")], time, sync=True)
        except OSError as exc:
            raise LabelLost(exc.strerror or str(exc)) from exc
        return kept
