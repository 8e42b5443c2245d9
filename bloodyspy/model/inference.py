"""Runs the exported graph. The one place that knows which engine does it; no TensorFlow here."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from bloodyspy.cells import CELL_TYPES
from bloodyspy.errors import GraphRefused

if TYPE_CHECKING:
    import openvino

BATCH = 32
"""Pictures that an engine is given at once: more only leave the processor's caches."""


FEW = 8
"""Pictures with which a graph is nearly as quick for each as with a whole batch."""


class Runtime(StrEnum):
    """An engine."""

    ONNXRUNTIME = "onnxruntime"
    OPENVINO = "openvino"


class Precision(StrEnum):
    """What an engine computes in. ``int8`` is a graph of its own; the others are read from the float32 graph."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    INT8 = "int8"


PROBABILITIES, FEATURES = "probabilities", "features"
"""Names of a graph's outputs."""


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class Inferred:
    """What a graph says of a batch."""

    probabilities: NDArray[np.float32]
    """(n, 8), rows sum to 1."""
    features: NDArray[np.float32]
    """The network's last feature maps, before they are pooled: (n, rows, columns, channels)."""


class InferenceGraph:
    """An ONNX graph: uint8 RGB (n, size, size, 3) in, float32 probabilities (n, 8) and feature maps out, n free.

    Safe to call from several threads; calls then run at the same time.
    """

    def __init__(
        self,
        path: Path,
        threads: int = 1,
        runtime: Runtime = Runtime.ONNXRUNTIME,
        precision: Precision = Precision.FLOAT32,
    ) -> None:
        """Load a graph; only the named engine is imported.

        Args:
            path: graph.onnx or graph.int8.onnx.
            threads: that work on one call.
            runtime: the engine.
            precision: the graph's own for ``int8``. A processor without bfloat16 computes in float32 instead.

        Raises:
            GraphRefused: the engine does not take the graph.
        """
        self._path, self._runtime = path, runtime
        self._engine: _Engine
        with self._refusals():
            if runtime is Runtime.OPENVINO:
                self._engine = _OpenVino(path, threads, precision)
            else:
                self._engine = _OnnxRuntime(path, threads)

    def __call__(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probabilities of a batch, shape (n, 8).

        Raises:
            GraphRefused: the engine took the graph and cannot run it.
        """
        return self.infer(batch).probabilities

    def infer(self, batch: NDArray[np.uint8], meanwhile: Callable[[], None] = _nothing) -> Inferred:
        """Probabilities and feature maps of a batch.

        Args:
            batch: (n, size, size, 3).
            meanwhile: called once, in this thread, while an engine with threads of its own runs the graph.

        Raises:
            GraphRefused: the engine took the graph and cannot run it.
        """
        if not len(batch):
            meanwhile()
            return Inferred(np.empty((0, len(CELL_TYPES)), np.float32), np.empty((0, 1, 1, 1), np.float32))
        with self._refusals():
            parts = [self._engine(batch[:BATCH], meanwhile)]
            parts += [self._engine(batch[start : start + BATCH]) for start in range(BATCH, len(batch), BATCH)]
        return parts[0] if len(parts) == 1 else _joined(parts)

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """The engines' own errors become one that says which engine and which graph."""
        try:
            yield
        except _errors_of(self._runtime) as exc:
            raise GraphRefused(self._path, self._runtime, str(exc)) from exc


def computes_bfloat16() -> bool:
    """Whether this processor computes in bfloat16, so that OpenVINO does when it is told to."""
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _errors_of(runtime: Runtime) -> tuple[type[Exception], ...]:
    if runtime is Runtime.OPENVINO:
        return (RuntimeError,)
    from onnxruntime.capi import onnxruntime_pybind11_state as engine

    # Each derives from Exception alone; there is no common base.
    return (
        *(engine.Fail, engine.InvalidGraph, engine.InvalidProtobuf, engine.InvalidArgument, engine.NotImplemented),
        *(engine.NoSuchFile, engine.NoModel, engine.RuntimeException, engine.EPFail, engine.EngineError),
    )


def _joined(parts: Sequence[Inferred]) -> Inferred:
    return Inferred(
        np.concatenate([part.probabilities for part in parts]), np.concatenate([part.features for part in parts])
    )


class _Engine(Protocol):
    def __call__(self, batch: NDArray[np.uint8], meanwhile: Callable[[], None] = _nothing) -> Inferred:
        """1 to :data:`BATCH` pictures in."""


class _OnnxRuntime:
    """Takes each graph in the precision it was written in."""

    def __init__(self, path: Path, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def __call__(self, batch: NDArray[np.uint8], meanwhile: Callable[[], None] = _nothing) -> Inferred:
        meanwhile()  # before: it computes in the thread that calls it
        probabilities, features = self._session.run((PROBABILITIES, FEATURES), {self._input: batch})
        return Inferred(np.asarray(probabilities, np.float32), np.asarray(features, np.float32))


_FIRST_CALL = Lock()


class _OpenVino:
    """Compiles the graph for batches of 1, of :data:`FEW` and of :data:`BATCH`, when it is first asked to.

    A graph whose batch is fixed runs a fifth to a third faster than one whose batch is free.
    """

    def __init__(self, path: Path, threads: int, precision: Precision) -> None:
        self._path, self._lock = path, Lock()
        # One stream for each call that can run at a time: calls that share a stream wait for each other.
        streams = max(1, len(os.sched_getaffinity(0)) // threads)
        self._hints = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": streams * threads,
            # Its own choice is bf16 wherever the processor has it: a precision is decided here, never met.
            "INFERENCE_PRECISION_HINT": "bf16" if precision is Precision.BFLOAT16 else "f32",
            # Several processes would pin their threads to the same core.
            "ENABLE_CPU_PINNING": False,
        }
        self._compiled = {1: self._compile(1)}
        # What its Python side keeps for the whole process is made in the first call, under a C++ guard that lets go of
        # the interpreter: two first calls at a time wait for each other for ever.
        with _FIRST_CALL:
            self._compiled[1](self._compiled[1].blank())

    def __call__(self, batch: NDArray[np.uint8], meanwhile: Callable[[], None] = _nothing) -> Inferred:
        answers, start = [], 0
        for size in pieces(len(batch)):
            piece = batch[start : start + size]
            filled = piece if len(piece) == size else piece[np.arange(size) % len(piece)]
            found = self._of(size)(filled, _nothing if start else meanwhile)
            answers.append(Inferred(found.probabilities[: len(piece)], found.features[: len(piece)]))
            start += size
        return answers[0] if len(answers) == 1 else _joined(answers)

    def _of(self, size: int) -> "_FixedBatch":
        if (compiled := self._compiled.get(size)) is None:
            with self._lock:
                if (compiled := self._compiled.get(size)) is None:
                    compiled = self._compiled[size] = self._compile(size)
        return compiled

    def _compile(self, size: int) -> "_FixedBatch":
        import openvino

        core = openvino.Core()
        model = core.read_model(self._path)
        model.reshape({0: [size, *model.input(0).get_partial_shape()[1:]]})
        return _FixedBatch(core.compile_model(model, "CPU", self._hints))


def pieces(number: int) -> list[int]:
    """The sizes to run for 1 to :data:`BATCH` pictures; the last is filled up where it is more than half used."""
    if number == BATCH:
        return [BATCH]
    few = number // FEW + (number % FEW > FEW // 2)
    return [FEW] * few + [1] * (number - FEW * few)


class _FixedBatch:
    """A compiled model. A request holds the buffers of one inference, so each serves one caller at a time."""

    def __init__(self, compiled: "openvino.CompiledModel") -> None:
        self._compiled = compiled
        self._idle: SimpleQueue[openvino.InferRequest] = SimpleQueue()

    def blank(self) -> NDArray[np.uint8]:
        """A batch of black pictures."""
        return np.zeros(tuple(self._compiled.input(0).shape), np.uint8)

    def __call__(self, batch: NDArray[np.uint8], meanwhile: Callable[[], None] = _nothing) -> Inferred:
        try:
            request = self._idle.get_nowait()
        except Empty:
            request = self._compiled.create_infer_request()
        try:
            request.start_async([np.ascontiguousarray(batch)], share_inputs=True)
            try:
                meanwhile()
            finally:
                request.wait()  # it reads the batch until then
            # copies: the buffers are the next caller's
            found = (np.array(request.get_tensor(name).data, np.float32) for name in (PROBABILITIES, FEATURES))
            return Inferred(*found)
        finally:
            self._idle.put(request)
