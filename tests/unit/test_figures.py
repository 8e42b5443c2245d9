"""What the figures say, at the borders, too; how they look was looked at."""

from pathlib import Path

import numpy as np
import pytest
from handmade import scores_of
from matplotlib.figure import Figure
from matplotlib.text import Text

from bloodyspy.evaluation import figures
from bloodyspy.evaluation.metrics import Metrics, score


def words_of(figure: Figure, place: Path) -> str:
    """Every word of a figure that could be drawn to the end."""
    figure.savefig(place / "figure.png")
    return "\n".join(text.get_text() for text in figure.findobj(Text))


@pytest.fixture
def metrics() -> Metrics:
    return scores_of(0.9).test


def test_confusion_by_subtype_names_every_row_and_its_sensitivity(metrics: Metrics, tmp_path: Path) -> None:
    words = words_of(figures.confusion_by_subtype(metrics, "small_cnn"), tmp_path)
    for subtype in metrics.subtypes:
        assert f"{subtype.name}  ({subtype.n})" in words
        assert str(subtype.sensitivity) in words


def test_a_wrongly_filed_subtype_is_told_apart(tmp_path: Path) -> None:
    found = score(np.array([3, 6]), np.eye(8)[[3, 6]], subtypes=["band neutrophil"] * 2)
    words = words_of(figures.confusion_by_subtype(found, "small_cnn"), tmp_path)
    assert "band neutrophil as ig" in words
    assert "band neutrophil as neutrophil" in words


def test_one_type_and_no_subtype_can_be_drawn(tmp_path: Path) -> None:
    found = score(np.zeros(3, dtype=int), np.eye(8)[[0, 1, 0]])
    assert "no file name tells a sub-type" in words_of(figures.confusion_by_subtype(found, "one"), tmp_path)
    assert "specificity" not in words_of(figures.sensitivity(found, "one", 0.7), tmp_path)
    assert "at most 1.0% wrong" in words_of(figures.risk_coverage(found, "one"), tmp_path)


def test_sensitivity_and_specificity_stand_side_by_side(metrics: Metrics, tmp_path: Path) -> None:
    figure = figures.sensitivity(metrics, "small_cnn", 0.7)
    words = words_of(figure, tmp_path)
    assert "sensitivity, 95 % interval" in words
    assert "specificity, 95 % interval" in words
    assert f"mean {metrics.balanced_accuracy.value:.1%}" in words


def test_reliability_and_risk_tell_their_numbers(metrics: Metrics, tmp_path: Path) -> None:
    found = scores_of(0.9).calibration
    words = words_of(figures.reliability(found.test_before, found.test_after, "small_cnn"), tmp_path)
    assert f"{found.test_before.ece:.2%}" in words
    assert f"{found.test_after.ece:.2%}" in words
    words = words_of(figures.risk_coverage(metrics, "small_cnn"), tmp_path)
    for point in metrics.risk_coverage.coverage_at_risk:
        assert f"at most {point.risk:.1%} wrong: {point.coverage:.1%} answered" in words
