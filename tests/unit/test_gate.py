"""The rule of params.yaml, applied."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from bloodyspy.cells import CELL_TYPES, CellType
from bloodyspy.errors import PromotionError
from bloodyspy.evaluation.intervals import Estimate
from bloodyspy.params import Approval, Beyond, Floors, Limits, LooksRule, Margins, Params, Policy, Promotion
from bloodyspy.promotion.agreement import Pairs, agreement
from bloodyspy.promotion.decision import Decision, Looks, Outcome
from bloodyspy.promotion.gate import Contender, Export, Sealed, Stressed, decide
from bloodyspy.promotion.release import annotation, description, recorded

RULE = Promotion(
    metric="macro_f1",
    policy=Policy.REFRESH,
    level=0.05,
    margins=Margins(balanced_accuracy=0.005, sensitivity={CellType.IG: 0.02, CellType.ERYTHROBLAST: 0.04}),
    limits=Limits(calibration_error=0.03, export=0.01, stress=0.02, agreement=0.9, milliseconds=100, megabytes=100),
    floors=Floors(accuracy=0.90, balanced_accuracy=0.88, sensitivity=0.70),
    looks=LooksRule(limit=20, beyond=Beyond.WARN),
    approval=Approval.AUTOMATIC,
)
IMPROVEMENT = RULE.model_copy(update={"policy": Policy.IMPROVEMENT})
IG, ERYTHROBLAST = CellType.IG.position, CellType.ERYTHROBLAST.position
EACH = 200


def contender(
    version: int, wrong: dict[int, int] | None = None, *, without: int | None = None, each: int = EACH
) -> Contender:
    """A version with some images a class, of which `wrong[class]` are answered wrongly in every position."""
    labels = np.repeat([cell for cell in range(8) if cell != without], each)
    right = np.ones((len(labels), 8), dtype=np.bool_)
    for cell, count in (wrong or {}).items():
        right[np.flatnonzero(labels == cell)[:count]] = False
    return Contender(
        version=version,
        network=f"network of {version}",
        sealed=Sealed(digest="a" * 64, labels=labels, right=right, calibration_error=0.01, synthetic=False),
        stressed=Stressed(error=Estimate(value=0.1, low=0.08, high=0.12), digest="9" * 64),
        milliseconds=3.0,
        megabytes=14.0,
        export=Export("openvino int8", differ=4, images=400),
        card_fault=None,
    )


def failures(decision: Decision) -> list[str]:
    return [criterion.name for criterion in decision.failed]


def test_the_first_champion_passes_floors_and_limits() -> None:
    decision = decide(contender(1, {0: 5}), None, RULE)
    assert decision.promoted
    assert (decision.challenger, decision.champion, decision.images) == (1, None, 1600)
    names = [criterion.name for criterion in decision.criteria]
    assert names[:2] == ["accuracy", "balanced accuracy"]
    assert names[2 + len(CELL_TYPES) :] == [
        "calibration error",
        "time of a picture",
        "size of the graph",
        "export",
        "model card",
    ]
    assert "Version 1 was promoted on 1600 sealed images (there was no champion)" in decision.summary


def test_the_first_champion_is_refused_below_a_floor() -> None:
    decision = decide(contender(1, {4: 64}), None, RULE)  # 96 % accurate, but lymphocytes 68 %
    assert decision.outcome is Outcome.REFUSED
    assert failures(decision) == ["sensitivity of lymphocyte"]
    assert "sensitivity of lymphocyte 68.0% (61.2% to 74.1%) is below the floor of 70.0%." in decision.summary


def test_a_floor_that_is_just_met_is_met() -> None:
    assert decide(contender(1, {4: 60}), None, RULE).promoted


def test_floors_are_about_answers_as_the_images_came() -> None:
    one = contender(1)
    upside_down = one.sealed.right.copy()
    upside_down[:, 1:] = False
    assert decide(replace(one, sealed=replace(one.sealed, right=upside_down)), None, RULE).promoted


@pytest.mark.parametrize(
    ("changes", "failed", "sentence"),
    [
        ({"milliseconds": 101.0}, "time of a picture", "time of a picture 101.0 ms is above the limit of 100.0 ms."),
        ({"megabytes": 250.0}, "size of the graph", "size of the graph 250.0 MB is above the limit of 100.0 MB."),
        (
            {"export": Export("openvino int8", differ=5, images=400)},
            "export",
            "gives 5 of 400 validation images another class than the network it came from, above the limit of 1.0%.",
        ),
        (
            {"card_fault": "training.json tells no epochs"},
            "model card",
            "the model card does not hold: training.json tells no epochs.",
        ),
    ],
)
def test_a_limit_holds_for_the_first_champion_too(changes: dict[str, object], failed: str, sentence: str) -> None:
    decision = decide(replace(contender(1), **changes), None, RULE)  # type: ignore[arg-type]
    assert failures(decision) == [failed]
    assert sentence in decision.summary


def test_a_badly_calibrated_model_is_refused() -> None:
    one = contender(1)
    decision = decide(replace(one, sealed=replace(one.sealed, calibration_error=0.031)), None, RULE)
    assert "calibration error 3.10% is above the limit of 3.00%." in decision.summary


def test_an_equally_good_challenger_refreshes_but_does_not_improve() -> None:
    assert decide(contender(2, {0: 3}), contender(1, {0: 3}), RULE).promoted
    improved = decide(contender(2, {0: 3}), contender(1, {0: 3}), IMPROVEMENT)
    assert failures(improved) == ["better in balanced accuracy"]
    assert "is not shown to be better: +0.00 points, p 0.500" in improved.summary
    assert "0 images were gained and 0 lost (exact McNemar: p 1.000)" in improved.summary


def test_a_better_challenger_improves() -> None:
    decision = decide(contender(2), contender(1, {0: 10, 5: 10}), IMPROVEMENT)
    assert decision.promoted
    better = next(c for c in decision.criteria if c.name == "better in balanced accuracy")
    assert better.value == pytest.approx(20 / 1600)
    assert better.low is not None
    assert better.high is not None
    assert 0 < better.low < better.value < better.high
    assert better.p is not None
    assert better.p < 0.001
    assert f"20 images were gained and 0 lost (exact McNemar: p {0.5**20:.3f})" in better.sentence


def test_a_worse_challenger_is_refused() -> None:
    decision = decide(contender(2, {0: 10, 5: 10, 7: 5}), contender(1), RULE)
    assert failures(decision) == ["not worse in balanced accuracy"]
    assert "differs from the champion's by -1.56 points" in decision.summary
    assert "not shown to be not worse by the margin of 0.5 points" in decision.summary


def test_a_gain_everywhere_does_not_buy_a_loss_on_immature_granulocytes() -> None:
    others = {cell: 4 for cell in range(8) if cell != IG}
    decision = decide(contender(2, {IG: 8}), contender(1, {**others, IG: 4}), RULE)  # 2 points down, 2 up elsewhere
    assert failures(decision) == ["not worse in sensitivity of ig"]
    assert "sensitivity of ig differs from the champion's by -2.00 points" in decision.summary
    assert "So few images" not in decision.summary


def test_safety_classes_are_corrected_for_being_two() -> None:
    lost = {IG: 0, ERYTHROBLAST: 0}
    alone = RULE.model_copy(update={"margins": Margins(balanced_accuracy=0.005, sensitivity={CellType.IG: 0.02})})
    both = {c.name: c.p for c in decide(contender(2, lost), contender(1, {0: 1}), RULE).criteria}
    single = {c.name: c.p for c in decide(contender(2, lost), contender(1, {0: 1}), alone).criteria}
    names = "not worse in sensitivity of ig", "not worse in sensitivity of erythroblast"
    assert names[1] not in single
    # with nothing lost ig, whose margin is narrower, has the larger p value and is the last of the two steps
    assert both[names[0]] == single[names[0]] == pytest.approx(norm.sf(np.sqrt(200 * 0.02 / 0.98)))
    assert both[names[1]] == pytest.approx(2 * norm.sf(np.sqrt(200 * 0.04 / 0.96)))


def test_too_few_images_are_told_as_such() -> None:
    decision = decide(contender(2, each=22), contender(1, {0: 1}, each=22), RULE)
    assert failures(decision) == [
        "not worse in balanced accuracy",
        "not worse in sensitivity of ig",
        "not worse in sensitivity of erythroblast",
    ]
    assert "or widen `promotion.margins.balanced_accuracy`." in decision.summary
    assert (
        "So few images could not show it of equal answers either, which takes 133: import more of them, or widen "
        "`promotion.margins.sensitivity.ig`." in decision.summary
    )


def test_more_errors_under_stress_than_the_limit_are_refused() -> None:
    frail = replace(contender(2), stressed=Stressed(Estimate(value=0.125, low=0.1, high=0.15), "9" * 64))
    decision = decide(frail, contender(1, {0: 3}), RULE)
    assert failures(decision) == ["mean balanced error under stress"]
    assert "+2.50 points, above the limit of 2.0 more." in decision.summary


def test_a_loss_in_a_small_class_weighs_as_much_as_it_counts_for_the_mean() -> None:
    few, many = contender(2, {0: 1}, each=50), contender(2, {0: 1})
    names = ["not worse in balanced accuracy"]
    rule = RULE.model_copy(update={"margins": Margins(balanced_accuracy=0.005, sensitivity={})})
    assert failures(decide(few, contender(1, each=50), rule)) == names
    assert decide(many, contender(1), rule).promoted


def test_a_class_without_a_sealed_image_cannot_be_passed() -> None:
    decision = decide(contender(1, without=7), None, RULE)
    assert [(c.name, c.value) for c in decision.failed] == [("sensitivity of platelet", None)]
    assert "cannot be measured" in decision.summary


def test_the_champion_under_another_number_is_recognised() -> None:
    champion = contender(1, {0: 3})
    decision = decide(replace(champion, version=2), champion, RULE)
    assert failures(decision) == ["another model"]
    assert "it is the champion under another number" in decision.summary


def test_scores_on_other_images_are_not_compared() -> None:
    other = contender(1)
    with pytest.raises(PromotionError, match="Score both on the same images"):
        decide(contender(2), replace(other, sealed=replace(other.sealed, digest="b" * 64)), RULE)


def test_swapped_labels_are_noticed() -> None:
    other = contender(1)
    labels = other.sealed.labels.copy()
    labels[[0, -1]] = labels[[-1, 0]]
    with pytest.raises(PromotionError, match="against different labels"):
        decide(contender(2), replace(other, sealed=replace(other.sealed, labels=labels)), RULE)


def test_stress_on_other_pictures_is_not_compared() -> None:
    other = contender(1)
    with pytest.raises(PromotionError, match="under stress with different pictures"):
        decide(contender(2), replace(other, stressed=replace(other.stressed, digest="8" * 64)), RULE)


@pytest.mark.parametrize(("old", "new", "promoted"), [(False, True, False), (True, True, True), (True, False, True)])
def test_drawings_never_replace_photographs(old: bool, new: bool, promoted: bool) -> None:
    challenger, champion = contender(2), contender(1, {0: 3})
    decision = decide(replace(challenger, trained_on_drawn=new), replace(champion, trained_on_drawn=old), RULE)
    assert decision.promoted is promoted
    if not promoted:
        assert failures(decision) == ["trained on photographs"]


def test_every_criterion_is_a_row_of_words() -> None:
    decision = decide(contender(2), contender(1, {0: 10}), IMPROVEMENT)
    rows = decision.table()
    assert {len(row) for row in rows} == {len(Decision.headings)}
    told = {row[0]: row for row in rows}
    assert told["accuracy"] == ("accuracy", "1.0000", "0.9976 to 1.0000", "0.9000", "", "met")
    assert told["not worse in sensitivity of ig"][1:4] == ("0.0000", "at least -0.0133", "-0.0200")


def test_a_decision_survives_the_registry() -> None:
    decision = decide(contender(2, {0: 3}), contender(1, {0: 8}), RULE)
    tags = annotation(decision)
    assert recorded(tags, 2) == decision
    assert (tags["outcome"], tags["compared_with"]) == ("promoted", "1")
    assert tags["test_images"] == "1600"
    assert recorded({}, 2) is None
    with pytest.raises(PromotionError, match="is no decision of this version"):
        recorded({"decision": tags["decision"].replace("promoted", "crowned")}, 2)
    with pytest.raises(PromotionError, match=r"of version 3 is the decision about version 2: somebody copied it"):
        recorded(tags, 3)


def test_a_long_summary_fits_the_registry_s_column() -> None:
    worst = decide(contender(2, dict.fromkeys(range(8), 190)), contender(1), RULE)
    long = worst.model_copy(update={"summary": worst.summary * 4})
    assert len(description(long)) <= 5000
    assert "the tag `decision`" in description(long)
    short = description(worst.model_copy(update={"summary": "short"}))
    assert short.startswith("short\n\n| criterion | measured |")
    assert short.count("\n") == 4 + len(worst.criteria)


def test_the_committed_rule_can_be_met(params: Params) -> None:
    each = EACH  # images of each type: with the data set of the README there are fewer, and the decision says so
    assert decide(contender(2, each=each), contender(1, {0: 3}, each=each), params.promotion).promoted


def test_looks_within_the_limit_are_told_and_nothing_else() -> None:
    plain = decide(contender(2), contender(1), RULE)
    counted = decide(contender(2), contender(1), RULE, Looks(networks=20, challengers=9))
    assert counted.promoted
    assert (plain.looks, counted.looks) == (None, Looks(networks=20, challengers=9))
    (told,) = (c for c in counted.criteria if c.name == "looks")
    assert told.sentence.endswith("within the limit of 20.")
    assert told.cells()[1:4] == ("20", "", "20")
    assert [c for c in counted.criteria if c.name != "looks"] == list(plain.criteria)


@pytest.mark.parametrize("beyond", list(Beyond))
def test_looks_beyond_the_limit_warn_or_correct_or_refuse(beyond: Beyond) -> None:
    rule = RULE.model_copy(update={"looks": LooksRule(limit=3, beyond=beyond)})
    decision = decide(contender(2), contender(1), rule, Looks(networks=4, challengers=5))
    told = next(c for c in decision.criteria if c.name == "looks")
    assert "more than the limit of 3" in told.sentence
    assert "Import new images" in told.sentence
    assert told.passed is (beyond is not Beyond.REFUSE)
    assert ("looks" in failures(decision)) is (beyond is Beyond.REFUSE)
    assert decision.level == pytest.approx(0.01 if beyond is Beyond.CORRECT else 0.05)


def test_corrected_for_looks_the_same_answers_show_less() -> None:
    """One of 300 ig is lost: enough to show at the level of one look that it is not 2 points worse."""
    new, old = contender(2, {IG: 1}, each=300), contender(1, each=300)
    rule = RULE.model_copy(update={"looks": LooksRule(limit=1, beyond=Beyond.CORRECT)})
    assert decide(new, old, rule, Looks(networks=1, challengers=1)).promoted
    refused = decide(new, old, rule, Looks(networks=50, challengers=50))
    assert "not worse in sensitivity of ig" in failures(refused)


@pytest.mark.parametrize(("agreeing", "passed"), [(99, True), (88, True), (80, False)])
def test_what_a_shadow_said_is_evidence(agreeing: int, passed: bool) -> None:
    """Of a hundred live pictures; 88 may be 90 by chance, 80 may not."""
    first = np.tile(np.eye(8)[0], (100, 1))
    other = np.vstack([first[:agreeing], np.tile(np.eye(8)[1], (100 - agreeing, 1))])
    found = agreement(Pairs(tuple(map(str, range(100))), first, other), 1, 2)
    decision = decide(contender(2), contender(1), RULE, agreement=found)
    assert decision.promoted is passed
    told = next(c for c in decision.criteria if c.name == "agreement in the shadow")
    assert told.value == agreeing / 100
    assert "on 100 live pictures" in told.sentence


def test_what_was_rolled_back_is_not_put_forward_again() -> None:
    back = replace(contender(2), withdrawn="it calls platelets monocytes")
    decision = decide(back, contender(1), RULE)
    assert failures(decision) == ["not rolled back"]
    assert "it calls platelets monocytes" in decision.summary
