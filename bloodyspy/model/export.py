"""From a trained network to an inference graph, and the proof that the two agree."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as engine

from bloodyspy.errors import ExportMismatch
from bloodyspy.model.backend import keras
from bloodyspy.model.inference import InferenceGraph
from bloodyspy.model.network import OUTPUT

TOLERANCE = 1e-4
_OPSET = 17
_BATCH = 64

# Each derives from Exception alone; there is no common base.
_REFUSALS = (
    *(engine.Fail, engine.InvalidGraph, engine.InvalidProtobuf, engine.InvalidArgument),
    *(engine.NotImplemented, engine.RuntimeException, engine.NoSuchFile),
)


def export(network: Path, graph: Path) -> None:
    """Write a network as an ONNX graph: uint8 (n, size, size, 3) in, float32 (n, 8) out, n free.

    By way of a SavedModel and the command of tf2onnx: the shorter roads give graphs of some networks that no engine
    takes. That a graph was written proves nothing; call :func:`verify`.

    Args:
        network: network.keras.
        graph: the file to write; it appears whole or not at all.

    Raises:
        ExportMismatch: the network has no ONNX counterpart.
    """
    with tempfile.TemporaryDirectory(prefix="export-") as folder:
        saved, written = Path(folder) / "saved_model", graph.with_name(f".{graph.name}.writing")
        keras.models.load_model(network, compile=False).export(saved, format="tf_saved_model", verbose=False)
        converter = (sys.executable, "-m", "tf2onnx.convert", "--saved-model", saved, "--output", written)
        done = subprocess.run(
            [*converter, "--opset", str(_OPSET), "--rename-outputs", OUTPUT],
            # The conversion is a walk over the graph: more threads only compete, and a GPU is not needed.
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
            capture_output=True,
            text=True,
        )
        if done.returncode != 0 or not written.exists():
            reason = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
            raise ExportMismatch(f"{network} cannot be written as ONNX: {reason[0]}. Choose another network.")
        written.replace(graph)


def verify(network: Path, graph: Path, batch: NDArray[np.uint8]) -> float:
    """Hold the graph, run by the engine that serves it, against the network.

    Args:
        network: network.keras.
        graph: graph.onnx.
        batch: prepared pictures (n, size, size, 3), at least one.

    Returns:
        The largest difference of a probability.

    Raises:
        ExportMismatch: a probability differs by more than 1e-4, any predicted class differs, or the engine refuses.
    """
    if not len(batch):
        raise ExportMismatch(f"{graph} cannot be verified on no pictures at all. Give it some of the validation part.")
    model = keras.models.load_model(network, compile=False)
    expected = np.concatenate([model.predict_on_batch(chunk) for chunk in _chunks(batch)])
    try:
        session = InferenceGraph(graph)
        found = np.concatenate([session(chunk) for chunk in _chunks(batch)])
    except _REFUSALS as exc:
        raise ExportMismatch(f"{graph} is not a graph that the engine takes: {exc}. Choose another network.") from exc
    if expected.shape != found.shape:
        raise ExportMismatch(f"{graph} answers with the shape {found.shape} where the network has {expected.shape}.")
    difference = float(np.abs(expected - found).max())
    differing = int((expected.argmax(axis=1) != found.argmax(axis=1)).sum())
    if not difference <= TOLERANCE or differing:
        raise ExportMismatch(
            f"{graph} is not {network}: probabilities differ by up to {difference:.2g} (at most {TOLERANCE:g} is "
            f"rounding) and {differing} of {len(batch)} pictures get another class. Choose another network."
        )
    return difference


def _chunks(batch: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    return [batch[start : start + _BATCH] for start in range(0, len(batch), _BATCH)]
