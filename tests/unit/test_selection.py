"""Risk and coverage against worked examples, published formulas and their borders."""

import numpy as np
import pytest

from bloodyspy.evaluation.selection import risk_coverage


def test_a_worked_example() -> None:
    # By falling confidence right, right, wrong, right, wrong: risks 0, 0, 1/3, 1/4, 2/5 at coverages 1/5 to 1.
    confidence = np.array([0.6, 0.99, 0.7, 0.9, 0.8])
    correct = np.array([False, True, True, True, False])
    found = risk_coverage(correct, confidence)
    assert found.aurc == pytest.approx((0 + 0 + 1 / 3 + 1 / 4 + 2 / 5) / 5)
    assert [p.coverage for p in found.points] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert [p.risk for p in found.points] == pytest.approx([0, 0, 1 / 3, 1 / 4, 2 / 5])
    assert [(p.risk, p.coverage) for p in found.coverage_at_risk] == [(0.01, 0.4), (0.005, 0.4)]


def test_perfect_order_has_the_published_area() -> None:
    # Geifman, Uziel and El-Yaniv (2019), equation 5: the best area at an error rate r is r + (1 - r) ln(1 - r).
    n, r = 100_000, 0.2
    correct = np.arange(n) < n * (1 - r)
    found = risk_coverage(correct, np.linspace(1, 0, n))
    assert found.aurc == pytest.approx(r + (1 - r) * np.log(1 - r), abs=1e-4)
    assert found.coverage_at_risk[0].coverage == pytest.approx((1 - r) / 0.99, abs=1e-4)


def test_confidence_that_tells_nothing_has_the_error_rate_as_area() -> None:
    correct = np.arange(1000) % 10 > 0
    same = risk_coverage(correct, np.full(1000, 0.9))
    assert same.aurc == pytest.approx(0.1)
    assert [(p.coverage, p.risk) for p in same.points] == [(1.0, pytest.approx(0.1))]
    assert same.coverage_at_risk[0].coverage == 0
    shuffled = risk_coverage(correct, np.random.default_rng(0).random(1000))
    assert shuffled.aurc == pytest.approx(0.1, abs=0.03)


def test_equally_sure_answers_are_taken_together_whatever_their_order() -> None:
    rng = np.random.default_rng(1)
    correct, confidence = rng.random(400) < 0.9, rng.integers(1, 20, 400) / 20
    order = rng.permutation(400)
    assert risk_coverage(correct, confidence) == risk_coverage(correct[order], confidence[order])


@pytest.mark.parametrize("n", [1, 7, 99, 100, 101, 1142])
def test_the_curve_is_short_and_reaches_the_end(n: int) -> None:
    rng = np.random.default_rng(n)
    correct = rng.random(n) < 0.9
    found = risk_coverage(correct, rng.random(n))
    assert len(found.points) <= 101
    assert found.points[-1].coverage == 1
    assert found.points[-1].risk == pytest.approx(1 - correct.mean())
    assert [p.coverage for p in found.points] == sorted({p.coverage for p in found.points})


def test_nothing_wrong_is_answered_whole() -> None:
    found = risk_coverage(np.ones(30, dtype=bool), np.linspace(0.5, 1, 30))
    assert found.aurc == 0
    assert {p.coverage for p in found.coverage_at_risk} == {1.0}
