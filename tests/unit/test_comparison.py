"""Candidates are ranked on the validation part, by the metric of params.yaml."""

import csv

import pytest
from handmade import make_artefact

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
    with pytest.raises(ValueError, match="rows"):
        Comparison(metric="accuracy", synthetic=False, rows=())
