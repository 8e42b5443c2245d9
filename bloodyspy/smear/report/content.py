"""The report as a record."""

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from bloodyspy.cells import CellType
from bloodyspy.model.artifact import Artefact
from bloodyspy.smear.differential import Differential, Erythroblasts, Question, Share, Tally, WhiteCells, differential
from bloodyspy.smear.reading import Cell, measured_confusion
from bloodyspy.specimen import check

LISTED = 200
"""Unreadable files that are told by name; all are counted."""


class Unreadable(BaseModel):
    """A file that is no picture that could be read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    error: str


class SmearReport(BaseModel):
    """What is told of one smear."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    use: Literal["research use only"] = "research use only"
    specimen: str | None
    """A pseudonym."""
    made: datetime
    model: str
    """Candidate, and version where one was released."""
    run_id: str
    digest: str
    """Of the model's artefact."""
    data_version: str
    synthetic: bool
    """The model was trained on drawn cells: no number here says anything about real ones."""
    unreadable: int = Field(ge=0)
    """Files that were left out because they are no readable pictures."""
    unreadable_files: tuple[Unreadable, ...]
    """The first of these."""
    reviewer: str | None = None
    """Who gave the labels, where there are any."""
    differential: Differential

    @classmethod
    def of(
        cls,
        cells: Sequence[Cell],
        artefact: Artefact,
        specimen: str | None = None,
        version: int | None = None,
        question: Question | None = None,
        reviewer: str | None = None,
    ) -> Self:
        """Of the cells of one smear, all answered by one model.

        Args:
            cells: every file's.
            artefact: of the model.
            specimen: a pseudonym.
            version: of the registered model, where it was released.
            question: what is asked.
            reviewer: who gave the cells' labels.

        Raises:
            SmearError: no white cell is among them, or the specimen's name is none.
            ArtefactInvalid: the model has no confusion matrix.
        """
        spec = artefact.spec
        answered = [
            (cell.observation.predicted, cell.action, cell.label) for cell in cells if cell.observation is not None
        ]
        unreadable = [
            Unreadable(name=_text(cell.name), error=_text(cell.error)) for cell in cells if not cell.observation
        ]
        return cls(
            specimen=check(specimen) if specimen else None,
            made=datetime.now(UTC).replace(microsecond=0),
            model=spec.candidate if version is None else f"{spec.candidate} v{version}",
            run_id=spec.run_id,
            digest=artefact.digest,
            data_version=spec.data_version,
            synthetic=spec.synthetic,
            unreadable=len(unreadable),
            unreadable_files=tuple(unreadable[:LISTED]),
            reviewer=reviewer if any(label for *_, label in answered) else None,
            differential=differential(
                Tally.of(*zip(*answered, strict=True)) if answered else Tally(), measured_confusion(artefact), question
            ),
        )

    def table(self) -> str:
        """The differential as CSV: a row for each type, percent of the white cells; erythroblasts per 100 of them."""
        found = self.differential
        stream = io.StringIO(newline="")
        rows = csv.writer(stream, lineterminator="\n")
        numbers = [f"{kind}{end}" for kind in ("corrected", "raw") for end in ("", "_low", "_high")]
        head = ["specimen", "type", "counted", "in_review", "labelled"]
        rows.writerow([*head, *numbers, "more_to_count", "model", "run_id"])
        counted: tuple[WhiteCells | Erythroblasts, ...] = (*found.classes, found.erythroblasts)
        for row in counted:
            white = row if isinstance(row, WhiteCells) else None
            name = white.cell_type if white else CellType.ERYTHROBLAST
            more = "" if white is None or white.more is None else white.more
            shares = (*_ends(row.corrected), *_ends(row.raw))
            counts = (row.counted, row.in_review, row.labelled)
            rows.writerow([self.specimen or "", name, *counts, *shares, more, self.model, self.run_id])
        return stream.getvalue()


def _text(words: str) -> str:
    """Valid text for a file name whose bytes are none."""
    return words.encode("utf-8", "backslashreplace").decode("utf-8")


def _ends(share: Share) -> tuple[str, str, str]:
    return f"{share.value:.3f}", f"{share.low:.3f}", f"{share.high:.3f}"
