"""Another laboratory's pictures as a test: the nearest thing to the next hospital."""

import hashlib
import logging
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bloodyspy.cells import CellType, cell_type_of_folder
from bloodyspy.dataset.parallel import in_threads
from bloodyspy.errors import DataError, ImageError, SourceError
from bloodyspy.evaluation import selective
from bloodyspy.evaluation.metrics import score
from bloodyspy.evaluation.scores import External
from bloodyspy.images.files import find, read
from bloodyspy.model.classifier import Classifier
from bloodyspy.observation import Observation

logger = logging.getLogger(__name__)

_WANTED = "a folder per cell type, such as `basophil/`, with pictures in it"


@dataclass(frozen=True, slots=True)
class _Answer:
    sha256: str
    cell_type: CellType
    observation: Observation


def measure(classifier: Classifier, name: str, folder: Path, data_set: Collection[str] = frozenset()) -> External:
    """Classify the pictures of a folder as the service would, one by one from their bytes.

    Each picture is scored once, however many copies there are; one that stands under several types is not scored.

    Args:
        classifier: whose answers are measured.
        name: what params.yaml calls the folder.
        folder: with a sub-folder for each cell type, named as an import takes it (``Immature granulocytes`` is ``ig``);
            whatever lies below a sub-folder is of its type, links are followed. Files that are hidden, not named like
            pictures, or beside the sub-folders are passed.
        data_set: SHA-256 of the images of the data set. Those are left out here: a model may have learned them.

    Raises:
        DataError: the folder or one below it is not there or cannot be read, holds no picture of a cell type, or
            nothing that could be scored.
    """
    files = _files(name, folder)
    answers = in_threads(lambda file: _answer(classifier, *file), files, f"Classifying {name}")
    readable = [answer for answer in answers if answer is not None]
    foreign = [answer for answer in readable if answer.sha256 not in data_set]
    once = {(answer.sha256, answer.cell_type): answer for answer in foreign}
    types = Counter(sha256 for sha256, _ in once)
    scored = [answer for answer in once.values() if types[answer.sha256] == 1]
    unreadable, left_out = len(files) - len(readable), len(readable) - len(foreign)
    duplicates = len(foreign) - len(scored)
    if not scored:
        raise DataError(
            f"{folder} ({_key(name)}) has nothing to score: {left_out} of its files are in the data set, {unreadable} "
            f"are no pictures, {duplicates} stand under several types. Name another folder, or take the key away."
        )
    if unreadable or left_out or duplicates:
        counts = f"{unreadable} unreadable files, {left_out} pictures of the data set, {duplicates} copies"
        logger.warning("%s: left out %s", name, counts)
    labels = np.array([answer.cell_type.position for answer in scored])
    observations = [answer.observation for answer in scored]
    identity = sorted(f"{answer.sha256} {answer.cell_type}" for answer in scored)
    return External(
        name=name,
        digest=hashlib.sha256("\n".join(identity).encode()).hexdigest(),
        images=len(scored),
        unreadable=unreadable,
        in_data_set=left_out,
        duplicates=duplicates,
        metrics=score(labels, np.array([seen.probabilities for seen in observations])),
        answers=selective.measure(labels, observations),
    )


def _key(name: str) -> str:
    return f"evaluation.external.{name} in params.yaml"


def _files(name: str, folder: Path) -> list[tuple[Path, CellType]]:
    """Every picture in a folder of a cell type, sorted by path."""
    if not folder.is_dir():
        raise DataError(f"{folder} ({_key(name)}) is not there. Put {_WANTED}, or take the key away.")
    types: dict[Path, CellType] = {}
    try:
        for place in sorted(place for place in folder.iterdir() if place.is_dir() and not place.name.startswith(".")):
            if cell_type := cell_type_of_folder(place.name):
                types[place] = cell_type
            else:
                logger.warning("%s: the folder %s is named like no cell type and is passed", name, place.name)
        found = find(types)
    except (OSError, SourceError) as exc:
        raise DataError(
            f"{folder} ({_key(name)}) cannot be scored: {str(exc).rstrip('.')}. "
            f"Put {_WANTED}, all readable, or take the key away."
        ) from exc
    if found.left_out:
        logger.warning("%s: %d files are hidden or not named like pictures and are passed", name, found.left_out)
    return [(path, types[folder / path.relative_to(folder).parts[0]]) for path in found.files]


def _answer(classifier: Classifier, path: Path, cell_type: CellType) -> _Answer | None:
    """None where the file cannot be read or is no picture."""
    try:
        payload = read(path)
        observation = classifier.observe(payload)
    except (ImageError, OSError):
        return None
    return _Answer(hashlib.sha256(payload).hexdigest(), cell_type, observation)
