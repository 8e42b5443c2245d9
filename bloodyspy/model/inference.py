"""Runs the exported graph. The one place that knows which engine does it; no TensorFlow here."""

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from bloodyspy.cells import CELL_TYPES


class InferenceGraph:
    """An ONNX graph: uint8 RGB (n, size, size, 3) in, float32 probabilities (n, 8) out.

    Safe to call from several threads.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def __call__(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities of a batch, shape (n, 8)."""
        if not len(batch):
            return np.empty((0, len(CELL_TYPES)), dtype=np.float32)
        (probabilities,) = self._session.run(None, {self._input: batch})
        return np.asarray(probabilities, dtype=np.float32)
