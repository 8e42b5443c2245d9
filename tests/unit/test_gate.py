"""The rule of params.yaml, applied."""

import dataclasses

import numpy as np
import pytest

from bloodyspy.cells import CELL_TYPES
from bloodyspy.errors import PromotionError
from bloodyspy.evaluation.metrics import score
from bloodyspy.params import Floors, Params, Promotion
from bloodyspy.promotion.gate import Contender, Decision, Outcome, decide
from bloodyspy.promotion.release import annotation, recorded

RULE = Promotion(
    metric="macro_f1",
    minimum_gain=0.0,
    floors=Floors(accuracy=0.90, balanced_accuracy=0.88, sensitivity=0.70),
)


def contender(
    version: int, wrong: dict[int, int] | None = None, *, digest: str = "a" * 64, without: int | None = None
) -> Contender:
    """A version with 50 images a class, of which `wrong[class]` are taken for the next class."""
    labels = np.repeat([cell for cell in range(8) if cell != without], 50)
    answers = labels.copy()
    for cell, count in (wrong or {}).items():
        answers[np.flatnonzero(labels == cell)[:count]] = (cell + 1) % 8
    probabilities = np.full((len(labels), 8), 0.01)
    probabilities[np.arange(len(labels)), answers] = 0.93
    return Contender(version, score(labels, probabilities), digest, synthetic=False)


def test_the_first_champion_passes_the_floors() -> None:
    decision = decide(contender(1, {0: 5}), None, RULE)
    assert decision.promoted
    assert (decision.challenger, decision.champion, decision.images) == (1, None, 400)
    assert [criterion.name for criterion in decision.criteria[:2]] == ["accuracy", "balanced accuracy"]
    assert len(decision.criteria) == 2 + len(CELL_TYPES)
    assert "Version 1 was promoted on 400 sealed images (there was no champion)" in decision.summary


def test_the_first_champion_is_refused_below_a_floor() -> None:
    decision = decide(contender(1, {4: 16}), None, RULE)  # 96 % accurate, but lymphocytes 68 %
    assert decision.outcome is Outcome.REFUSED
    assert [criterion.name for criterion in decision.failed] == ["sensitivity of lymphocyte"]
    assert "sensitivity of lymphocyte 0.6800 is below the floor of 0.7000." in decision.summary


def test_a_floor_that_is_just_met_is_met() -> None:
    assert decide(contender(1, {4: 15}), None, RULE).promoted


def test_a_better_challenger_is_promoted_and_a_worse_one_refused() -> None:
    worse, better = contender(1, {0: 8}), contender(2, {0: 3})
    promoted = decide(better, worse, RULE)
    assert promoted.promoted
    assert promoted.criteria[-1].name == "gain in macro F1"
    assert promoted.criteria[-1].value == pytest.approx(better.metrics.macro_f1.value - worse.metrics.macro_f1.value)
    refused = decide(worse, better, RULE)
    assert not refused.promoted
    assert [criterion.name for criterion in refused.failed] == ["gain in macro F1"]
    assert "not more than the 0.0000 that is asked for" in refused.summary


def test_an_equal_challenger_is_refused() -> None:
    assert not decide(contender(2, {0: 3}), contender(1, {0: 3}), RULE).promoted


def test_the_gain_must_exceed_the_minimum() -> None:
    asked = RULE.model_copy(update={"minimum_gain": 0.02})
    assert not decide(contender(2, {0: 3}), contender(1, {0: 8}), asked).promoted
    assert decide(contender(2), contender(1, {0: 12}), asked).promoted


def test_the_floors_hold_for_a_challenger_that_beats_the_champion() -> None:
    decision = decide(contender(2, {4: 16}), contender(1, {4: 30}), RULE)
    assert [criterion.name for criterion in decision.failed] == ["sensitivity of lymphocyte"]


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "macro_f1"])
def test_the_rule_names_the_metric(metric: str) -> None:
    rule = RULE.model_copy(update={"metric": metric})
    decision = decide(contender(2), contender(1, {0: 3}), rule)
    assert decision.criteria[-1].name.lower() == f"gain in {metric.replace('_', ' ')}"


def test_a_class_without_a_sealed_image_cannot_be_passed() -> None:
    decision = decide(contender(1, without=7), None, RULE)
    assert [(c.name, c.value) for c in decision.failed] == [("sensitivity of platelet", None)]
    assert "cannot be measured" in decision.summary


def test_scores_on_other_images_are_not_compared() -> None:
    with pytest.raises(PromotionError, match="Score both on the same images"):
        decide(contender(2), contender(1, digest="b" * 64), RULE)


def test_a_decision_survives_the_registry() -> None:
    decision = decide(contender(2, {0: 3}), contender(1, {0: 8}), RULE)
    tags = annotation(decision)
    assert recorded(tags) == decision
    assert (tags["outcome"], tags["compared_with"]) == ("promoted", "1")
    assert float(tags["gain_in_macro_F1"]) > 0
    assert all(len(value) <= 5000 for value in tags.values())
    assert recorded({}) is None
    with pytest.raises(PromotionError, match="Remove the tag"):
        recorded({"decision": "{}"})


def test_numbers_from_drawn_cells_say_so() -> None:
    drawn = Contender(1, contender(1).metrics, "a" * 64, synthetic=True)
    decision = decide(drawn, None, RULE)
    assert "400 sealed synthetic images" in decision.summary
    assert annotation(decision)["test_images"] == "400 synthetic"


def test_drawn_cells_never_replace_photographs() -> None:
    champion = contender(1, {0: 5})
    better = dataclasses.replace(contender(2), trained_on_drawn=True)
    decision = decide(better, champion, RULE)
    assert not decision.promoted
    assert [criterion.name for criterion in decision.failed] == ["trained on photographs"]
    assert decide(contender(2), dataclasses.replace(champion, trained_on_drawn=True), RULE).promoted


def test_the_committed_rule_can_be_applied(params: Params) -> None:
    assert isinstance(decide(contender(1), None, params.promotion), Decision)
