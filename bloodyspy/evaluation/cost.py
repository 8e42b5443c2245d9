"""What an answer costs on this machine."""

import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from bloodyspy.evaluation.scores import Cost
from bloodyspy.model.classifier import Classifier
from bloodyspy.model.inference_report import InferenceReport

_WARM_UP = 3


def measure(classifier: Classifier, report: InferenceReport, payloads: Sequence[bytes]) -> Cost:
    """Time the whole road and take over what the parity gate measured of the graph.

    Args:
        classifier: of the directory whose size is told; its scores and card are not written yet.
        report: of the same directory.
        payloads: bytes of typical pictures, at least one.
    """
    folder: Path = classifier.artefact.path
    for payload in payloads[:_WARM_UP]:
        classifier.observe(payload)
    times = []
    for payload in payloads:
        started = time.perf_counter()
        classifier.observe(payload)
        times.append(time.perf_counter() - started)
    return Cost(
        megabytes_artefact=round(sum(file.stat().st_size for file in folder.iterdir()) / 1e6, 3),
        megabytes_graph=round(report.choice.megabytes, 3),
        memory_mb=report.memory_mb,
        milliseconds_1=report.choice.milliseconds_1,
        milliseconds_32=report.choice.milliseconds_32,
        milliseconds_picture=round(statistics.median(times) * 1000, 3),
    )
