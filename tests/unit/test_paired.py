"""Paired comparisons against published examples, statsmodels and scipy, and their own error rates."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap, norm
from statsmodels.stats.contingency_tables import mcnemar as published_mcnemar
from statsmodels.stats.multitest import multipletests

from bloodyspy.promotion.paired import (
    Counted,
    balanced_differences,
    balanced_not_worse,
    balanced_score_statistic,
    holm,
    holm_levels,
    images_for_a_tie,
    lower_bound,
    mcnemar,
    not_worse,
    score_statistic,
)


def single_answers(gained: int, lost: int, n: int) -> Counted:
    return Counted.of(np.repeat([1.0, -1.0, 0.0], [gained, lost, n - gained - lost]))


def tango(gained: int, lost: int, n: int, difference: float) -> float:
    """The closed form of Tango (1998), equation 4 with the constrained estimate of equation 7."""
    a, c = 2 * n, -lost * difference * (1 - difference)
    b = -gained - lost + (2 * n - gained + lost) * difference
    q = (np.sqrt(b * b - 4 * a * c) - b) / (2 * a)
    return float((gained - lost - n * difference) / np.sqrt(n * (2 * q + difference * (1 - difference))))


shares = st.integers(-8, 8).map(lambda eighths: eighths / 8)
many = st.lists(shares, min_size=1, max_size=300).map(lambda values: Counted.of(np.array(values)))
margins = st.floats(0.005, 0.5)


@given(many, margins)
def test_any_differences_have_a_p_value(counted: Counted, margin: float) -> None:
    assert 0 <= not_worse(counted, margin) <= 1
    assert 0 <= balanced_not_worse([counted, counted], margin) <= 1


def test_rounding_stops_no_decision() -> None:
    """Where the likeliest distribution lies at the edge of what is possible, and where two sums are nearly the same."""
    at_the_edge = Counted(np.array([-0.75, -0.5, 0.0, 0.75]), np.array([1, 1, 150, 2]))
    assert not_worse(at_the_edge, 0.02) == pytest.approx(norm.sf(score_statistic(at_the_edge, -0.02 + 1e-7)), abs=1e-5)
    gains = [Counted.of(np.full(100, gain)) for gain in (0.1, 0.2, -0.3)] + [Counted.of(np.zeros(100))] * 5
    assert balanced_not_worse(gains, 0) == 0.5


def test_tango_s_interval_of_the_published_example() -> None:
    # airway hyper-responsiveness before and after transplantation, as in Fagerland, Lydersen and Laake (2014),
    # Statistics in Medicine 33:2850: 1 child changed one way and 7 the other, of 21; Tango's interval there
    bounds = lower_bound(single_answers(1, 7, 21), 0.025), -lower_bound(single_answers(7, 1, 21), 0.025)
    assert bounds == pytest.approx((-0.517, -0.026), abs=5e-4)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 300), margins)
def test_single_answers_give_tango_s_statistic(gained: int, lost: int, same: int, margin: float) -> None:
    n = gained + lost + same
    if n:
        ours = score_statistic(single_answers(gained, lost, n), -margin)
        assert ours == pytest.approx(tango(gained, lost, n, -margin), rel=1e-6, abs=1e-8)


@given(many, margins)
@example(Counted.of(np.array([-0.75])), 0.49999999999999994)  # half as much again is the mean itself, but for a bit
def test_a_wider_margin_is_easier(counted: Counted, margin: float) -> None:
    assert not_worse(counted, margin) >= not_worse(counted, min(margin * 1.5, 0.9)) - 1e-9


@given(many, margins)
def test_the_bound_and_the_test_say_the_same(counted: Counted, margin: float) -> None:
    worst, p = lower_bound(counted, 0.05), not_worse(counted, margin)
    assert worst <= counted.mean + 1e-9
    if abs(worst + margin) > 1e-5:
        assert (worst > -margin) == (p < 0.05)


@given(many, margins)
def test_a_mirrored_difference_has_the_mirrored_statistic(counted: Counted, margin: float) -> None:
    mirrored = Counted(-counted.values[::-1], counted.counts[::-1])
    assert score_statistic(mirrored, margin) == pytest.approx(-score_statistic(counted, -margin), rel=1e-6, abs=1e-8)


@given(many, margins)
def test_the_statistic_is_finite_even_where_no_image_differs(counted: Counted, margin: float) -> None:
    assert np.isfinite(score_statistic(counted, -margin))


@pytest.mark.parametrize(("margin", "level"), [(0.02, 0.05), (0.04, 0.025)])
def test_a_tie_is_shown_by_so_many_images_and_not_by_one_fewer(margin: float, level: float) -> None:
    needed = images_for_a_tie(margin, level)
    assert not_worse(single_answers(0, 0, needed), margin) <= level
    assert not_worse(single_answers(0, 0, needed - 1), margin) > level


@pytest.mark.parametrize(
    ("n", "margin", "whole", "gained", "eighths"),
    [
        (199, 0.02, 0.03, 0.01, 0.0),
        (98, 0.04, 0.045, 0.005, 0.0),
        (199, 0.02, 0.0, 0.02, 0.32),  # many small losses and a few whole gains: the hardest kind found
        (98, 0.04, 0.0, 0.02, 0.48),
    ],
)
def test_a_model_that_is_worse_by_the_margin_seldom_passes(
    n: int, margin: float, whole: float, gained: float, eighths: float
) -> None:
    assert gained - whole - eighths / 8 == pytest.approx(-margin)
    rng, trials = np.random.default_rng(4), 3000
    drawn = rng.choice([-1.0, 1.0, -0.125, 0.0], (trials, n), p=[whole, gained, eighths, 1 - whole - gained - eighths])
    passed = sum(not_worse(Counted.of(one), margin) <= 0.05 for one in drawn)
    assert passed / trials <= 0.07  # an asymptotic test: 5 % and at most 6.5 % of what was tried


SIZES = (82, 216, 98, 199, 97, 94, 222, 134)


def test_of_one_class_the_balanced_statistic_is_the_plain_one() -> None:
    for values in ([0.0] * 50, [1, -1, 0, 0, 0, 0.125] * 20, [-1] * 3 + [0] * 196, [1] * 9, [-1] * 9):
        counted = Counted.of(np.array(values, dtype=np.float64))
        for difference in (-0.02, 0.0, 0.3):
            plain = score_statistic(counted, difference)
            assert balanced_score_statistic([counted], difference) == pytest.approx(plain, rel=1e-6, abs=1e-9)


@given(st.lists(many, min_size=2, max_size=5), margins)
def test_the_balanced_statistic_is_finite_and_mirrored(classes: list[Counted], margin: float) -> None:
    mirrored = [Counted(-counted.values[::-1], counted.counts[::-1]) for counted in classes]
    statistic = balanced_score_statistic(classes, -margin)
    assert np.isfinite(statistic)
    assert balanced_score_statistic(mirrored, margin) == pytest.approx(-statistic, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("lost_in", ["one small class", "every class"])
def test_a_balanced_loss_of_the_margin_seldom_passes(lost_in: str) -> None:
    """Where a percentile bootstrap lets 15 and 11 in a hundred through."""
    rng, trials, margin = np.random.default_rng(5), 400, 0.005
    passed = 0
    for _ in range(trials):
        losses = [0.04 * (size == 82) if lost_in == "one small class" else margin for size in SIZES]
        classes = [Counted.of(-rng.binomial(1, loss, n).astype(float)) for n, loss in zip(SIZES, losses, strict=True)]
        passed += balanced_not_worse(classes, margin) <= 0.05
    assert passed / trials <= 0.06


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_the_levels_are_those_of_holm_s_steps(p_values: list[float]) -> None:
    levels, corrected = holm_levels(p_values, 0.05), holm(p_values)
    assert sorted(levels) == pytest.approx([0.05 / step for step in range(len(p_values), 0, -1)])
    if all(abs(p - level) > 1e-9 for p, level in zip(p_values, levels, strict=True)):
        assert (max(corrected) <= 0.05) == all(p <= level for p, level in zip(p_values, levels, strict=True))


def test_nothing_and_impossible_differences_are_refused() -> None:
    for bad in ([], [1.2], [-3.0, 0.0], [np.nan, 0.0]):
        with pytest.raises(ValueError, match="between -1 and 1"):
            Counted.of(np.array(bad))


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.lists(st.integers(60, 140), min_size=1, max_size=4))
def test_the_bootstrap_agrees_with_scipy_s(seed: int, sizes: list[int]) -> None:
    rng = np.random.default_rng(seed)
    classes = [rng.choice([-1, -0.25, 0, 0, 0, 0.125, 1], n) for n in sizes]
    ours = np.quantile(balanced_differences([Counted.of(one) for one in classes]), 0.05)

    def balanced(*samples: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.mean([sample.mean(axis=axis) for sample in samples], axis=0)

    theirs = bootstrap(classes, balanced, n_resamples=4000, confidence_level=0.9, method="percentile", rng=2)
    assert ours == pytest.approx(theirs.confidence_interval.low, abs=0.15 * theirs.standard_error)


@given(st.integers(0, 200), st.integers(0, 200))
def test_mcnemar_is_half_of_the_two_sided_exact_test(gained: int, lost: int) -> None:
    two_sided = published_mcnemar([[5, lost], [gained, 5]], exact=True).pvalue
    better = mcnemar(gained, lost)
    if gained > lost:
        assert 2 * better == pytest.approx(two_sided)
    else:
        assert better >= 0.5


@settings(max_examples=25)  # statsmodels collects the whole process's garbage in each call
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_refuses_as_its_steps_say(p_values: list[float]) -> None:
    level, refused = 0.05, set()
    for step, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[index] > level / (len(p_values) - step):
            break
        refused.add(index)
    corrected = holm(p_values)
    assert corrected == pytest.approx(list(multipletests(p_values, method="holm")[1]))
    for index, p in enumerate(corrected):
        if abs(p - level) > 1e-9:
            assert (p <= level) == (index in refused)


def test_holm_of_nothing_is_nothing() -> None:
    assert holm([]) == []


def test_a_large_sample_s_statistic_is_the_normal_one() -> None:
    drawn = np.random.default_rng(0).choice([-1.0, 1.0, 0.0], 200_000, p=[0.05, 0.05, 0.9])
    plain = norm.sf((drawn.mean() + 0.001) / (drawn.std() / np.sqrt(len(drawn))))
    assert not_worse(Counted.of(drawn), 0.001) == pytest.approx(plain, rel=0.02)
