"""Intervals against SciPy, published examples and their own coverage."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap
from statsmodels.stats.proportion import proportion_confint

from bloodyspy.evaluation.intervals import Estimate, percentile, resampled_confusions, wilson


def test_wilson_agrees_with_the_published_example() -> None:
    # Newcombe (1998), Statistics in Medicine 17:857, table I, method 3: 81 of 263
    estimate = wilson(81, 263)
    assert (estimate.low, estimate.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)


@pytest.mark.parametrize("trials", [1, 7, 22, 2500])
def test_wilson_stays_a_fraction_at_the_borders(trials: int) -> None:
    none, every = wilson(0, trials), wilson(trials, trials)
    assert none.low == pytest.approx(0, abs=1e-12)
    assert 0 < none.high < 1
    assert every.high == pytest.approx(1, abs=1e-12)
    assert 0 < every.low < 1


@given(st.integers(1, 5000).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials))))
def test_wilson_is_statsmodels(counted: tuple[int, int]) -> None:
    successes, trials = counted
    estimate = wilson(successes, trials)
    expected = proportion_confint(successes, trials, alpha=0.05, method="wilson")
    assert (estimate.low, estimate.high) == pytest.approx(expected, abs=1e-9)
    assert estimate.low <= estimate.value == successes / trials <= estimate.high


def test_an_interval_upside_down_is_refused() -> None:
    with pytest.raises(ValueError, match="low end"):
        Estimate(value=0.5, low=0.6, high=0.4)


def test_multinomial_resampling_is_the_bootstrap_of_images() -> None:
    rng = np.random.default_rng(3)
    actual = rng.integers(0, 8, 400)
    predicted = np.where(rng.random(400) < 0.85, actual, rng.integers(0, 8, 400))
    confusion = np.bincount(actual * 8 + predicted, minlength=64).reshape(8, 8)
    resampled = resampled_confusions(confusion, seed=0, resamples=20_000)
    ours = percentile(0.5, np.trace(resampled, axis1=1, axis2=2) / 400)
    theirs = bootstrap(((actual == predicted).astype(float),), np.mean, n_resamples=20_000, method="percentile", rng=1)
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.004)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.004)


def test_resampling_is_seeded_and_keeps_the_number_of_images() -> None:
    confusion = np.diag([5] * 8) + 1
    once, again = (resampled_confusions(confusion, seed=4, resamples=50) for _ in range(2))
    np.testing.assert_array_equal(once, again)
    assert (once.sum(axis=(1, 2)) == confusion.sum()).all()
    assert (once != resampled_confusions(confusion, seed=5, resamples=50)).any()
