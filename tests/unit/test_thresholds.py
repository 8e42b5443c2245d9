from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from observed import observed
from scipy.stats import kstest

from bloodyspy.errors import MonitoringError
from bloodyspy.observation import EMBEDDING
from monitoring.comparison import CASE_MIX, FEATURES, JUDGED, MEASURED, Comparison, codes_of, counts_of, kolmogorov
from monitoring.resampling import null
from monitoring.thresholds import LARGEST, Thresholds, stepped

LYMPHOCYTES = [0.05, 0.05, 0.05, 0.05, 0.65, 0.05, 0.05, 0.05]


@given(st.lists(st.floats(0.001, 0.999), min_size=1, max_size=40))
@settings(deadline=None)
def test_kolmogorovs_distance_is_scipys(places: list[float]) -> None:
    assert kolmogorov(np.array(places)[None])[0] == pytest.approx(kstest(places, "uniform").statistic)


def test_places_are_shares_of_the_same_type_that_lie_below() -> None:
    reference = observed(400, seed=0)
    comparison = Comparison(reference)
    own = reference.loc[reference["predicted"] == "ig", "red"].sort_values().to_numpy()
    n = len(own)
    between = (own[10] + own[11]) / 2
    assert comparison.places("red", [between], ["ig"]) == pytest.approx([11.5 / (n + 1)])
    assert comparison.places("red", [-1e9, 1e9], ["ig", "ig"]) == pytest.approx([0.5 / (n + 1), 1 - 0.5 / (n + 1)])
    shared = comparison.places("red", [between] * 4, ["ig"] * 4)
    assert np.sort(shared) == pytest.approx((11 + np.array([1, 3, 5, 7]) / 8) / (n + 1))
    # All are 360 wide there, so 360 may lie anywhere and says nothing.
    assert kolmogorov(comparison.places("width", [360] * 50, ["ig"] * 50)[None])[0] < 0.02


def test_a_change_of_mix_alone_moves_no_distance_within_types() -> None:
    reference, window = observed(2_000, seed=0), observed(2_000, seed=1, mix=LYMPHOCYTES)
    for frame in (reference, window):
        frame.loc[frame["predicted"] == "lymphocyte", "red"] += 500
    comparison = Comparison(reference)
    found = comparison.distances(window)
    unit = comparison.unit(counts_of(codes_of(window["predicted"])))
    assert found["red"] < 1.6 * unit  # 1.63 is the 99 % point of Kolmogorov's distribution
    assert found[FEATURES] < 1.6 * unit
    assert found[CASE_MIX] == pytest.approx(0.525 / np.sqrt(0.125 * 0.875), abs=0.12)
    name, before, now = comparison.moved_type(window)
    assert (name, before, now) == ("lymphocyte", pytest.approx(0.125, abs=0.03), pytest.approx(0.65, abs=0.04))
    assert comparison.expected(window)["red"] == pytest.approx(window["red"].mean(), abs=3)


def test_the_unit_is_the_deviation_of_a_weighted_difference_of_means() -> None:
    """Of a window of 3 and 1 against references of 10 and 20: sqrt(3^2 (1/3 + 1/10) + 1 (1 + 1/20)) / 4."""
    reference = observed(30, seed=0)
    reference["predicted"] = ["ig"] * 10 + ["monocyte"] * 20
    counts = np.array([0, 0, 0, 3, 0, 1, 0, 0])
    expected = np.sqrt(9 * (1 / 3 + 1 / 10) + (1 + 1 / 20)) / 4
    assert Comparison(reference).unit(counts) == pytest.approx(expected)


def test_share_distance_by_hand() -> None:
    reference = observed(40, seed=0)
    reference["predicted"] = ["ig"] * 20 + ["monocyte"] * 20
    comparison = Comparison(reference)
    assert comparison.share_distance(["ig", "monocyte"]) == 0
    # Half of 40 pictures and 4 more of Jeffreys' prior: a deviation is sqrt(20.5 / 44 * 23.5 / 44).
    deviation = np.sqrt(20.5 * 23.5) / 44
    assert comparison.share_distance(["ig", "ig", "ig", "monocyte"]) == pytest.approx(0.25 / deviation)
    never_seen = np.sqrt(0.5 * 43.5) / 44
    assert comparison.share_distance(["platelet"]) == pytest.approx(1 / never_seen)


def test_a_type_of_too_few_in_the_reference_counts_in_the_mix_alone() -> None:
    reference = observed(60, seed=0)
    reference["predicted"] = ["ig"] * 55 + ["monocyte"] * 5
    comparison = Comparison(reference)
    assert len(comparison.places("red", [100.0] * 3, ["ig", "monocyte", "platelet"])) == 1
    window = observed(50, seed=1, stain=9)
    window["predicted"] = "platelet"
    found = comparison.distances(window)
    assert (found["green_red"], found[FEATURES]) == (0, 0)
    limits = Thresholds.calibrate(comparison, 50, 200).of(comparison, window, 0.01)
    assert limits["green_red"] == np.inf
    assert found[CASE_MIX] > limits[CASE_MIX]


def test_the_same_arguments_give_the_same_thresholds() -> None:
    comparison = Comparison(observed(84, seed=1))
    first, again = (null(comparison, 50, 50) for _ in range(2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, null(comparison, 50, 50, seed=1))
    assert first.shape == (50, len(JUDGED))


def test_each_column_has_kolmogorovs_null_distribution() -> None:
    # 1.358 is the 95 % point; "darkest" is rounded and must not fall below it.
    without = null(Comparison(observed(400, seed=2)), 200, 1_500)
    for name in ("red", "darkest", "confidence"):
        assert np.quantile(without[:, JUDGED.index(name)], 0.95) == pytest.approx(1.358, rel=0.06)


def test_the_tail_is_extrapolated_from_resamples_as_it_goes_on() -> None:
    """The largest of several distances whose squares are exponential: what so rare an alarm needs is known."""
    random = np.random.default_rng(0)
    largest = np.sort(np.sqrt(random.exponential(0.5, (2_000, 5))).max(axis=1))
    known = Thresholds(np.ones(len(JUDGED)), largest)
    for rate in (0.05, 0.01, 0.0007):
        exact = np.sqrt(-0.5 * np.log(1 - (1 - rate) ** (1 / 5)))
        assert exact * 0.99 < known.factor(rate) < exact * 1.1
    assert known.factor(0.0001) > known.factor(0.001) > known.factor(0.02)


@pytest.mark.parametrize(("size", "rows"), [(150, 200), (400, 50)])
def test_windows_without_drift_raise_the_stated_share_of_alarms(size: int, rows: int) -> None:
    rate, trials = 0.05, 200
    known = Thresholds.calibrate(Comparison(observed(size, seed=0)), rows, 1_000)
    alarms = 0
    for trial in range(trials):
        comparison, window = Comparison(observed(size, seed=10_000 + trial)), observed(rows, seed=20_000 + trial)
        found, limits = comparison.distances(window), known.of(comparison, window, rate)
        alarms += any(found[name] > limits[name] for name in JUDGED)
    # Three binomial deviations above the stated rate, and not a tenth of it either: a threshold may not hide drift.
    assert rate / 10 < alarms / trials < rate + 3 * np.sqrt(rate * (1 - rate) / trials)


def test_a_small_shift_of_colour_is_over_the_threshold() -> None:
    comparison, window = Comparison(observed(400, seed=0)), observed(100, seed=5, stain=1.0)
    limits, found = Thresholds.calibrate(comparison, 100).of(comparison, window, 0.01), comparison.distances(window)
    assert [name for name in JUDGED if found[name] > limits[name]] == ["green_red", "blue_yellow", "saturation"]


def test_a_column_constant_in_the_reference_takes_one_odd_picture_but_no_other_constant() -> None:
    comparison, window = Comparison(observed(160, seed=0)), observed(50, seed=1)
    window.loc[0, "width"] = 366
    limit = Thresholds.calibrate(comparison, 50).of(comparison, window, 0.01)["width"]
    assert 0 < comparison.distances(window)["width"] < limit
    window["width"] = 366
    assert comparison.distances(window)["width"] > 0.9 > limit


def test_a_type_absent_from_a_small_reference_may_appear() -> None:
    comparison = Comparison(observed(80, seed=0, mix=[0.17, 0.17, 0.17, 0.17, 0.16, 0.16, 0, 0]))
    window = observed(60, seed=1, mix=[0.15, 0.16, 0.17, 0.16, 0.16, 0.16, 0.02, 0.02])
    limits = Thresholds.calibrate(comparison, 60).of(comparison, window, 0.01)
    assert comparison.distances(window)[CASE_MIX] < limits[CASE_MIX]


def test_thresholds_are_kept_by_reference_and_size(tmp_path: Path) -> None:
    reference = observed(200, seed=0)
    comparison = Comparison(reference)
    first = Thresholds.kept(comparison, reference, 60, tmp_path)
    (file,) = tmp_path.iterdir()
    assert np.array_equal(Thresholds.kept(comparison, reference, 60, tmp_path).largest, first.largest)
    file.write_bytes(file.read_bytes()[:100])  # a disk that was full
    assert np.array_equal(Thresholds.kept(comparison, reference, 60, tmp_path).largest, first.largest)
    Thresholds.kept(comparison, reference, 61, tmp_path)  # of the same step
    other = observed(200, seed=1)
    Thresholds.kept(Comparison(other), other, 60, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_sizes_go_in_steps_of_an_eighth() -> None:
    assert [stepped(n) for n in (10, 11, 13, 100, 10**7)] == [10, 11, 13, 91, stepped(LARGEST)]
    assert all(stepped(n) <= n <= 1.13 * stepped(n) for n in range(16, LARGEST, 7))


def test_a_reference_that_cannot_be_compared_with_is_refused_with_the_remedy() -> None:
    with pytest.raises(MonitoringError, match="measure alike"):
        Comparison(pd.concat([observed(1, seed=0)] * 60, ignore_index=True))
    with pytest.raises(MonitoringError, match="No predicted type has 8 rows"):
        Comparison(observed(9, seed=0))


def test_an_embedding_that_moves_is_seen() -> None:
    reference, window = observed(400, seed=0), observed(100, seed=1)
    comparison = Comparison(reference)
    before = comparison.embedding_distance(window)
    window[EMBEDDING[12]] += 1.5
    assert comparison.embedding_distance(window) > 1.5 * before
    assert set(MEASURED) < set(JUDGED)
