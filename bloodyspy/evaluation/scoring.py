"""A model's answers on one part of the data set."""

from collections.abc import Sequence
from hashlib import sha256

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bloodyspy.cells import CellType
from bloodyspy.dataset.manifest import read_manifest
from bloodyspy.dataset.parallel import in_threads
from bloodyspy.dataset.preparation import load_prepared
from bloodyspy.dataset.split import Part
from bloodyspy.errors import DataError, SealedPart
from bloodyspy.evaluation.metrics import Metrics, score
from bloodyspy.images.decode import decode
from bloodyspy.images.preprocess import InputSpec, centre, to_array
from bloodyspy.images.statistics import STATISTICS, ImageStatistics
from bloodyspy.model.classifier import Classifier
from bloodyspy.observation import PROBABILITIES, Observation
from bloodyspy.params import Params
from bloodyspy.settings import Settings

# Columns of a frame of predictions, one row an image: where it is, what it is, what was answered.
PREDICTIONS: tuple[str, ...] = (
    *("path", "part", "actual", "subtype", "predicted", "confidence", "action", "novelty", "foreignness"),
    *PROBABILITIES,
)

_BATCH = 64


def part_of(s: Settings, part: str) -> pd.DataFrame:
    """The manifest's rows of one part; the index is the row of the prepared arrays.

    Raises:
        SealedPart: for the test part, which only :mod:`bloodyspy.promotion.ledger` opens.
        DataMissing: ``validate`` has not written the manifest.
        DataError: the part is empty.
    """
    if part == Part.TEST:
        raise SealedPart()
    return _rows(s, part)


def sealed_part(s: Settings) -> pd.DataFrame:
    """The manifest's rows of the test part. For the ledger, which counts who looks; everybody else asks the ledger.

    Raises:
        DataMissing, DataError: as :func:`part_of`.
    """
    return _rows(s, Part.TEST)


def _rows(s: Settings, part: str) -> pd.DataFrame:
    manifest = read_manifest(s.manifest)
    rows: pd.DataFrame = manifest[manifest["part"] == part]
    if rows.empty:
        raise DataError(f"There is no image in the {part} part. Import more with `bloodyspy data import SOURCE`.")
    return rows


def digest_of(rows: pd.DataFrame) -> str:
    """SHA-256 over the sorted digests of images: the identity of a part, whatever the order and the names."""
    return sha256("\n".join(sorted(rows["sha256"])).encode()).hexdigest()


def inputs_of(spec: InputSpec, s: Settings, p: Params, rows: pd.DataFrame) -> NDArray[np.uint8]:
    """Network inputs for rows of the manifest, shape (n, size, size, 3).

    The arrays that ``prepare`` wrote are used where one of that geometry is there; otherwise the pictures are decoded.
    Both are the same road.
    """
    for name, prepared in p.inputs.items():
        if prepared == spec and s.prepared(name).is_dir():
            return np.ascontiguousarray(centre(load_prepared(s.prepared(name))[rows.index.to_numpy()], spec))

    def prepare(path: str) -> NDArray[np.uint8]:
        return to_array(decode((s.data / path).read_bytes()).pixels, spec)

    return np.stack(in_threads(prepare, list(rows["path"]), "Preparing pictures"))


def predict(classifier: Classifier, s: Settings, p: Params, rows: pd.DataFrame) -> pd.DataFrame:
    """Classify rows of the manifest.

    Returns:
        A frame with the columns of :data:`PREDICTIONS`, in the order of ``rows``.
    """
    return table(rows, observe(classifier, s, p, rows))


def observe(classifier: Classifier, s: Settings, p: Params, rows: pd.DataFrame) -> list[Observation]:
    """Observations of rows of the manifest, in their order, from the statistics and inputs that are known already."""
    inputs = inputs_of(classifier.spec.input, s, p, rows)
    statistics = statistics_of(rows)
    batches = [slice(i, i + _BATCH) for i in range(0, len(inputs), _BATCH)]
    return [seen for batch in batches for seen in classifier.observed(statistics[batch], inputs[batch])]


def statistics_of(rows: pd.DataFrame) -> list[ImageStatistics]:
    """Image statistics of rows of the manifest, as ``validate`` took them."""
    return [ImageStatistics(*row) for row in rows[list(STATISTICS)].itertuples(index=False)]


def table(rows: pd.DataFrame, observations: Sequence[Observation]) -> pd.DataFrame:
    """Rows of the manifest and their observations as a frame with the columns of :data:`PREDICTIONS`."""
    probabilities = np.array([seen.probabilities for seen in observations], np.float32)
    answers = pd.DataFrame(
        {
            "path": rows["path"].to_numpy(),
            "part": rows["part"].to_numpy(),
            "actual": rows["cell_type"].to_numpy(),
            "subtype": rows["subtype"].to_numpy(),
            "predicted": [str(seen.predicted) for seen in observations],
            "confidence": probabilities.max(axis=1),
            "action": [str(seen.verdict.action) for seen in observations],
            "novelty": [seen.verdict.novelty for seen in observations],
            "foreignness": [seen.verdict.foreignness for seen in observations],
        }
    )
    return answers.assign(**{name: probabilities[:, i] for i, name in enumerate(PROBABILITIES)})


def labels_of(cell_types: pd.Series) -> NDArray[np.int64]:
    """Positions of cell types in a probability vector, from a column of their names."""
    return np.array([CellType(name).position for name in cell_types], dtype=np.int64)


def labels_and_probabilities(predictions: pd.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The truth, shape (n,), and the answers, shape (n, 8), of a frame of predictions."""
    return labels_of(predictions["actual"]), predictions[list(PROBABILITIES)].to_numpy(dtype=np.float32)


def score_predictions(predictions: pd.DataFrame) -> Metrics:
    """Score a frame of predictions."""
    return score(*labels_and_probabilities(predictions), subtypes=list(predictions["subtype"]))
