"""The bounds of the parity gate, and the choice among what it lets through."""

import numpy as np
import pytest
from pydantic import ValidationError

from bloodyspy.errors import ExportMismatch
from bloodyspy.model.inference import Precision, Runtime
from bloodyspy.model.inference_report import InferenceReport, Variant, fastest
from bloodyspy.model.parity import Parity, Quality, compare, judge

BASELINE = Quality(temperature=1.1, balanced_accuracy=0.98, ece=0.01)
REDUCED = (Precision.BFLOAT16, Precision.INT8)


def parity(difference: float = 0.0, differ: int = 0, balanced_accuracy: float = 0.98, ece: float = 0.01) -> Parity:
    return Parity(difference, differ, 600, Quality(1.0, balanced_accuracy, ece))


@pytest.mark.parametrize(
    ("found", "accepted"),
    [
        (parity(difference=1e-4), True),
        (parity(difference=1.1e-4), False),
        (parity(difference=1e-6, differ=1), False),
        (parity(difference=float("nan")), False),
    ],
)
def test_float32_is_the_network_but_for_rounding(found: Parity, accepted: bool) -> None:
    assert judge(Precision.FLOAT32, found, BASELINE, 0.01)[0] is accepted


@pytest.mark.parametrize("precision", REDUCED)
@pytest.mark.parametrize(
    ("found", "accepted"),
    [
        (parity(difference=0.3, differ=6), True),
        (parity(difference=0.3, differ=7), False),  # more than the promotion gate allows
        (parity(balanced_accuracy=0.9781), True),
        (parity(balanced_accuracy=0.9779), False),
        (parity(ece=0.0119), True),
        (parity(ece=0.0121), False),
        (parity(balanced_accuracy=0.99, ece=0.0121), False),
        (parity(balanced_accuracy=0.99, ece=0.0), True),
    ],
)
def test_a_reduced_precision_is_as_good(precision: Precision, found: Parity, accepted: bool) -> None:
    assert judge(precision, found, BASELINE, 0.01)[0] is accepted


def test_the_reason_says_what_was_lost_and_what_rose() -> None:
    _, reason = judge(Precision.INT8, parity(differ=2, balanced_accuracy=0.975, ece=0.013), BASELINE, 0.01)
    assert reason == "balanced accuracy -0.50 points, calibration error +0.30 points, another class in 2 of 600"


def answers(n: int, seed: int) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(0, 3, (n, 8))
    return (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)


def test_differences_are_counted_on_the_validation_part() -> None:
    expected = (answers(40, seed=1), answers(30, seed=2))
    labels = expected[0].argmax(axis=1).astype(np.int64)
    found = (expected[0].copy(), expected[1].copy())
    found[0][3] = np.roll(found[0][3], 1)
    compared = compare(labels, expected[1].argmax(axis=1), expected, found)
    assert (compared.classes_differ, compared.images) == (1, 40)
    assert compared.max_difference == pytest.approx(np.abs(expected[0][3] - found[0][3]).max())
    of_class = labels == labels[3]
    assert compared.quality.balanced_accuracy == pytest.approx(1 - 1 / of_class.sum() / len(np.unique(labels)))


@pytest.mark.parametrize("harm", ["shape", "nan"])
def test_what_is_no_probabilities_is_refused(harm: str) -> None:
    expected = (answers(8, seed=1), answers(8, seed=2))
    wrong = expected[1][:, :7] if harm == "shape" else np.where(expected[1] > 0.5, np.nan, expected[1])
    with pytest.raises(ExportMismatch):
        compare(np.arange(8), np.arange(8), expected, (expected[0], wrong))


def variant(precision: Precision, alone: float, batched: float, *, accepted: bool = True) -> Variant:
    return Variant(
        runtime=Runtime.OPENVINO,
        precision=precision,
        file="graph.onnx",
        megabytes=1.0,
        milliseconds_1=alone,
        milliseconds_32=batched,
        max_difference=0.0,
        classes_differ=0,
        temperature=1.0,
        balanced_accuracy=0.9,
        ece=0.01,
        accepted=accepted,
        reason="for a test",
    )


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([], 0),
        ([variant(Precision.BFLOAT16, 1.0, 0.5)], 1),
        ([variant(Precision.BFLOAT16, 1.0, 0.5, accepted=False)], 0),
        ([variant(Precision.BFLOAT16, 2.1, 0.5)], 0),  # slower alone than float32
        ([variant(Precision.BFLOAT16, 1.0, 0.5), variant(Precision.INT8, 1.0, 0.4)], 2),
        ([variant(Precision.FLOAT32, 1.5, 1.2), variant(Precision.INT8, 1.6, 0.4)], 1),
        ([variant(Precision.FLOAT32, 3.0, 1.2)], 0),
    ],
)
def test_the_fastest_in_batches_serves_unless_it_is_slower_alone(others: list[Variant], expected: int) -> None:
    assert fastest((variant(Precision.FLOAT32, 2.0, 1.5), *others)) == expected


def test_a_report_serves_only_what_was_let_through() -> None:
    refused = variant(Precision.INT8, 1.0, 0.5, accepted=False)
    with pytest.raises(ValidationError, match="not one that was accepted"):
        InferenceReport(machine="x", threads=1, variants=(refused,), served=0, memory_mb=1.0, images_compared=1)
