"""Calibration against published examples, scikit-learn, and answers whose truth is known."""

import sys
from subprocess import run

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from bloodyspy.evaluation.calibration import calibration, reliability
from bloodyspy.model.calibration import TEMPERATURES, expected_calibration_error, fit_temperature, tempered


def overconfident(n: int, times: float, seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Labels drawn from the softmax of logits, and those logits, inflated."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, 8)) * 2
    labels = (softmax(logits, axis=1).cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    return labels, logits * times


class Logits(ClassifierMixin, BaseEstimator):
    """What scikit-learn calibrates: a fitted classifier whose decision is its input."""

    def fit(self, x: NDArray[np.float64], y: NDArray[np.int64]) -> "Logits":
        self.classes_ = np.unique(y)
        return self

    def predict(self, x: NDArray[np.float64]) -> NDArray[np.int64]:
        return x.argmax(axis=1)

    def decision_function(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        return x


def test_calibration_error_of_a_published_example() -> None:
    # M. Pavlovic, "Expected Calibration Error (ECE): a step-by-step visual explanation", 2023: three bins, 0.23778
    confidence = np.array([0.22, 0.64, 0.92, 0.42, 0.51, 0.15, 0.70, 0.37, 0.83])
    correct = (confidence > 0.5) == np.array([0, 1, 0, 0, 0, 1, 1, 0, 1], dtype=bool)
    assert expected_calibration_error(correct, confidence, bins=3) == pytest.approx(0.23778, abs=5e-6)


def test_calibration_error_of_fifteen_bins() -> None:
    # Two bins in use: 4 answers at 0.9 with 2 right, 1 answer at 0.3 that is wrong: (4 * 0.4 + 1 * 0.3) / 5
    correct = np.array([True, True, False, False, False])
    confidence = np.array([0.9, 0.9, 0.9, 0.9, 0.3])
    assert expected_calibration_error(correct, confidence) == pytest.approx(0.38)
    assert expected_calibration_error(np.ones(3, dtype=bool), np.ones(3)) == 0


@pytest.mark.parametrize("times", [0.6, 1.0, 2.5])
def test_the_temperature_is_the_one_that_inflated_the_logits(times: float) -> None:
    labels, logits = overconfident(40_000, times)
    assert fit_temperature(labels, softmax(logits, axis=1)) == pytest.approx(times, rel=0.03)


def test_the_temperature_agrees_with_scikit_learn() -> None:
    labels, logits = overconfident(500, 1.7, seed=4)
    theirs = CalibratedClassifierCV(FrozenEstimator(Logits().fit(logits, labels)), method="temperature", cv=2)
    theirs.fit(logits, labels)
    ours = fit_temperature(labels, softmax(logits, axis=1))
    np.testing.assert_allclose(
        tempered(softmax(logits, axis=1), ours), theirs.predict_proba(logits), rtol=1e-3, atol=1e-5
    )


def test_tempering_probabilities_is_tempering_logits() -> None:
    _, logits = overconfident(200, 3.0)
    raw = softmax(logits, axis=1).astype(np.float32)
    for temperature in (0.5, 1.0, 2.0):
        found = tempered(raw, temperature)
        np.testing.assert_allclose(found, softmax(logits / temperature, axis=1), rtol=1e-4, atol=1e-7)
        np.testing.assert_array_equal(found.argmax(axis=1), raw.argmax(axis=1))
        assert found.dtype == np.float32
    np.testing.assert_array_equal(tempered(raw, 1.0), raw)
    one = np.eye(8, dtype=np.float32)
    np.testing.assert_array_equal(tempered(one, 0.25), one)


def test_without_an_error_the_temperature_stays_within_its_bounds() -> None:
    _, logits = overconfident(50, 1.0)
    sure = softmax(logits, axis=1)
    assert fit_temperature(sure.argmax(axis=1), sure) == pytest.approx(TEMPERATURES[0], rel=1e-3)
    assert fit_temperature((sure.argmax(axis=1) + 1) % 8, np.eye(8)[sure.argmax(axis=1)]) == pytest.approx(
        TEMPERATURES[1], rel=1e-3
    )


def test_the_temperature_mends_what_it_was_not_fitted_on() -> None:
    labels, logits = overconfident(4000, 2.5)
    raw = softmax(logits, axis=1).astype(np.float32)
    temperature = fit_temperature(labels[:2000], raw[:2000])
    found = calibration(temperature, (labels[:2000], raw[:2000]), (labels[2000:], raw[2000:]))
    assert (found.temperature, found.images) == (temperature, 2000)
    assert found.test_before.ece > 0.2
    assert found.test_after.ece < 0.04
    assert found.test_after.log_loss < found.test_before.log_loss
    assert found.calibration_after.log_loss < found.calibration_before.log_loss


def test_the_diagram_holds_every_answer_and_gives_the_error() -> None:
    labels, logits = overconfident(1000, 2.0)
    found = reliability(labels, softmax(logits, axis=1))
    assert sum(point.images for point in found.bins) == 1000
    gaps = [point.images * abs(point.accuracy.value - point.confidence) for point in found.bins]
    assert sum(gaps) / 1000 == pytest.approx(found.ece)
    assert [point.confidence for point in found.bins] == sorted(point.confidence for point in found.bins)


def test_applying_a_temperature_needs_no_scipy() -> None:
    told = "import sys, bloodyspy.model.calibration; sys.exit('scipy' in sys.modules)"
    run([sys.executable, "-c", told], check=True, timeout=60)
