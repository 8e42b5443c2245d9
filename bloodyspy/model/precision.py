"""From a network to the graph that serves: exported, held against Keras, timed, and chosen by measurement."""

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bloodyspy.errors import ExportMismatch, GraphRefused
from bloodyspy.model.artifact import GRAPH, GRAPH_INT8
from bloodyspy.model.export import answers, export
from bloodyspy.model.inference import InferenceGraph, Precision, Runtime, computes_bfloat16
from bloodyspy.model.inference_report import InferenceReport, Variant, fastest
from bloodyspy.model.parity import Parity, compare, judge, quality
from bloodyspy.model.quantization import quantize
from bloodyspy.model.timing import Speed, machine, measure, memory, overflows_eight_bits

logger = logging.getLogger(__name__)

Labelled = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""Prepared pictures (n, size, size, 3) and their labels (n,), 0 to 7; n at least 1."""

_KINDS = (
    (Runtime.ONNXRUNTIME, Precision.FLOAT32, GRAPH),
    (Runtime.OPENVINO, Precision.FLOAT32, GRAPH),
    (Runtime.OPENVINO, Precision.BFLOAT16, GRAPH),
    (Runtime.ONNXRUNTIME, Precision.INT8, GRAPH_INT8),
    (Runtime.OPENVINO, Precision.INT8, GRAPH_INT8),
)


def choose(
    network: Path,
    folder: Path,
    calibrate_on: NDArray[np.uint8],
    validation: Labelled,
    calibration: Labelled,
    most_differ: float,
    threads: int = 1,
) -> InferenceReport:
    """Export a network, hold every runtime and precision against Keras, time them, and choose which serves.

    A float32 graph is refused if a probability differs by more than 1e-4 or any class differs; a reduced precision if
    balanced accuracy falls or calibration error rises by more than 0.2 points, or more classes differ than may. What
    another engine or precision fails at is left out. Of those that remain, the one fastest in batches of 32 serves,
    unless it is slower than float32 on a single picture. Writes graph.onnx into ``folder``, and graph.int8.onnx where
    a runtime was let through with it.

    Args:
        network: network.keras.
        folder: of the artefact that is being assembled.
        calibrate_on: pictures of the training part that the ranges of the eight-bit graph are taken from.
        validation: what is compared.
        calibration: what each variant's temperature is fitted on.
        most_differ: share of the validation pictures that a reduced precision may give another class.
        threads: of one inference.

    Raises:
        ExportMismatch: the float32 graph, in ONNX Runtime, is not the network.
    """
    if not len(validation[0]) or not len(calibration[0]):
        raise ExportMismatch(f"{network} cannot be compared on no pictures at all. Import more, or change `split`.")
    export(network, folder / GRAPH)
    expected = tuple(answers(network, images) for images, _ in (validation, calibration))
    baseline = quality(validation[1], expected[0], calibration[1], expected[1])
    graphs: list[InferenceGraph] = []
    compared: list[tuple[Runtime, Precision, str, Parity, tuple[bool, str]]] = []
    for runtime, precision, file in _KINDS:
        if precision is Precision.BFLOAT16 and not computes_bfloat16():
            continue
        if not (folder / file).exists():  # there is no graph of eight bits
            continue
        try:
            graph = InferenceGraph(folder / file, threads, runtime, precision)
            found = tuple(graph(images) for images, _ in (validation, calibration))
            parity = compare(validation[1], calibration[1], expected, found)
        except (GraphRefused, ExportMismatch) as exc:
            if not graphs:
                raise ExportMismatch(f"{folder / file} is not {network}: {exc}") from exc
            logger.warning("%s in %s is left out: %s", precision, runtime, exc)
            continue
        accepted, reason = judge(precision, parity, baseline, most_differ)
        if not graphs:  # the first, float32 in ONNX Runtime, has to be the network; the others may fail
            if not accepted:
                raise ExportMismatch(f"{folder / GRAPH} is not {network}: {reason}. Choose another network.")
            _quantize(folder, calibrate_on)
        graphs.append(graph)
        compared.append((runtime, precision, file, parity, (accepted, reason)))
    speeds = measure(graphs, validation[0][:32])
    variants = tuple(
        _variant(runtime, precision, folder / file, parity, judged, speed)
        for (runtime, precision, file, parity, judged), speed in zip(compared, speeds, strict=True)
    )
    if not any(variant.accepted and variant.file == GRAPH_INT8 for variant in variants):
        (folder / GRAPH_INT8).unlink(missing_ok=True)
    served = fastest(variants)
    chosen = variants[served]
    for variant in variants:
        logger.info("%s: %s", variant.name, variant.reason)
    logger.info(
        "%s serves: %.2f ms alone, %.2f ms in a batch", chosen.name, chosen.milliseconds_1, chosen.milliseconds_32
    )
    return InferenceReport(
        machine=machine(),
        threads=threads,
        variants=variants,
        served=served,
        memory_mb=memory(folder / chosen.file, threads, chosen.runtime, chosen.precision, validation[0].shape[1]),
        images_compared=len(validation[0]),
    )


def _quantize(folder: Path, pictures: NDArray[np.uint8]) -> None:
    """Write the eight-bit graph; where that fails, none, and the log tells why."""
    try:
        quantize(folder / GRAPH, folder / GRAPH_INT8, pictures, seven_bits=overflows_eight_bits())
    except OSError:  # a full disk is no fault of the graph
        raise
    except Exception as exc:  # noqa: BLE001  three libraries work on it, each with errors of its own
        logger.warning("%s is left out: %s", Precision.INT8, " ".join(str(exc).split()))


def _variant(
    runtime: Runtime, precision: Precision, file: Path, parity: Parity, judged: tuple[bool, str], speed: Speed
) -> Variant:
    accepted, reason = judged
    return Variant(
        runtime=runtime,
        precision=precision,
        file=file.name,
        megabytes=file.stat().st_size / 1e6,
        milliseconds_1=speed.alone,
        milliseconds_32=speed.in_batch,
        max_difference=parity.max_difference,
        classes_differ=parity.classes_differ,
        temperature=parity.quality.temperature,
        balanced_accuracy=parity.quality.balanced_accuracy,
        ece=parity.quality.ece,
        accepted=accepted,
        reason=reason,
    )
