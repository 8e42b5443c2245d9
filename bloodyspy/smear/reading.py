"""The cells of one smear: each file walks the road once, and a few of each type are kept to be shown."""

import csv
import io
import json
import os
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from bloodyspy.cells import CELL_TYPES, NO_CELL, CellType, Label
from bloodyspy.errors import ArtefactInvalid, ImageTooLarge, UnreadableImage
from bloodyspy.images.decode import decode
from bloodyspy.images.files import read
from bloodyspy.images.small import small
from bloodyspy.model import prediction
from bloodyspy.model.artifact import METRICS, Artefact
from bloodyspy.model.classifier import Classifier
from bloodyspy.observation import Observation
from bloodyspy.smear.differential import Whole

COLUMNS: tuple[str, ...] = (*prediction.COLUMNS, "action", "label", "request_id", "picture")
"""Of the table of cells: that of ``bloodyspy predict``, what the policy says of the answer, what a person says of the
picture, and the request that the answer was first given in."""

SHOWN = 14
"""Pictures of each type in a report."""

_AHEAD = 64  # files in work or waiting to be taken: what memory is bounded by


@dataclass(frozen=True, slots=True)
class Cell:
    """What came of one file."""

    file: Path
    """Where its bytes are."""
    name: str
    """What whoever sent it calls it."""
    observation: Observation | None
    """None where the file is no readable picture."""
    error: str = ""
    """Why not."""
    before: "Before | None" = None
    """What is known of it from an earlier request."""

    @property
    def action(self) -> str:
        """``auto``, ``review`` or ``reject``; nothing where there is no answer."""
        return "" if self.observation is None else str(self.observation.verdict.action)

    @property
    def label(self) -> Label | None:
        """What a person says that it shows; None where nobody has said anything."""
        return self.before.label if self.before else None

    @property
    def counted_as(self) -> CellType | None:
        """The type it is shown under: a person's word before the model's; None where there is no answer."""
        if isinstance(self.label, CellType):
            return self.label
        return None if self.observation is None or self.label == NO_CELL else self.observation.predicted

    def row(self, run_id: str) -> tuple[str, ...]:
        """Values in the order of :data:`COLUMNS`."""
        probabilities = None if self.observation is None else self.observation.probabilities
        row = prediction.Prediction(Path(self.name), probabilities, self.error).row(run_id)
        before = (self.before.request_id, str(self.before.picture)) if self.before else ("", "")
        return (*row, self.action, self.label or "", *before)


class Before(BaseModel):
    """Where a picture was answered before, and what a person has said of it since."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    request_id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{5,63}$", description="of the request that answered it")
    picture: Whole = Field(description="its place among the pictures of that request, from 0")
    label: Label | None = Field(default=None, description="what a person says that it shows; null: nobody has looked")


def read_cells(
    classifier: Classifier, files: Sequence[tuple[Path, str]], threads: int | None = None
) -> Generator[Cell]:
    """Observe files, in their order, while the caller takes the answers.

    Args:
        classifier: loaded for one thread; it is called from several.
        files: place and name of each; only a few are in memory at a time.
        threads: default one for each core of this process.
    """
    threads = threads or min(16, len(os.sched_getaffinity(0)))
    pool = ThreadPoolExecutor(threads, thread_name_prefix="smear")
    ahead: deque[Future[Cell]] = deque()
    try:
        for file, name in files:
            ahead.append(pool.submit(_observe, classifier, file, name))
            if len(ahead) >= _AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def measured_confusion(artefact: Artefact) -> NDArray[np.int64]:
    """The confusion matrix of a model on its sealed part: counts, rows the actual types, 8 x 8.

    Raises:
        ArtefactInvalid: its scores have none.
    """
    try:
        scores = json.loads((artefact.path / METRICS).read_bytes())
        confusion = np.array(scores["test"]["confusion"])
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise ArtefactInvalid(artefact.path, f"{METRICS} holds no confusion matrix") from exc
    if confusion.shape != (len(CELL_TYPES), len(CELL_TYPES)) or confusion.dtype.kind != "i" or (confusion < 0).any():
        raise ArtefactInvalid(artefact.path, f"the confusion matrix in {METRICS} is not 8 x 8 counts")
    return np.asarray(confusion, dtype=np.int64)


def table(cells: Iterable[Cell], run_id: str) -> str:
    """The cells as CSV, one row a file."""
    stream = io.StringIO(newline="")
    rows = csv.writer(stream, lineterminator="\n")
    rows.writerow(COLUMNS)
    rows.writerows(cell.row(run_id) for cell in cells)
    return stream.getvalue()


@dataclass(frozen=True, slots=True)
class Shown:
    """A small picture of a cell."""

    jpeg: bytes
    name: str
    confidence: float
    action: str
    labelled: bool = False
    """A person has named it."""


def gallery(cells: Sequence[Cell], shown: int = SHOWN) -> dict[CellType, list[Shown]]:
    """Pictures of each type: those to be looked at first, then the least sure ones, then those that a person named.

    Their files are read once more; one that is gone meanwhile is left out.
    """
    chosen: dict[CellType, list[Shown]] = {}
    for cell_type in CELL_TYPES:
        answered = [(c, c.observation) for c in cells if c.observation and c.counted_as is cell_type]
        answered.sort(key=lambda pair: (pair[0].label is not None, pair[0].action == "auto", pair[1].confidence))
        pictures = [
            Shown(jpeg, cell.name, observation.confidence, cell.action, cell.label is not None)
            for cell, observation in answered[:shown]
            if (jpeg := _small(cell.file)) is not None
        ]
        if pictures:
            chosen[cell_type] = pictures
    return chosen


def _observe(classifier: Classifier, file: Path, name: str) -> Cell:
    try:
        return Cell(file, name, classifier.observe(read(file)))
    except UnreadableImage as exc:
        return Cell(file, name, None, exc.reason)
    except ImageTooLarge as exc:
        return Cell(file, name, None, str(exc))
    except OSError as exc:
        return Cell(file, name, None, f"it cannot be read: {exc.strerror}")


def _small(file: Path) -> bytes | None:
    try:
        return small(decode(read(file)).pixels)
    except (OSError, UnreadableImage, ImageTooLarge):
        return None
