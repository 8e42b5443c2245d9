"""The artefact as an MLflow pyfunc: what ``mlflow.pyfunc.load_model`` and ``mlflow models serve`` load.

MLflow asks this module for :func:`_load_pyfunc`. It imports nothing of MLflow, so that the model runs wherever the
service's packages and MLflow are installed.
"""

import base64
import binascii
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bloodyspy.cells import CELL_TYPES
from bloodyspy.errors import UnreadableImage
from bloodyspy.model.classifier import Classifier

IMAGE = "image"
"""The input's only column: the bytes of an encoded picture, or the same as base64 text."""


class Pictures:
    """Classifies the pictures of a frame."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier

    def predict(self, model_input: pd.DataFrame, params: dict[str, object] | None = None) -> pd.DataFrame:  # noqa: ARG002 - MLflow's signature
        """A probability for each cell type, ``predicted`` and ``confidence``; the input's index is kept.

        Raises:
            UnreadableImage, ImageTooLarge: a picture cannot be used; the message tells the row.
        """
        pictures = [self._prepare(row, value) for row, value in enumerate(model_input[IMAGE])]
        size = self._classifier.spec.input.size
        batch = np.stack(pictures) if pictures else np.empty((0, size, size, 3), dtype=np.uint8)
        probabilities = self._classifier.probabilities(batch)
        answer = pd.DataFrame(
            probabilities.astype(np.float64), columns=[str(cell) for cell in CELL_TYPES], index=model_input.index
        )
        return answer.assign(
            predicted=[str(CELL_TYPES[best]) for best in probabilities.argmax(axis=1)],
            confidence=probabilities.max(axis=1).astype(np.float64),
        )

    def _prepare(self, row: int, value: bytes | str) -> NDArray[np.uint8]:
        try:
            payload = base64.b64decode(value, validate=True) if isinstance(value, str) else bytes(value)
        except binascii.Error as exc:
            raise UnreadableImage(f"row {row} is text, but not base64") from exc
        try:
            return self._classifier.prepare(payload)
        except UnreadableImage as exc:
            raise UnreadableImage(f"row {row}: {exc.reason}") from exc


def _load_pyfunc(data_path: str) -> Pictures:
    return Pictures(Classifier.load(Path(data_path)))
