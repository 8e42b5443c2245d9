from datetime import timedelta

import pytest
from observed import RUN, START, live, observed

from bloodyspy.errors import MonitoringError
from bloodyspy.params import Monitoring
from monitoring.drift import Overall, Verdict, judge
from monitoring.thresholds import JUDGED

RULE = Monitoring(window=200, minimum_rows=50, false_alarm_rate=0.01)
LYMPHOCYTES = [0.05, 0.05, 0.05, 0.05, 0.65, 0.05, 0.05, 0.05]


def test_a_window_like_the_reference_is_stable() -> None:
    current = live(observed(100, seed=2))
    verdict = judge(observed(200, seed=1), current, RULE)
    assert verdict.overall is Overall.STABLE
    assert verdict.drifted_columns == ()
    assert "No column of 100 observations" in verdict.reason
    assert (verdict.rows, verdict.reference_rows, verdict.run_id, verdict.model_version) == (100, 200, RUN, 3)
    assert (verdict.start, verdict.end) == (START, START + timedelta(seconds=99))
    assert {column.name for column in verdict.columns} == set(JUDGED)


def test_a_shifted_window_is_drifted_and_names_what_moved_most_first() -> None:
    verdict = judge(observed(200, seed=1), live(observed(100, seed=2, stain=2)), RULE)
    assert verdict.overall is Overall.DRIFTED
    assert set(verdict.drifted_columns) == {"green_red", "blue_yellow", "saturation"}
    ratios = [column.ratio for column in verdict.columns]
    assert ratios == sorted(ratios, reverse=True)
    worst = verdict.columns[0]
    assert verdict.reason.startswith(f"3 of 20 columns moved, {worst.name} from a mean of ")
    assert isinstance(worst.reference, float)
    assert worst.current == pytest.approx(worst.reference + 26, abs=4)


def test_a_change_of_patients_alone_is_told_as_such() -> None:
    verdict = judge(observed(200, seed=1), live(observed(100, seed=2, mix=LYMPHOCYTES)), RULE)
    assert verdict.overall is Overall.DRIFTED
    assert verdict.drifted_columns == ("predicted",)
    assert "other patients" in verdict.reason
    assert str(verdict.columns[0].current).startswith("lymphocyte 6")


def test_a_change_of_patients_beside_others_is_pointed_at() -> None:
    verdict = judge(observed(200, seed=1), live(observed(100, seed=2, mix=LYMPHOCYTES, stain=2)), RULE)
    assert "predicted" in verdict.drifted_columns
    assert "rule out a change of patients" in verdict.reason


def test_too_few_rows_are_insufficient() -> None:
    few = judge(observed(200, seed=1), live(observed(49, seed=2, stain=9)), RULE)
    assert (few.overall, few.columns) == (Overall.INSUFFICIENT, ())
    assert "Only 49 observations of this model; at least 50" in few.reason
    none = judge(observed(200, seed=1), live(observed(0, seed=2)), RULE)
    assert (none.overall, none.start, none.end, none.model_version) == (Overall.INSUFFICIENT, None, None, None)
    small = judge(observed(30, seed=1), live(observed(100, seed=2)), RULE)
    assert small.overall is Overall.INSUFFICIENT
    assert "reference has only 30 rows" in small.reason


def test_rows_of_two_models_are_not_judged_together() -> None:
    with pytest.raises(MonitoringError, match="2 models"):
        judge(observed(200, seed=1), live(observed(100, seed=2, run_id="b" * 32)), RULE)
    with pytest.raises(MonitoringError, match="no rows"):
        judge(observed(0, seed=1), live(observed(100, seed=2)), RULE)


@pytest.mark.parametrize("rows", [0, 100])
def test_a_verdict_survives_json(rows: int) -> None:
    verdict = judge(observed(200, seed=1), live(observed(rows, seed=2)), RULE, torn_lines=1, corrupt_lines=2)
    assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict
