"""Golden answers: what an artefact answered to eight drawn cells when it was assembled, and whether it still does.

Digests show that an artefact's files are whole, and the hash of the golden picture that pictures are prepared as in
training. What the engine then makes of them on another machine, only an answer shows.
"""

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bloodyspy.cells import CELL_TYPES, CellType
from bloodyspy.errors import ArtefactInvalid, GoldenMismatch, ImageError
from bloodyspy.model.artifact import GOLDEN
from bloodyspy.model.classifier import Classifier
from bloodyspy.model.inference import Precision

# How far a probability may lie from the one at assembly. Measured with an EfficientNet-Lite0 of real images on 48 drawn
# cells, as the largest difference of a probability:
# - float32: engines and processors sum in different orders, which came to 2e-6; the parity gate's own limit is taken.
# - bfloat16: a processor without it computes in float32 instead, which is as good and came to 0.11; processors that
#   have it differed by 0.006.
# - int8: sums of whole numbers are exact, processors with instructions for them did not differ, engines by 0.03. A
#   processor without them lets sums overflow: 0.85, and one cell in ten became another type. That has to be found.
TOLERANCE: Mapping[Precision, float] = {Precision.FLOAT32: 1e-4, Precision.BFLOAT16: 0.15, Precision.INT8: 0.05}


class GoldenAnswer(BaseModel):
    """One picture and what the model answered to it."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")

    cell_type: CellType
    """That was drawn; the model may see something else in it."""
    picture: bytes
    """PNG, which every decoder reads to the same pixels; base64 in the file."""
    probabilities: Annotated[tuple[float, ...], Field(min_length=len(CELL_TYPES), max_length=len(CELL_TYPES))]
    """Calibrated, one per cell type, in their order."""


class GoldenAnswers(BaseModel):
    """``golden.json`` of an artefact."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    answers: Annotated[tuple[GoldenAnswer, ...], Field(min_length=1)]


def make(classifier: Classifier, pictures: Mapping[CellType, bytes]) -> GoldenAnswers:
    """Walk the whole road, from bytes to calibrated probabilities, with each picture.

    Args:
        classifier: of the graph that will serve, with its temperature; its artefact need not be sealed yet.
        pictures: one PNG a cell type. The service checks answers too and shall not need what draws pictures.
    """
    return GoldenAnswers(
        answers=tuple(
            GoldenAnswer(cell_type=cell, picture=picture, probabilities=classifier.observe(picture).probabilities)
            for cell, picture in pictures.items()
        )
    )


def check(classifier: Classifier) -> None:
    """Walk the road with each golden picture of the classifier's own artefact, alone and all together, and compare.

    Alone and together a graph may run in different code, and the first run of each is its slowest.

    A probability may differ by :data:`TOLERANCE` for the precision that serves; the predicted type may be another one
    only where the two were as good as equally probable, closer than that.

    Raises:
        ArtefactInvalid: ``golden.json`` holds something else than answers.
        GoldenMismatch: the model answers otherwise here.
    """
    path = classifier.artefact.path
    try:
        golden = GoldenAnswers.model_validate_json((path / GOLDEN).read_bytes())
    except ValidationError as exc:
        raise ArtefactInvalid(path, f"{GOLDEN} is of another format ({exc.error_count()} faults)") from exc
    tolerance = TOLERANCE[classifier.spec.precision]
    pictures = [answer.picture for answer in golden.answers]
    alone = [classifier.observe(picture) for picture in pictures]
    for answer, seen in zip(golden.answers * 2, alone + classifier.observe_all(pictures), strict=True):
        if isinstance(seen, ImageError):
            raise seen
        expected, found = np.array(answer.probabilities), np.array(seen.probabilities)
        was, now, worst = int(expected.argmax()), int(found.argmax()), int(np.abs(found - expected).argmax())
        if expected[was] - expected[now] > tolerance:
            shown = was, now
        elif not abs(found[worst] - expected[worst]) <= tolerance:  # what is no number is not within it
            shown = worst, worst
        else:
            continue
        raise GoldenMismatch(
            path,
            str(answer.cell_type),
            f"{CELL_TYPES[shown[0]]} {expected[shown[0]]:.4f}",
            f"{CELL_TYPES[shown[1]]} {found[shown[1]]:.4f}",
            tolerance,
        )
