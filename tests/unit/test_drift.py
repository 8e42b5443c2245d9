from collections.abc import Iterator
from datetime import timedelta

import numpy as np
import pytest
from observed import RUN, START, live, observed, signatures

from bloodyspy.errors import MonitoringError
from monitoring.accuracy import Calibrated
from monitoring.causes import Cause
from monitoring.comparison import JUDGED
from monitoring.drift import Rule, judge
from monitoring.verdict import Kind, Overall, Verdict

RULE = Rule(minimum_rows=50, rate=0.01)
SIGNATURES = signatures()


@pytest.fixture(scope="module", autouse=True)
def kept_thresholds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Most tests here have one reference: it is resampled once."""
    folder = tmp_path_factory.mktemp("thresholds")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(judge.__kwdefaults__, "thresholds", folder)
        yield


LYMPHOCYTES = [0.05, 0.05, 0.05, 0.05, 0.65, 0.05, 0.05, 0.05]


def test_a_window_like_the_reference_is_stable() -> None:
    current = live(observed(100, seed=2))
    verdict = judge(observed(400, seed=1), current, RULE, SIGNATURES)
    assert verdict.overall is Overall.STABLE
    assert verdict.drifted_columns == ()
    assert "Nothing in 100 observations" in verdict.reason
    assert (verdict.rows, verdict.reference_rows, verdict.run_id, verdict.model_version) == (100, 400, RUN, 3)
    assert (verdict.start, verdict.end) == (START, START + timedelta(seconds=99))
    assert {column.name for column in verdict.columns} == set(JUDGED)


def test_a_shifted_window_is_drifted_and_names_the_cause_and_what_moved_most_first() -> None:
    verdict = judge(observed(400, seed=1), live(observed(100, seed=2, stain=2)), RULE, SIGNATURES)
    assert (verdict.overall, verdict.cause) == (Overall.DRIFTED, Cause.STAIN)
    assert set(verdict.drifted_columns) == {"green_red", "blue_yellow", "saturation"}
    assert verdict.drifted_kinds == (Kind.OPTICS,)
    ratios = [column.ratio for column in verdict.columns]
    assert ratios == sorted(ratios, reverse=True)
    worst = verdict.columns[0]
    assert verdict.reason.startswith("The stain looks different: within each predicted type 3 of 19")
    assert isinstance(worst.reference, float)
    assert worst.current == pytest.approx(worst.reference + 26, abs=4)


@pytest.mark.parametrize(
    ("moved", "cause"),
    [
        ({"sharpness": -15, "edges": -15, "noise": -15}, Cause.FOCUS),
        ({"brightness": -15, "background": -15, "lightest": -15}, Cause.EXPOSURE),
        ({"sharpness": 15, "nucleus_share": 15, "red": -15}, Cause.OTHER),
        ({"width": 6, "height": 3}, Cause.SIZE),
    ],
)
def test_the_fault_whose_mark_fits_names_the_cause(moved: dict[str, int], cause: Cause) -> None:
    current = live(observed(100, seed=2))
    for name, change in moved.items():
        current[name] += change
    verdict = judge(observed(400, seed=1), current, RULE, SIGNATURES)
    assert verdict.cause is cause, verdict.reason
    assert ("no known fault" in verdict.reason) == (cause is Cause.OTHER)


def test_a_change_of_patients_alone_is_told_as_such() -> None:
    """Here lymphocytes measure otherwise than all others, as they do in life: their share moves every mean."""
    reference, current = observed(400, seed=1), live(observed(100, seed=2, mix=LYMPHOCYTES))
    for frame in (reference, current):
        frame.loc[frame["predicted"] == "lymphocyte", ["brightness", "edges"]] += 40
        frame.loc[frame["predicted"] == "lymphocyte", "embedding_9"] += 9
    verdict = judge(reference, current, RULE, SIGNATURES, calibrated=Calibrated(0.0, 0.005))
    assert (verdict.overall, verdict.cause) == (Overall.DRIFTED, Cause.CASE_MIX)
    assert verdict.drifted_columns == ("predicted",)
    assert "other patients" in verdict.reason
    assert str(verdict.columns[0].current).startswith("lymphocyte 6")
    assert verdict.accuracy is not None  # within each type the probabilities are as good as ever


def test_a_change_of_patients_beside_others_is_told_with_them() -> None:
    verdict = judge(observed(400, seed=1), live(observed(100, seed=2, mix=LYMPHOCYTES, stain=2)), RULE, SIGNATURES)
    assert verdict.cause is Cause.STAIN
    assert verdict.drifted_kinds == (Kind.OPTICS, Kind.CASE_MIX)
    assert "the mix of predicted types changed too (lymphocyte" in verdict.reason


def test_cells_that_the_network_has_not_learnt_are_told_where_the_pictures_measure_as_before() -> None:
    current = live(observed(100, seed=2))
    current["embedding_12"] += 2.0
    verdict = judge(observed(400, seed=1), current, RULE, SIGNATURES)
    assert (verdict.cause, verdict.drifted_columns) == (Cause.CONTENT, ("embedding",))
    assert "other cells than it was measured on (embedding)" in verdict.reason


def test_the_accuracy_is_estimated_where_the_pictures_are_like_the_references_and_withheld_elsewhere() -> None:
    reference, calibrated = observed(400, seed=1), Calibrated(gap=-0.01, error=0.003)
    current = live(observed(200, seed=2))
    found = judge(reference, current, RULE, SIGNATURES, calibrated=calibrated).accuracy
    assert found is not None
    p = current["confidence"].to_numpy()
    assert found.value == pytest.approx(p.mean() - 0.01)
    assert found.high - found.value == pytest.approx(
        1.96 * np.hypot(np.sqrt((p * (1 - p)).sum()) / 200, 0.003), rel=1e-3
    )
    elsewhere = judge(reference, live(observed(200, seed=2, stain=2)), RULE, SIGNATURES, calibrated=calibrated)
    assert elsewhere.accuracy is None
    assert "label a sample" in elsewhere.accuracy_withheld


def test_too_few_rows_are_insufficient() -> None:
    few = judge(observed(200, seed=1), live(observed(49, seed=2, stain=9)), RULE, SIGNATURES)
    assert (few.overall, few.columns) == (Overall.INSUFFICIENT, ())
    assert "Only 49 observations of this model; at least 50" in few.reason
    none = judge(observed(200, seed=1), live(observed(0, seed=2)), RULE, SIGNATURES)
    assert (none.overall, none.start, none.end, none.model_version) == (Overall.INSUFFICIENT, None, None, None)
    small = judge(observed(30, seed=1), live(observed(100, seed=2)), RULE, SIGNATURES)
    assert small.overall is Overall.INSUFFICIENT
    assert "reference has only 30 rows" in small.reason


def test_rows_of_two_models_are_not_judged_together() -> None:
    with pytest.raises(MonitoringError, match="2 models"):
        judge(observed(200, seed=1), live(observed(100, seed=2, run_id="b" * 32)), RULE, SIGNATURES)
    with pytest.raises(MonitoringError, match="no rows"):
        judge(observed(0, seed=1), live(observed(100, seed=2)), RULE, SIGNATURES)


@pytest.mark.parametrize("rows", [0, 100])
def test_a_verdict_survives_json(rows: int) -> None:
    verdict = judge(
        observed(200, seed=1), live(observed(rows, seed=2)), RULE, SIGNATURES, torn_lines=1, corrupt_lines=2
    )
    assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict
