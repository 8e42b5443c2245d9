"""A model's answers on one part of the data set."""

from hashlib import sha256

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bloodyspy.cells import CELL_TYPES, CellType
from bloodyspy.dataset.manifest import read_manifest
from bloodyspy.dataset.parallel import in_threads
from bloodyspy.dataset.preparation import load_prepared
from bloodyspy.errors import DataError
from bloodyspy.evaluation.metrics import Metrics, score
from bloodyspy.model.classifier import Classifier
from bloodyspy.observation import PROBABILITIES
from bloodyspy.params import Params
from bloodyspy.settings import Settings

# Columns of a frame of predictions, one row an image: where it is, what it is, what was answered.
PREDICTIONS: tuple[str, ...] = ("path", "part", "actual", "predicted", "confidence", *PROBABILITIES)

_BATCH = 64


def part_of(s: Settings, part: str) -> pd.DataFrame:
    """The manifest's rows of one part; the index is the row of the prepared arrays.

    Raises:
        DataMissing: ``validate`` has not written the manifest.
        DataError: the part is empty.
    """
    manifest = read_manifest(s.manifest)
    rows: pd.DataFrame = manifest[manifest["part"] == part]
    if rows.empty:
        raise DataError(f"There is no image in the {part} part. Import more with `bloodyspy data import SOURCE`.")
    return rows


def digest_of(rows: pd.DataFrame) -> str:
    """SHA-256 over the sorted digests of images: the identity of a part, whatever the order and the names."""
    return sha256("\n".join(sorted(rows["sha256"])).encode()).hexdigest()


def inputs_of(classifier: Classifier, s: Settings, p: Params, rows: pd.DataFrame) -> NDArray[np.uint8]:
    """The network's input for rows of the manifest, shape (n, size, size, 3).

    The arrays that ``prepare`` wrote are used where one of the model's input size is there; otherwise the pictures are
    decoded. Both are the same road.
    """
    for name, spec in p.inputs.items():
        if spec.size == classifier.spec.input.size and s.prepared(name).is_dir():
            return np.ascontiguousarray(load_prepared(s.prepared(name))[rows.index.to_numpy()])

    def prepare(path: str) -> NDArray[np.uint8]:
        return classifier.prepare((s.data / path).read_bytes())

    return np.stack(in_threads(prepare, list(rows["path"]), "Preparing pictures"))


def predict(classifier: Classifier, s: Settings, p: Params, rows: pd.DataFrame) -> pd.DataFrame:
    """Classify rows of the manifest.

    Returns:
        A frame with the columns of :data:`PREDICTIONS`, in the order of ``rows``.
    """
    inputs = inputs_of(classifier, s, p, rows)
    batches = [classifier.probabilities(inputs[i : i + _BATCH]) for i in range(0, len(inputs), _BATCH)]
    probabilities = np.concatenate(batches)
    answers = pd.DataFrame(
        {
            "path": rows["path"].to_numpy(),
            "part": rows["part"].to_numpy(),
            "actual": rows["cell_type"].to_numpy(),
            "predicted": [str(CELL_TYPES[index]) for index in probabilities.argmax(axis=1)],
            "confidence": probabilities.max(axis=1),
        }
    )
    return answers.assign(**{name: probabilities[:, i] for i, name in enumerate(PROBABILITIES)})


def score_predictions(predictions: pd.DataFrame) -> Metrics:
    """Score a frame of predictions."""
    labels = np.array([CellType(name).position for name in predictions["actual"]], dtype=np.int64)
    return score(labels, predictions[list(PROBABILITIES)].to_numpy(dtype=np.float32))
