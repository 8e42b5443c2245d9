"""The queue as the service reads it: ``var/labelling/queue.json``, replaced as a whole by :mod:`.choosing`."""

import logging
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from bloodyspy.errors import LabellingError
from bloodyspy.labelling.audit import replace
from bloodyspy.labelling.labels import Key

logger = logging.getLogger(__name__)


class Why(StrEnum):
    """Why a picture is worth a person's look. No word of it tells what the model answered."""

    AUDIT = "audit"
    REVIEW = "review"
    DISAGREEMENT = "disagreement"
    REJECTED = "rejected"
    NOVELTY = "novelty"
    UNSURE = "unsure"
    SUSPECT = "suspect"

    @property
    def sentence(self) -> str:
        """The same in words."""
        return _SENTENCES[self]


_SENTENCES = {
    Why.AUDIT: "It was drawn by chance: the accuracy of the live answers is measured on such pictures.",
    Why.REVIEW: "The model's policy asks for a person.",
    Why.DISAGREEMENT: "The model in the shadow answered otherwise.",
    Why.REJECTED: "The model's policy refused it: another preparation, or perhaps no cell at all.",
    Why.NOVELTY: "It is unlike the cells that the model has learnt.",
    Why.UNSURE: "The model was not sure of its answer.",
    Why.SUSPECT: "The model doubts the label that it was given.",
}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Item(_Frozen):
    """A picture that is worth a look."""

    request_id: str
    picture: int = Field(ge=0, description="its place among the pictures of the request, from 0")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    why: tuple[Why, ...] = Field(min_length=1)
    answered: AwareDatetime | None = Field(default=None, description="when; None in queues of releases before")

    @property
    def key(self) -> Key:
        """Which picture it is."""
        return Key(self.request_id, self.picture)

    @property
    def shown(self) -> tuple[Why, ...]:
        """What whoever reads is told: for the audit they hear nothing of what the model thought of it."""
        return (Why.AUDIT,) if Why.AUDIT in self.why else self.why


class Queue(_Frozen):
    """What is worth a look, the most telling first."""

    format: Literal[1] = 1
    made: datetime
    readers: int = Field(ge=1, description="people who have to agree")
    items: tuple[Item, ...]


def read_queue(path: Path) -> Queue | None:
    """The queue; None where none was made.

    Raises:
        LabellingError: the file is damaged or cannot be read.
    """
    try:
        return Queue.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as exc:
        raise LabellingError(f"{path} is no readable queue. Make it again with `bloodyspy labels queue`.") from exc


def write_queue(queue: Queue, path: Path) -> None:
    """Put the queue in the place of the one before.

    Raises:
        LabellingError: it cannot be written; the old one holds.
    """
    replace(path, queue.model_dump_json().encode())


class Following:
    """The queue, read again when it was replaced."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held: tuple[tuple[int, int], Queue] | None = None

    def current(self) -> Queue | None:
        """The queue; None where none was made.

        Raises:
            LabellingError: from :func:`read_queue`.
        """
        try:
            status = self._path.stat()
        except OSError:
            return None
        seen = (status.st_ino, status.st_mtime_ns)
        held = self._held
        if held is not None and held[0] == seen:
            return held[1]
        queue = read_queue(self._path)
        self._held = (seen, queue) if queue else None
        return queue
