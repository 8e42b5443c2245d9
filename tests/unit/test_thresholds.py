import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from observed import observed
from scipy.stats import ks_2samp

from bloodyspy.errors import MonitoringError
from monitoring.thresholds import (
    CASE_MIX,
    JUDGED,
    calibrate,
    distances,
    ks_distance,
    null_distances,
    share_distance,
)

samples = st.lists(st.integers(-3, 3) | st.floats(-5, 5), min_size=1, max_size=40)


@given(samples, samples)
@settings(deadline=None)
def test_ks_distance_is_the_largest_gap_of_cumulative_shares(first: list[float], second: list[float]) -> None:
    gaps = [abs(np.mean(np.array(first) <= x) - np.mean(np.array(second) <= x)) for x in first + second]
    assert ks_distance(first, second) == pytest.approx(max(gaps))


def test_ks_distance_is_scipys() -> None:
    reference, window = observed(84, seed=1), observed(50, seed=2)
    for name in ("red", "darkest", "confidence"):
        assert ks_distance(reference[name], window[name]) == pytest.approx(
            ks_2samp(reference[name], window[name]).statistic
        )


def test_constants_are_equal_or_apart() -> None:
    assert ks_distance([360] * 80, [360] * 50) == 0
    assert ks_distance([360] * 80, [366] * 50) == 1


def test_share_distance_by_hand() -> None:
    reference = ["ig"] * 5 + ["monocyte"] * 5
    assert share_distance(reference, reference[::-1]) == 0
    assert share_distance(reference, ["platelet"]) == 1
    assert share_distance(reference, ["ig", "ig", "ig", "monocyte"]) == pytest.approx(0.25)


def test_the_same_arguments_give_the_same_thresholds() -> None:
    reference = observed(84, seed=1)
    first = calibrate(reference, 50, 0.05)
    assert calibrate(reference, 50, 0.05) == first
    assert calibrate(reference, 50, 0.05, seed=1) != first
    assert tuple(first) == JUDGED


def test_thresholds_shrink_with_the_samples_and_grow_with_the_rarity_of_alarms() -> None:
    few, many = observed(84, seed=1), observed(400, seed=1)
    assert calibrate(few, 200, 0.05)["red"] < calibrate(few, 50, 0.05)["red"]
    assert calibrate(many, 50, 0.05)["red"] < calibrate(few, 50, 0.05)["red"]
    assert calibrate(few, 50, 0.01)["red"] > calibrate(few, 50, 0.05)["red"]


def test_each_measured_column_has_the_null_distribution_of_a_continuous_one() -> None:
    # 1.358 is the 95 % point of the Kolmogorov distribution; "darkest" is rounded and must not fall below it.
    null = null_distances(observed(400, seed=2), 200, 4_000)
    asymptotic = 1.358 * np.sqrt(1 / 400 + 1 / 200)
    for name in ("red", "darkest", "confidence"):
        assert np.quantile(null[:, JUDGED.index(name)], 0.95) == pytest.approx(asymptotic, rel=0.05)


@pytest.mark.parametrize(("size", "rows"), [(84, 200), (300, 50)])
def test_windows_without_drift_raise_the_stated_share_of_alarms(size: int, rows: int) -> None:
    rate, trials = 0.05, 250
    thresholds = calibrate(observed(size, seed=0), rows, rate)
    alarms = 0
    for trial in range(trials):
        found = distances(observed(size, seed=10_000 + trial), observed(rows, seed=20_000 + trial))
        alarms += any(found[name] > thresholds[name] for name in JUDGED)
    # Three binomial deviations above the stated rate, and not a tenth of it either: a threshold may not hide drift.
    assert rate / 10 < alarms / trials < rate + 3 * np.sqrt(rate * (1 - rate) / trials)


def test_a_small_shift_of_colour_is_over_the_threshold() -> None:
    reference = observed(300, seed=0)
    thresholds = calibrate(reference, 100, 0.01)
    found = distances(reference, observed(100, seed=5, stain=1.0))
    assert [name for name in JUDGED if found[name] > thresholds[name]] == ["green_red", "blue_yellow", "saturation"]


def test_a_column_constant_in_the_reference_takes_one_odd_picture_but_no_other_constant() -> None:
    reference, window = observed(84, seed=0), observed(50, seed=1)
    threshold = calibrate(reference, 50, 0.01)["width"]
    window.loc[0, "width"] = 366
    assert 0 < distances(reference, window)["width"] < threshold
    window["width"] = 366
    assert distances(reference, window)["width"] == 1 > threshold


def test_a_class_absent_from_a_small_reference_may_appear() -> None:
    mix = [0.17, 0.17, 0.17, 0.17, 0.16, 0.16, 0, 0]
    reference = observed(60, seed=0, mix=mix)
    window = observed(60, seed=1, mix=[0.15, 0.16, 0.17, 0.16, 0.16, 0.16, 0.02, 0.02])
    assert distances(reference, window)[CASE_MIX] < calibrate(reference, 60, 0.01)[CASE_MIX]


def test_a_rate_too_rare_to_calibrate_is_refused_with_the_remedy() -> None:
    with pytest.raises(MonitoringError, match=r"monitoring\.false_alarm_rate in params\.yaml to 0\.001"):
        calibrate(observed(60, seed=0), 50, 0.0001)


def test_a_reference_of_equal_rows_is_refused() -> None:
    reference = pd.concat([observed(1, seed=0)] * 60, ignore_index=True)
    with pytest.raises(MonitoringError, match="measure alike"):
        calibrate(reference, 50, 0.01)
