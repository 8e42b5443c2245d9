"""From a trained network to an inference graph, and what the network itself answers."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bloodyspy.errors import ExportMismatch
from bloodyspy.model.backend import keras
from bloodyspy.model.explanation import Head
from bloodyspy.model.inference import FEATURES, PROBABILITIES

_OPSET = 17
_POOLING = "pool"  # layer of every network that takes the last feature maps
_BATCH = 64


def export(network: Path, graph: Path) -> None:
    """Write a network as an ONNX graph: uint8 (n, size, size, 3) in, float32 out, n free.

    Its outputs are the probabilities (n, 8) and the last feature maps (n, rows, columns, channels).

    By way of a SavedModel and the command of tf2onnx: the shorter roads give graphs of some networks that no engine
    takes. That a graph was written proves nothing; it has to pass :func:`bloodyspy.model.precision.choose`.

    Args:
        network: network.keras.
        graph: the file to write; it appears whole or not at all.

    Raises:
        ExportMismatch: the network has no ONNX counterpart.
    """
    with tempfile.TemporaryDirectory(prefix="export-") as folder:
        saved, written = Path(folder) / "saved_model", graph.with_name(f".{graph.name}.writing")
        model = keras.models.load_model(network, compile=False)
        outputs = [model.output, model.get_layer(_POOLING).input]
        keras.Model(model.inputs, outputs).export(saved, format="tf_saved_model", verbose=False)
        converter = (sys.executable, "-m", "tf2onnx.convert", "--saved-model", saved, "--output", written)
        done = subprocess.run(
            [*converter, "--opset", str(_OPSET), "--rename-outputs", f"{PROBABILITIES},{FEATURES}"],
            # The conversion is a walk over the graph: more threads only compete, and a GPU is not needed.
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
            capture_output=True,
            text=True,
        )
        if done.returncode != 0 or not written.exists():
            reason = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
            raise ExportMismatch(f"{network} cannot be written as ONNX: {reason[0]}. Choose another network.")
        written.replace(graph)


def head_of(network: Path) -> Head:
    """What a network does with its pooled features, as numbers.

    Args:
        network: network.keras.
    """
    model = keras.models.load_model(network, compile=False)
    names = [layer.name for layer in model.layers]
    dense = [layer for layer in model.layers[names.index(_POOLING) :] if isinstance(layer, keras.layers.Dense)]
    weights, bias = dense[0].get_weights()
    # of sub-types a second layer makes types; types are themselves
    membership = dense[1].get_weights()[0] if len(dense) > 1 else np.eye(weights.shape[1], dtype=np.float32)
    return Head(weights, bias, membership)


def answers(network: Path, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What Keras itself answers: the truth that every graph is held against.

    Args:
        network: network.keras.
        batch: prepared pictures (n, size, size, 3), n at least 1.

    Returns:
        Probabilities, (n, 8).
    """
    model = keras.models.load_model(network, compile=False)
    parts = [model.predict_on_batch(batch[start : start + _BATCH]) for start in range(0, len(batch), _BATCH)]
    return np.concatenate(parts)
