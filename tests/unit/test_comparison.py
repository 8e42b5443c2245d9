"""Candidates are ranked on the validation part, by the metric of params.yaml."""

import csv

import pytest
from handmade import make_artefact, scores_of

from bloodyspy.errors import ArtefactInvalid, DataMissing
from bloodyspy.evaluation.comparison import Comparison, compare, read_comparison
from bloodyspy.params import Params
from bloodyspy.settings import Settings


def test_best_on_validation_comes_first_and_is_written_down(settings: Settings, params: Params) -> None:
    make_artefact(settings.artefact("small_cnn"), candidate="small_cnn", share_right=0.8)
    make_artefact(settings.artefact("efficientnet_lite0"), candidate="efficientnet_lite0", share_right=0.95)
    comparison = compare(settings, params)
    assert comparison.best == "efficientnet_lite0"
    assert comparison.metric == "macro_f1"
    assert [row.candidate for row in comparison.rows] == ["efficientnet_lite0", "small_cnn"]
    assert comparison.synthetic
    assert read_comparison(settings) == comparison
    with settings.comparison.with_suffix(".csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["candidate"] for row in rows] == [row.candidate for row in comparison.rows]
    assert float(rows[0]["test_macro_f1_low"]) == comparison.rows[0].test_macro_f1.low
    assert all(len(words) == len(comparison.headings) for words in comparison.table())


def test_the_table_tells_calibration_stress_seeds_size_and_speed(settings: Settings, params: Params) -> None:
    often = scores_of(0.95, external=True, seeds=True)
    make_artefact(settings.artefact("efficientnet_lite0"), candidate="efficientnet_lite0", scores=often)
    make_artefact(settings.artefact("small_cnn"), candidate="small_cnn", share_right=0.8)
    comparison = compare(settings, params)
    told = {name: cells for name, *cells in comparison.columns()}
    (elsewhere,) = often.external
    assert often.seeds is not None
    assert told["candidate"] == ["efficientnet_lite0", "small_cnn"]
    assert told["mean balanced error, stress"][0] == str(often.stress.mean_balanced_error)
    assert told["balanced accuracy, elsewhere"] == [str(elsewhere.metrics.balanced_accuracy), "-"]
    assert told["test calibration error"][0].startswith(f"{often.test.ece:.2%} (untempered ")
    assert told["seeds"] == ["3", "1"]
    assert told["test accuracy, seeds"] == ["92.00% ± 1.00%", "-"]
    assert told["served by"] == ["onnxruntime float32"] * 2
    assert (told["graph"][0], told["a picture, bytes to answer"][0]) == ("0.5 MB", "3.00 ms")
    with settings.comparison.with_suffix(".csv").open(encoding="utf-8", newline="") as stream:
        first, second = csv.DictReader(stream)
    assert float(first["stress_mean_balanced_error_high"]) == often.stress.mean_balanced_error.high
    assert float(first["seeds_test_accuracy_sd"]) == pytest.approx(0.01)
    assert second["external_elsewhere_balanced_accuracy"] == second["seeds_test_accuracy_mean"] == ""


def test_of_equals_the_smaller_one_wins(settings: Settings, params: Params) -> None:
    make_artefact(settings.artefact("small_cnn"), candidate="small_cnn", parameters=50)
    make_artefact(settings.artefact("efficientnet_lite0"), candidate="efficientnet_lite0", parameters=49)
    assert compare(settings, params).best == "efficientnet_lite0"


def test_the_metric_of_params_decides(settings: Settings, params: Params) -> None:
    for name, share in (("small_cnn", 0.8), ("efficientnet_lite0", 0.9)):
        make_artefact(settings.artefact(name), candidate=name, share_right=share)
    for metric in ("accuracy", "balanced_accuracy", "macro_f1"):
        rule = params.promotion.model_copy(update={"metric": metric})
        comparison = compare(settings, params.model_copy(update={"promotion": rule}))
        first, second = (getattr(row, f"validation_{metric}").value for row in comparison.rows)
        assert comparison.metric == metric
        assert first > second


def test_what_is_missing_or_altered_is_told(settings: Settings, params: Params) -> None:
    with pytest.raises(DataMissing, match="dvc repro"):
        read_comparison(settings)
    make_artefact(settings.artefact("small_cnn"))
    with pytest.raises(DataMissing, match="efficientnet_lite0"):
        compare(settings, params)
    made = make_artefact(settings.artefact("efficientnet_lite0"), candidate="efficientnet_lite0")
    (made.path / "metrics.json").write_text("{}")
    with pytest.raises(ArtefactInvalid, match="altered"):
        compare(settings, params)


def test_a_comparison_of_nothing_is_none() -> None:
    with pytest.raises(ValueError, match="candidates"):
        Comparison(metric="accuracy", synthetic=False, candidates={})
