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

_HEAVIEST = 10.0  # a target with a handful of pictures would otherwise be most of a batch's loss


@dataclass(frozen=True, slots=True)
class Pictures:
    """Prepared pictures of one part, left in the array that ``prepare`` wrote: it is mapped, not copied."""

    fields: NDArray[np.uint8]
    """(n, field, field, 3): every picture of the manifest."""
    rows: NDArray[np.intp]
    """Which of them."""
    labels: NDArray[np.int64]
    """One for each of ``rows``, 0 to 7."""
    subtypes: NDArray[np.object_]
    """Name for each of ``rows``, None where the source does not tell."""

    def __len__(self) -> int:
        return len(self.rows)

    def shuffled(self, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """A random order in whole batches: a last small one would cost a second compilation and unsettle batch norm."""
        whole = len(self) - len(self) % size
        return rng.permutation(len(self))[: whole or len(self)]

    def batches(self, size: int, order: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
        """Fields in the given order, and which of the pictures they are."""
        for start in range(0, len(order), size):
            chosen = order[start : start + size]
            yield self.fields[self.rows[chosen]], chosen


def load_parts(s: Settings, input_name: str, training_share: float = 1.0) -> tuple[Pictures, Pictures]:
    """The training and the validation part, prepared for one input.

    Args:
        s: says where the manifest and the arrays are.
        input_name: a name under ``inputs``.
        training_share: above 0 to 1: of each class in the training part, the images whose digests come first. A smaller
            share lies within a larger one.

    Raises:
        DataMissing: no manifest or no prepared array.
        TrainingFailed: they are not of each other, the validation part is empty, or a class has no training picture.
    """
    manifest = read_manifest(s.manifest)
    fields = load_prepared(s.prepared(input_name))
    if len(fields) != len(manifest):
        raise TrainingFailed(
            f"{s.prepared(input_name)} holds {len(fields)} pictures and the manifest {len(manifest)}. "
            f"Run `dvc repro prepare@{input_name}` again."
        )
    labels = np.array([CELL_TYPES.index(CellType(name)) for name in manifest["cell_type"]], dtype=np.int64)
    subtypes = manifest["subtype"].to_numpy(object)
    training, validation = (
        Pictures(fields, rows, labels[rows], subtypes[rows])
        for rows in (np.flatnonzero(manifest["part"].to_numpy() == part) for part in (Part.TRAIN, Part.VALIDATION))
    )
    if training_share < 1:
        training = _share(training, manifest["sha256"].to_numpy(), training_share)
    absent = [str(cell) for cell in CELL_TYPES if not (training.labels == cell.position).any()]
    if absent or not len(validation):
        lacking = f"the training part has no {', '.join(absent)}" if absent else "the validation part is empty"
        raise TrainingFailed(f"Nothing can be trained: {lacking}. Import more, or change `split` in params.yaml.")
    return training, validation


def _share(part: Pictures, digests: NDArray[np.object_], share: float) -> Pictures:
    chosen = []
    for label in np.unique(part.labels):
        rows = part.rows[part.labels == label]
        rows = rows[np.argsort(digests[rows])]
        chosen.append(rows[: max(1, round(share * len(rows)))])
    kept = np.sort(np.concatenate(chosen))
    among = np.searchsorted(part.rows, kept)
    return Pictures(part.fields, kept, part.labels[among], part.subtypes[among])


def weights_of(targets: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weight of each picture in the loss, so that all targets count alike: inverse to their pictures, at most ten.

    Args:
        targets: (n, targets), rows sum to 1; a target may be without pictures.

    Returns:
        (n,).
    """
    number, kinds = targets.shape
    fair = number / kinds
    return np.asarray(targets @ (fair / np.maximum(targets.sum(axis=0), fair / _HEAVIEST)), np.float32)
