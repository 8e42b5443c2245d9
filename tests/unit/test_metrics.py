"""Scores against scikit-learn, and what they say at the borders."""

import re
import time

import numpy as np
import pytest
from handmade import scores_of
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score, log_loss, multilabel_confusion_matrix

from bloodyspy.cells import CELL_TYPES, CellType
from bloodyspy.evaluation.metrics import Metrics, score
from bloodyspy.evaluation.scores import Scores, Seeds


def answers(n: int, seed: int = 0, sharpness: float = 4.0) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Labels and probabilities of a fair classifier, uneven classes."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(8, n, p=np.array([1, 2, 1, 2, 1, 1, 3, 2]) / 13)
    logits = rng.normal(size=(n, 8)) * 2
    logits[np.arange(n), labels] += sharpness
    odds = np.exp(logits)
    return labels, (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("seed", range(5))
def test_points_agree_with_scikit_learn(seed: int) -> None:
    labels, probabilities = answers(300, seed)
    predicted = probabilities.argmax(axis=1)
    metrics = score(labels, probabilities)
    assert metrics.accuracy.value == pytest.approx(np.mean(predicted == labels))
    assert metrics.balanced_accuracy.value == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert metrics.macro_f1.value == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert metrics.log_loss == pytest.approx(log_loss(labels, probabilities, labels=range(8)), rel=1e-4)
    np.testing.assert_array_equal(metrics.confusion, confusion_matrix(labels, predicted, labels=range(8)))


def test_intervals_hold_their_values_and_shrink_with_more_images() -> None:
    few, many = (score(*answers(n)) for n in (200, 5000))
    for metrics in (few, many):
        for name, estimate in metrics.estimates().items():
            assert estimate.low <= estimate.value <= estimate.high, name
    for name in ("accuracy", "balanced_accuracy", "macro_f1"):
        narrow, wide = many.estimates()[name], few.estimates()[name]
        assert narrow.high - narrow.low < (wide.high - wide.low) / 2


def test_bootstrap_interval_of_balanced_accuracy_covers_the_truth() -> None:
    # The population is the classifier itself; 95 % intervals of 200 samples of 400 images should hold its true value.
    truth = score(*answers(400_000, seed=99)).balanced_accuracy.value
    covered = sum(
        estimate.low <= truth <= estimate.high
        for estimate in (score(*answers(400, seed=1000 + i)).balanced_accuracy for i in range(200))
    )
    assert 0.90 <= covered / 200 <= 0.99


def test_a_type_without_an_image_is_left_out() -> None:
    labels, probabilities = answers(400)
    kept = labels != CellType.IG.position
    metrics = score(labels[kept], probabilities[kept])
    assert CellType.IG not in metrics.sensitivity
    assert metrics.support[CellType.IG] == 0
    assert "sensitivity_ig" not in metrics.flat()
    assert metrics.balanced_accuracy.value == pytest.approx(np.mean([e.value for e in metrics.sensitivity.values()]))


def test_perfect_and_useless_answers() -> None:
    labels = np.arange(80) % 8
    perfect = score(labels, np.eye(8)[labels])
    assert perfect.macro_f1.value == perfect.macro_f1.high == 1
    assert perfect.accuracy.low < 1
    assert perfect.ece == 0
    assert perfect.log_loss == 0
    useless = score(labels, np.full((80, 8), 1 / 8))
    assert useless.accuracy.value == useless.balanced_accuracy.value == 1 / 8
    assert np.isfinite(score(labels, np.eye(8)[(labels + 1) % 8]).log_loss)


def test_json_round_trip_and_flat_names() -> None:
    metrics = score(*answers(100))
    assert Metrics.model_validate_json(metrics.model_dump_json()) == metrics
    scores = scores_of(0.9, external=True, seeds=True)
    assert Scores.model_validate_json(scores.model_dump_json()) == scores
    flat = scores.flat()
    for cell in CELL_TYPES:
        assert flat[f"test_sensitivity_{cell}_low"] <= flat[f"test_sensitivity_{cell}"]
    assert {"validation_accuracy", "test_macro_f1_high", "test_ece", "test_n"} <= set(flat)
    assert flat["external_elsewhere_accuracy"] == scores.external[0].metrics.accuracy.value
    assert flat["stress_mean_balanced_error_low"] == scores.stress.mean_balanced_error.low
    assert flat["seeds_test_accuracy_mean"] == pytest.approx(0.92)
    assert flat["seeds_test_accuracy_sd"] == pytest.approx(0.01)
    assert flat["calibration_temperature"] == 1.3
    # MLflow refuses other characters, and dvc reads a dot as a step into a table
    assert all(re.fullmatch(r"[a-z0-9_]+", name) for name in flat)


def test_what_cannot_be_scored_is_refused() -> None:
    labels, probabilities = answers(10)
    with pytest.raises(ValueError, match="cannot be scored"):
        score(labels[:9], probabilities)
    with pytest.raises(ValueError, match="cannot be scored"):
        score(labels[:0], probabilities[:0])


def test_scoring_2500_images_takes_no_time() -> None:
    labels, probabilities = answers(2500)
    start = time.process_time()
    score(labels, probabilities)
    assert time.process_time() - start < 1.0


def test_no_error_among_few_images_is_not_certainty() -> None:
    labels = np.repeat(np.arange(8), 5)
    found = score(labels, np.eye(8)[labels])
    assert found.macro_f1.value == 1.0
    assert found.macro_f1.low == found.accuracy.low < 0.95


def test_no_hit_among_few_images_is_not_certainty() -> None:
    labels = np.repeat(np.arange(8), 5)
    found = score(labels, np.eye(8)[(labels + 1) % 8])
    for estimate in (found.balanced_accuracy, found.macro_f1):
        assert (estimate.value, estimate.low) == (0.0, 0.0)
        assert estimate.high == found.accuracy.high > 0.05


def test_specificity_agrees_with_scikit_learn() -> None:
    labels, probabilities = answers(500, sharpness=2.0)
    found = score(labels, probabilities).specificity
    tables = multilabel_confusion_matrix(labels, probabilities.argmax(axis=1), labels=range(8))
    for cell, ((true_negative, false_positive), _) in zip(CELL_TYPES, tables, strict=True):
        assert found[cell].value == pytest.approx(true_negative / (true_negative + false_positive))
        assert found[cell].low < found[cell].value <= found[cell].high
    assert not set(score(np.zeros(5, dtype=int), np.eye(8)[[0] * 5]).specificity) & {CellType.BASOPHIL}


def test_subtypes_are_answered_apart() -> None:
    neutrophil, ig = CellType.NEUTROPHIL.position, CellType.IG.position
    labels = np.array([neutrophil] * 4 + [ig] * 2)
    predicted = np.array([neutrophil, neutrophil, ig, neutrophil, ig, neutrophil])
    names = ["band neutrophil", "segmented neutrophil", "band neutrophil", None, "myelocyte", "band neutrophil"]
    found = score(labels, np.eye(8)[predicted], subtypes=names).subtypes
    # the last is a band neutrophil that was filed under ig
    assert [(s.name, s.cell_type, s.n, s.sensitivity.value) for s in found] == [
        ("myelocyte", CellType.IG, 1, 1.0),
        ("band neutrophil", CellType.IG, 1, 0.0),
        ("band neutrophil", CellType.NEUTROPHIL, 2, 0.5),
        ("segmented neutrophil", CellType.NEUTROPHIL, 1, 1.0),
    ]
    assert found[2].predicted[ig] == found[2].predicted[neutrophil] == 1
    assert score(labels, np.eye(8)[predicted]).subtypes == ()


def test_several_seeds_give_mean_and_sample_deviation() -> None:
    runs = scores_of(0.9, seeds=True).seeds
    assert runs is not None
    accuracies = [run.test_accuracy for run in runs.runs]
    assert runs.mean.test_accuracy == pytest.approx(np.mean(accuracies))
    assert runs.standard_deviation.test_accuracy == pytest.approx(np.std(accuracies, ddof=1))
    with pytest.raises(ValueError, match="at least"):
        Seeds.of(runs.runs[:1])


def test_seeds_scored_without_an_image_of_ig_tell_no_sensitivity_for_it() -> None:
    scores = scores_of(0.9, seeds=True)
    assert scores.seeds is not None
    seeds = Seeds.of([run.model_copy(update={"test_ig_sensitivity": None}) for run in scores.seeds.runs])
    assert seeds.mean.test_ig_sensitivity is seeds.standard_deviation.test_ig_sensitivity is None
    assert seeds.mean.test_accuracy == scores.seeds.mean.test_accuracy
    without = scores.model_copy(update={"seeds": seeds})
    missing = {"seeds_test_ig_sensitivity_mean", "seeds_test_ig_sensitivity_sd"}
    assert set(scores.flat()) - set(without.flat()) == missing
    assert Scores.model_validate_json(without.model_dump_json()) == without
