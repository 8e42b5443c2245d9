"""Another laboratory's pictures as a test: the nearest thing to the next hospital."""

import hashlib
import logging
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bloodyspy.cells import CellType, cell_type_of_folder
from bloodyspy.dataset.parallel import in_threads
from bloodyspy.errors import DataError, ImageError
from bloodyspy.evaluation.metrics import score
from bloodyspy.evaluation.scores import External
from bloodyspy.model.classifier import Classifier

logger = logging.getLogger(__name__)

_WANTED = "a folder per cell type, such as `basophil/`, with pictures in it"


@dataclass(frozen=True, slots=True)
class _Answer:
    sha256: str
    cell_type: CellType
    probabilities: NDArray[np.float32] | None
    """None where the file is no picture."""


def measure(classifier: Classifier, name: str, folder: Path, data_set: Collection[str] = frozenset()) -> External:
    """Classify the pictures of a folder as the service would, one by one from their bytes.

    Args:
        classifier: whose answers are measured.
        name: what params.yaml calls the folder.
        folder: with a sub-folder for each cell type, named as an import takes it (``Immature granulocytes`` is ``ig``);
            whatever lies below a sub-folder is of its type. Hidden files, and files beside the sub-folders, are passed.
        data_set: SHA-256 of the images of the data set. Those are left out here: a model may have learned them.

    Raises:
        DataError: the folder is not there, holds no folder of a cell type, or nothing that could be scored.
    """
    answers = in_threads(lambda file: _answer(classifier, *file), _files(name, folder), f"Classifying {name}")
    foreign = [answer for answer in answers if answer.sha256 not in data_set]
    scored = [(answer, answer.probabilities) for answer in foreign if answer.probabilities is not None]
    left_out, unreadable = len(answers) - len(foreign), len(foreign) - len(scored)
    if not scored:
        raise DataError(
            f"{folder} (evaluation.external.{name} in params.yaml) has nothing to score: {left_out} of its files are "
            f"in the data set, {unreadable} are no pictures. Name another folder, or take the key away."
        )
    if left_out or unreadable:
        logger.warning("%s: left out %d pictures of the data set, %d unreadable files", name, left_out, unreadable)
    identity = sorted(f"{answer.sha256} {answer.cell_type}" for answer, _ in scored)
    return External(
        name=name,
        digest=hashlib.sha256("\n".join(identity).encode()).hexdigest(),
        images=len(scored),
        unreadable=unreadable,
        in_data_set=left_out,
        metrics=score(
            np.array([answer.cell_type.position for answer, _ in scored]),
            np.stack([probabilities for _, probabilities in scored]),
        ),
    )


def _files(name: str, folder: Path) -> list[tuple[Path, CellType]]:
    """Every file in a folder of a cell type, sorted by path."""
    if not folder.is_dir():
        raise DataError(
            f"{folder} (evaluation.external.{name} in params.yaml) is not there. Put {_WANTED}, or take the key away."
        )
    places = sorted(place for place in folder.iterdir() if place.is_dir() and not place.name.startswith("."))
    files = []
    for place in places:
        cell_type = cell_type_of_folder(place.name)
        if cell_type is None:
            logger.warning("%s: the folder %s is named like no cell type and is passed", name, place.name)
            continue
        for above, below, names in os.walk(place):
            below[:] = [inner for inner in below if not inner.startswith(".")]
            files += [(Path(above, file), cell_type) for file in names if not file.startswith(".")]
    if not files:
        raise DataError(f"{folder} (evaluation.external.{name} in params.yaml) holds no pictures. Put {_WANTED}.")
    return sorted(files)


def _answer(classifier: Classifier, path: Path, cell_type: CellType) -> _Answer:
    payload = path.read_bytes()
    try:
        probabilities = classifier.probabilities(classifier.prepare(payload)[None])[0]
    except ImageError:
        probabilities = None
    return _Answer(hashlib.sha256(payload).hexdigest(), cell_type, probabilities)
