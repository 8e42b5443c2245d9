"""The parity gate, and the choice of what serves: exports that succeed and are wrong never come further than this."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import recall_score

from bloodyspy.errors import ExportMismatch, GraphRefused
from bloodyspy.model.artifact import GRAPH, GRAPH_INT8
from bloodyspy.model.calibration import expected_calibration_error, fit_temperature, tempered
from bloodyspy.model.export import answers, export
from bloodyspy.model.inference import InferenceGraph, Precision, Runtime, computes_bfloat16
from bloodyspy.model.inference_report import InferenceReport, Variant
from bloodyspy.model.quantization import quantize
from bloodyspy.model.timing import Speed, machine, measure, memory

logger = logging.getLogger(__name__)

TOLERANCE = 1e-4
"""Of a probability: more is not rounding of float32."""
ALLOWED = 0.002
"""What a reduced precision may cost: 0.2 points of balanced accuracy, and of calibration error."""

Labelled = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""Prepared pictures (n, size, size, 3) and their labels (n,), 0 to 7; n at least 1."""

_KINDS = (
    (Runtime.ONNXRUNTIME, Precision.FLOAT32, GRAPH),
    (Runtime.OPENVINO, Precision.FLOAT32, GRAPH),
    (Runtime.OPENVINO, Precision.BFLOAT16, GRAPH),
    (Runtime.ONNXRUNTIME, Precision.INT8, GRAPH_INT8),
    (Runtime.OPENVINO, Precision.INT8, GRAPH_INT8),
)


@dataclass(frozen=True, slots=True)
class Quality:
    """What answers are worth on the validation part, with a temperature of their own from the calibration part."""

    temperature: float
    balanced_accuracy: float
    ece: float


@dataclass(frozen=True, slots=True)
class Parity:
    """Answers beside those of Keras."""

    max_difference: float
    classes_differ: int
    quality: Quality


def choose(
    network: Path,
    folder: Path,
    calibrate_on: NDArray[np.uint8],
    validation: Labelled,
    calibration: Labelled,
    threads: int = 1,
) -> InferenceReport:
    """Export a network, hold every runtime and precision against Keras, time them, and choose which serves.

    A float32 graph is refused if a probability differs by more than 1e-4 or any class differs; a reduced precision if
    balanced accuracy falls or calibration error rises by more than 0.2 points. Of those that remain, the one fastest in
    batches of 32 serves, unless it is slower than float32 on a single picture. Writes graph.onnx into ``folder``, and
    graph.int8.onnx where a runtime was let through with it.

    Args:
        network: network.keras.
        folder: of the artefact that is being assembled.
        calibrate_on: pictures of the training part that the ranges of the eight-bit graph are taken from.
        validation: what is compared.
        calibration: what each variant's temperature is fitted on.
        threads: of one inference.

    Raises:
        ExportMismatch: the float32 graph, in ONNX Runtime, is not the network.
    """
    if not len(validation[0]) or not len(calibration[0]):
        raise ExportMismatch(f"{network} cannot be compared on no pictures at all. Import more, or change `split`.")
    export(network, folder / GRAPH)
    quantize(folder / GRAPH, folder / GRAPH_INT8, calibrate_on)
    expected = tuple(answers(network, images) for images, _ in (validation, calibration))
    baseline = quality(validation[1], expected[0], calibration[1], expected[1])
    graphs: list[InferenceGraph] = []
    compared: list[tuple[Runtime, Precision, str, Parity]] = []
    for runtime, precision, file in _KINDS:
        if precision is Precision.BFLOAT16 and not computes_bfloat16():
            continue
        try:
            graph = InferenceGraph(folder / file, threads, runtime, precision)
            found = tuple(graph(images) for images, _ in (validation, calibration))
            parity = compare(validation[1], calibration[1], expected, found)
        except (GraphRefused, ExportMismatch) as exc:
            if file == GRAPH and runtime is Runtime.ONNXRUNTIME:
                raise ExportMismatch(f"{folder / file} is not {network}: {exc}") from exc
            logger.warning("%s in %s is left out: %s", precision, runtime, exc)
            continue
        graphs.append(graph)
        compared.append((runtime, precision, file, parity))
    speeds = measure(graphs, validation[0][:32])
    variants = tuple(
        _variant(runtime, precision, folder / file, parity, baseline, speed)
        for (runtime, precision, file, parity), speed in zip(compared, speeds, strict=True)
    )
    if not variants[0].accepted:
        raise ExportMismatch(f"{folder / GRAPH} is not {network}: {variants[0].reason}. Choose another network.")
    if not any(variant.accepted and variant.file == GRAPH_INT8 for variant in variants):
        (folder / GRAPH_INT8).unlink()
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


def quality(
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    calibration_labels: NDArray[np.int64],
    calibration_probabilities: NDArray[np.float32],
) -> Quality:
    """Balanced accuracy and calibration error of answers on the validation part, at the temperature that fits them."""
    temperature = fit_temperature(calibration_labels, calibration_probabilities)
    predicted = probabilities.argmax(axis=1)
    confidence = tempered(probabilities, temperature).max(axis=1)
    return Quality(
        temperature=temperature,
        balanced_accuracy=float(recall_score(labels, predicted, labels=np.unique(labels), average="macro")),
        ece=expected_calibration_error(predicted == labels, confidence),
    )


def compare(
    labels: NDArray[np.int64],
    calibration_labels: NDArray[np.int64],
    expected: tuple[NDArray[np.float32], ...],
    found: tuple[NDArray[np.float32], ...],
) -> Parity:
    """Hold a graph's answers against those of Keras; both tuples: on the validation and on the calibration part.

    Raises:
        ExportMismatch: they are no probabilities of eight types.
    """
    for right, answer in zip(expected, found, strict=True):
        if right.shape != answer.shape:
            raise ExportMismatch(f"It answers with the shape {answer.shape} where Keras has {right.shape}.")
        if not np.isfinite(answer).all():
            raise ExportMismatch("It answers with something that is no number.")
    return Parity(
        max_difference=float(np.abs(expected[0] - found[0]).max()),
        classes_differ=int((expected[0].argmax(axis=1) != found[0].argmax(axis=1)).sum()),
        quality=quality(labels, found[0], calibration_labels, found[1]),
    )


def judge(precision: Precision, parity: Parity, baseline: Quality) -> tuple[bool, str]:
    """Whether a variant may serve, and the reason in words.

    Args:
        precision: float32 has to be the network but for rounding; a reduced precision has to be as good.
        parity: its answers beside those of Keras.
        baseline: what Keras' own answers are worth.
    """
    if precision is Precision.FLOAT32:
        what = f"{parity.classes_differ} classes differ, probabilities by up to {parity.max_difference:.1g}"
        return parity.classes_differ == 0 and parity.max_difference <= TOLERANCE, what
    lost = baseline.balanced_accuracy - parity.quality.balanced_accuracy
    risen = parity.quality.ece - baseline.ece
    what = f"balanced accuracy {-100 * lost:+.2f} points, calibration error {100 * risen:+.2f} points"
    return lost <= ALLOWED and risen <= ALLOWED, what


def fastest(variants: tuple[Variant, ...]) -> int:
    """Index of the accepted variant fastest in batches among those no slower than float32 on a single picture."""
    accepted = [index for index, variant in enumerate(variants) if variant.accepted]
    limit = min(variants[i].milliseconds_1 for i in accepted if variants[i].precision is Precision.FLOAT32)
    return min((i for i in accepted if variants[i].milliseconds_1 <= limit), key=lambda i: variants[i].milliseconds_32)


def _variant(
    runtime: Runtime, precision: Precision, file: Path, parity: Parity, baseline: Quality, speed: Speed
) -> Variant:
    accepted, reason = judge(precision, parity, baseline)
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
