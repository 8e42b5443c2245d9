"""Runs the exported graph. The one place that knows which engine does it; no TensorFlow here."""

from enum import StrEnum
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bloodyspy.cells import CELL_TYPES


class Runtime(StrEnum):
    """An engine."""

    ONNXRUNTIME = "onnxruntime"
    OPENVINO = "openvino"


class Precision(StrEnum):
    """What an engine computes in. ``int8`` is a graph of its own; the others are read from the float32 graph."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    INT8 = "int8"


class _Engine(Protocol):
    def __call__(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]: ...


class InferenceGraph:
    """An ONNX graph: uint8 RGB (n, size, size, 3) in, float32 probabilities (n, 8) out, n free.

    Safe to call from several threads.
    """

    def __init__(
        self,
        path: Path,
        threads: int = 1,
        runtime: Runtime = Runtime.ONNXRUNTIME,
        precision: Precision = Precision.FLOAT32,
    ) -> None:
        """``threads`` work on one batch. Only the named engine is imported."""
        engines = {Runtime.ONNXRUNTIME: _OnnxRuntime, Runtime.OPENVINO: _OpenVino}
        self._engine: _Engine = engines[runtime](path, threads, precision)

    def __call__(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities of a batch, shape (n, 8)."""
        if not len(batch):
            return np.empty((0, len(CELL_TYPES)), dtype=np.float32)
        return self._engine(batch)


class _OnnxRuntime:
    """Takes each graph in the precision it was written in."""

    def __init__(self, path: Path, threads: int, _precision: Precision) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def __call__(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        (probabilities,) = self._session.run(None, {self._input: batch})
        return np.asarray(probabilities, dtype=np.float32)


class _OpenVino:
    """Reads the ONNX graph as it is."""

    def __init__(self, path: Path, threads: int, precision: Precision) -> None:
        import openvino

        hints = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            # Its own choice is bf16 wherever the processor has it: a precision is decided here, never met.
            "INFERENCE_PRECISION_HINT": "bf16" if precision is Precision.BFLOAT16 else "f32",
            # Several processes would pin their threads to the same core.
            "ENABLE_CPU_PINNING": False,
        }
        self._compiled = openvino.Core().compile_model(path, "CPU", hints)
        # A request holds the buffers of one inference, so it serves one caller at a time.
        self._requests: SimpleQueue[openvino.InferRequest] = SimpleQueue()

    def __call__(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        try:
            request = self._requests.get_nowait()
        except Empty:
            request = self._compiled.create_infer_request()
        try:
            answer = request.infer([batch], share_inputs=True)
            return np.array(answer[0], dtype=np.float32)
        finally:
            self._requests.put(request)
