"""From a float32 graph to one of eight bits: static, calibrated on pictures of the training part."""

import contextlib
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from bloodyspy.model.network import INPUT

# What is computed in eight bits. The activations belong to it: a convolution whose answer is cut to [0, 6] right away
# needs its 256 steps there, and loses one picture in twenty where they are spread over all that is cut off. The
# pooled features and the head stay in float32: they cost nothing.
_QUANTIZED = ("Conv", "Clip", "Relu", "Add", "MaxPool", "AveragePool", "Concat")
_BATCH = 16


def quantize(graph: Path, quantized: Path, pictures: NDArray[np.uint8], *, seven_bits: bool = False) -> None:
    """Write a graph with eight-bit convolutions: activations unsigned, weights signed with a scale for each channel.

    The ranges of the activations are what ``pictures`` reach. That a graph was written proves nothing; it has to pass
    :func:`bloodyspy.model.precision.choose`.

    Args:
        graph: graph.onnx.
        quantized: the file to write; it appears whole or not at all.
        pictures: prepared pictures of the training part, (n, size, size, 3); a few hundred of all classes.
        seven_bits: weights use half of their range, so that no sum of products overflows sixteen bits.
    """
    writing = quantized.with_name(f".{quantized.name}.writing")
    with contextlib.ExitStack() as leaving:
        leaving.callback(writing.unlink, missing_ok=True)
        folder = leaving.enter_context(tempfile.TemporaryDirectory(prefix="quantize-"))
        # Folds batch norms into the convolutions before them: what is left between the two would stay in float32.
        folded = Path(folder) / "folded.onnx"
        quant_pre_process(graph, folded, skip_symbolic_shape=True)
        quantize_static(
            folded,
            writing,
            _Pictures(pictures),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(_QUANTIZED),
            per_channel=True,
            reduce_range=seven_bits,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
        writing.replace(quantized)


class _Pictures(CalibrationDataReader):
    """Batches by the name of the graph's input, until there are no more."""

    def __init__(self, pictures: NDArray[np.uint8]) -> None:
        self._batches = iter([pictures[start : start + _BATCH] for start in range(0, len(pictures), _BATCH)])

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        """The next batch; ONNX Runtime asks for it until there is none."""
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: np.ascontiguousarray(batch)}
