"""What a fit sees: the pictures of one part, and how much each class counts."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bloodyspy.cells import CELL_TYPES, CellType
from bloodyspy.dataset.manifest import read_manifest
from bloodyspy.dataset.preparation import load_prepared
from bloodyspy.dataset.split import Part
from bloodyspy.errors import TrainingFailed
from bloodyspy.settings import Settings


@dataclass(frozen=True, slots=True)
class Pictures:
    """Prepared pictures of one part, left in the array that ``prepare`` wrote: it is mapped, not copied."""

    images: NDArray[np.uint8]
    """(n, size, size, 3): every picture of the manifest."""
    rows: NDArray[np.intp]
    """Which of them."""
    labels: NDArray[np.int64]
    """One for each of ``rows``, 0 to 7."""

    def __len__(self) -> int:
        return len(self.rows)

    def shuffled(self, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """A random order in whole batches: a last small one would cost a second compilation and unsettle batch norm."""
        whole = len(self) - len(self) % size
        return rng.permutation(len(self))[: whole or len(self)]

    def batches(self, size: int, order: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
        """Pictures and labels in the given order."""
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            yield self.images[self.rows[chosen]], self.labels[chosen]


def load_parts(s: Settings, input_name: str) -> tuple[Pictures, Pictures]:
    """The training and the validation part, prepared for one input.

    Raises:
        DataMissing: no manifest or no prepared array.
        TrainingFailed: they are not of each other, the validation part is empty, or a class has no training picture.
    """
    manifest = read_manifest(s.manifest)
    images = load_prepared(s.prepared(input_name))
    if len(images) != len(manifest):
        raise TrainingFailed(
            f"{s.prepared(input_name)} holds {len(images)} pictures and the manifest {len(manifest)}. "
            f"Run `dvc repro prepare@{input_name}` again."
        )
    labels = np.array([CELL_TYPES.index(CellType(name)) for name in manifest["cell_type"]], dtype=np.int64)
    training, validation = (
        Pictures(images, rows, labels[rows])
        for rows in (np.flatnonzero(manifest["part"].to_numpy() == part) for part in (Part.TRAIN, Part.VALIDATION))
    )
    absent = [str(cell) for cell in CELL_TYPES if not (training.labels == cell.position).any()]
    if absent or not len(validation):
        lacking = f"the training part has no {', '.join(absent)}" if absent else "the validation part is empty"
        raise TrainingFailed(f"Nothing can be trained: {lacking}. Import more, or change `split` in params.yaml.")
    return training, validation


def class_weights(labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Weight of each class in the loss, so that all count alike: inverse to its pictures, at most ten."""
    counts = np.bincount(labels, minlength=len(CELL_TYPES))
    return np.minimum(len(labels) / (len(CELL_TYPES) * counts), 10.0).astype(np.float32)
