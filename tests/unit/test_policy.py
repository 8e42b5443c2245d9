"""Which answers go out unseen: the policy's words, and the limits that are fitted to keep a stated share."""

import numpy as np
import pytest
from handmade import answer_policy, familiarity
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from bloodyspy.cells import CELL_TYPES, CellType
from bloodyspy.errors import ArtefactInvalid
from bloodyspy.evaluation import selective
from bloodyspy.evaluation.policy_fitting import fit_familiarity, fit_policy
from bloodyspy.images.no_cells import KINDS, draw
from bloodyspy.images.preprocess import golden_picture
from bloodyspy.images.statistics import ImageStatistics, describe
from bloodyspy.model.familiarity import FAMILIARITY, Familiarity
from bloodyspy.observation import Observation, Provenance
from bloodyspy.params import Answers
from bloodyspy.policy import POLICY, Action, AnswerPolicy, Band, Quality, Reason

STATISTICS = describe(golden_picture())
WANTED = Answers(miscoverage=0.05, error=0.01, strange=0.02, refused=0.01, quality=0.01)
NEAR = {"review": 0.3, "reject": 0.6}


def answer(best: int = 3, probability: float = 0.9) -> NDArray[np.float64]:
    rest = (1 - probability) / 7
    return np.where(np.arange(8) == best, probability, rest)


@pytest.mark.parametrize(
    ("limits", "distances", "probabilities", "action", "reasons"),
    [
        ({}, (0.2, 1.0), answer(), Action.AUTO, ()),
        ({"novelty": NEAR}, (0.5, 1.0), answer(), Action.REVIEW, (Reason.UNFAMILIAR,)),
        ({"novelty": NEAR}, (0.7, 1.0), answer(), Action.REJECT, (Reason.UNFAMILIAR,)),
        ({"novelty": NEAR}, (float("nan"), 1.0), answer(), Action.REJECT, (Reason.UNFAMILIAR,)),
        ({"foreignness": NEAR}, (0.2, 0.5), answer(), Action.REVIEW, (Reason.FOREIGN,)),
        ({"foreignness": NEAR}, (0.2, 1.0), answer(), Action.REJECT, (Reason.FOREIGN,)),
        ({"least_confidence": 0.95}, (0.2, 1.0), answer(), Action.REVIEW, (Reason.UNSURE,)),
        (
            {"least_probability": dict.fromkeys(CELL_TYPES, 0.01)},
            (0.2, 1.0),
            answer(),
            Action.REVIEW,
            (Reason.AMBIGUOUS,),
        ),
        ({}, (0.2, 1.0), answer(probability=0.4), Action.REVIEW, (Reason.AMBIGUOUS, Reason.UNSURE)),
    ],
)
def test_an_answer_goes_out_unseen_where_nothing_speaks_against_it(
    limits: dict[str, object],
    distances: tuple[float, float],
    probabilities: NDArray[np.float64],
    action: Action,
    reasons: tuple[Reason, ...],
) -> None:
    verdict = answer_policy(**limits).judge(probabilities, *distances, STATISTICS)
    assert (verdict.action, verdict.reasons) == (action, reasons)


def test_each_reason_has_its_sentence() -> None:
    assert len({reason.sentence for reason in Reason}) == len(Reason)


def test_a_set_that_names_another_type_than_the_answer_is_ambiguous() -> None:
    least = {cell: 0.95 if cell == CELL_TYPES[3] else 0.01 for cell in CELL_TYPES}
    verdict = answer_policy(least_probability=least).judge(answer(3, 0.9), 0.2, 1.0, STATISTICS)
    assert CELL_TYPES[3] not in verdict.candidates
    assert Reason.AMBIGUOUS in verdict.reasons


def test_a_quality_is_as_far_as_its_farthest_band_on_the_wrong_side() -> None:
    low = Band(statistic="sharpness", middle=2.0, spread=0.5, above=False)
    both = Band(statistic="brightness", middle=100.0, spread=10.0)
    quality = Quality(reason=Reason.FOCUS, bands=(low, both), limit=3.0)
    sharp = ImageStatistics(**{**_as_dict(STATISTICS), "sharpness": 9.0, "brightness": 105.0})
    blurred = ImageStatistics(**{**_as_dict(STATISTICS), "sharpness": 0.0, "brightness": 95.0})
    assert quality.distance(sharp) == pytest.approx(0.5)
    assert quality.distance(blurred) == pytest.approx(4.0)


def _as_dict(statistics: ImageStatistics) -> dict[str, float]:
    return {name: getattr(statistics, name) for name in statistics.__dataclass_fields__}


def drawn(
    n: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], list[ImageStatistics]]:
    """Labels, probabilities, novelty, foreignness and statistics of pictures at home."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 8, n)
    logits = rng.normal(size=(n, 8)) * 1.5
    logits[np.arange(n), labels] += 6
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    seen = [
        ImageStatistics(**{**_as_dict(STATISTICS), "sharpness": s, "brightness": b})
        for s, b in zip(rng.normal(2, 0.2, n), rng.normal(180, 8, n), strict=True)
    ]
    return labels, odds / odds.sum(axis=1, keepdims=True), rng.beta(2, 8, n), rng.gamma(9, 0.1, n), seen


def test_what_was_asked_for_holds_on_pictures_that_the_limits_were_not_made_of() -> None:
    policy = fit_policy(*drawn(2000, 1), WANTED)
    labels, probabilities, *rest = drawn(20_000, 2)
    verdicts = [policy.judge(*one) for one in zip(probabilities, *rest, strict=True)]
    for cell in CELL_TYPES:
        own = [v for v, label in zip(verdicts, labels, strict=True) if label == cell.position]
        missed = np.mean([cell not in v.candidates for v in own])
        assert missed <= 0.05 + 3 * np.sqrt(0.05 * 0.95 * (1 / len(own) + 1 / 250)), cell
    auto = np.array([v.action == Action.AUTO for v in verdicts])
    assert auto.mean() > 0.8
    assert (probabilities.argmax(axis=1) != labels)[auto].mean() < 0.02
    assert np.mean([v.action == Action.REJECT for v in verdicts]) < 0.035
    shares = {reason: np.mean([reason in v.reasons for v in verdicts]) for reason in Reason}
    assert all(shares[reason] < 0.035 for reason in (Reason.UNFAMILIAR, Reason.FOREIGN))
    assert all(shares[reason] < 0.02 for reason in (Reason.FOCUS, Reason.EXPOSURE, Reason.STAIN))


@given(st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_a_conformal_limit_is_the_rank_that_its_share_allows(n: int, seed: int) -> None:
    """Vovk: among n + 1 exchangeable scores the new one is below the k-th with a probability of k / (n + 1)."""
    probabilities = np.tile(answer(), (n, 1))
    probabilities[:, 3] = np.random.default_rng(seed).uniform(0.1, 1, n)
    labels = np.full(n, 3)
    policy = fit_policy(labels, probabilities, np.full(n, 0.2), np.ones(n), [STATISTICS] * n, WANTED)
    below = int((probabilities[:, 3] < policy.least_probability[CELL_TYPES[3]]).sum())
    promised = policy.miscoverage[CELL_TYPES[3]]
    assert (below + 1) / (n + 1) <= promised + 1e-12
    assert promised == (0.05 if n >= 19 else pytest.approx(1 / (n + 1)))
    assert policy.least_probability[CellType.PLATELET] == 0.0  # nothing is known of a type without a picture


def test_where_no_confidence_keeps_the_error_nothing_goes_out() -> None:
    n = 80
    probabilities = np.tile(answer(3, 0.9), (n, 1))
    labels = np.where(np.arange(n) % 2, 3, 4)
    policy = fit_policy(labels, probabilities, np.full(n, 0.2), np.ones(n), [STATISTICS] * n, WANTED)
    assert policy.least_confidence == 1.0
    assert policy.judge(probabilities[0], 0.2, 1.0, STATISTICS).action == Action.REVIEW


def test_what_points_out_of_the_directions_of_the_training_cells_is_new() -> None:
    """Cells in a plane of eight dimensions: within it nothing is new, however far; across it all is."""
    rng = np.random.default_rng(0)
    plane = np.linalg.qr(rng.normal(size=(8, 2)))[0]
    seen = rng.normal(size=(500, 2)) @ plane.T + rng.normal(size=(500, 8)) * 1e-3 + 5
    learnt = fit_familiarity(seen.astype(np.float32), home(500), directions=2)

    def novelty(apart: NDArray[np.float64]) -> float:
        return float(learnt.novelty((learnt.seen + apart).astype(np.float32)[None, None, None, :])[0])

    across = np.linalg.qr(np.column_stack([plane, rng.normal(size=8)]))[0][:, 2]
    assert novelty(plane[:, 0] * 100) < 0.01
    assert novelty(across) == pytest.approx(1, abs=0.01)
    assert novelty(plane[:, 0] + across) == pytest.approx(np.sin(np.pi / 4), abs=0.01)
    assert novelty(np.zeros(8)) == 0


def test_a_picture_is_placed_in_deviations_along_the_widest_directions_first() -> None:
    rng = np.random.default_rng(0)
    seen = rng.normal(size=(4000, 8)) * [1, 9, 1, 1, 4, 1, 1, 1] + 5
    learnt = fit_familiarity(seen.astype(np.float32), home(4000), directions=2)
    place = learnt.embedding((learnt.seen + np.eye(8)[[1, 4]] * [[18], [4]]).astype(np.float32)[:, None, None, :])
    assert place.shape == (2, 16)
    assert np.abs(place[0, :2]) == pytest.approx([2, 0], abs=0.1)
    assert np.abs(place[1, :2]) == pytest.approx([0, 1], abs=0.1)
    assert not place[:, 2:].any()


def test_feature_maps_are_pooled_before_they_are_placed() -> None:
    """Two maps that point either way have no direction together but the one they share."""
    maps = np.array([[[[3.0, 4.0, 128.0], [3.0, -4.0, 128.0]]]], np.float32)
    alone = np.array([[[[3.0, 0.0, 128.0]]]], np.float32)
    assert familiarity().novelty(maps)[0] == pytest.approx(familiarity().novelty(alone)[0])


def home(n: int, seed: int = 0) -> list[ImageStatistics]:
    """Pictures whose brightness and contrast rise together."""
    rng = np.random.default_rng(seed)
    lamp = rng.normal(size=n)
    told = _as_dict(STATISTICS)
    return [
        ImageStatistics(**{**told, "brightness": 180 + 9 * one, "contrast": 40 + 4 * one + rest})
        for one, rest in zip(lamp, rng.normal(0, 0.5, n), strict=True)
    ]


def test_statistics_that_do_not_go_together_are_foreign() -> None:
    learnt = fit_familiarity(np.random.default_rng(0).normal(size=(500, 8)).astype(np.float32), home(500))
    told = _as_dict(STATISTICS)
    bright = ImageStatistics(**{**told, "brightness": 198.0, "contrast": 48.0})
    broken = ImageStatistics(**{**told, "brightness": 198.0, "contrast": 32.0})
    larger = ImageStatistics(**{**_as_dict(bright), "width": 4000, "height": 3000})
    assert learnt.foreignness(broken) > 3 * learnt.foreignness(bright)
    assert learnt.foreignness(larger) == learnt.foreignness(bright)


@pytest.mark.parametrize(("file", "reader"), [(POLICY, AnswerPolicy.read), (FAMILIARITY, Familiarity.read)])
def test_what_is_of_another_format_is_told(tmp_path: object, file: str, reader: object) -> None:
    (tmp_path / file).write_text('{"images": 3}')  # type: ignore[operator]
    with pytest.raises(ArtefactInvalid, match=f"{file} is of another format"):
        reader(tmp_path)  # type: ignore[operator]


def test_what_the_policy_did_is_counted() -> None:
    """Four pictures: right unseen, wrong unseen, right in review, refused."""
    provenance = Provenance("a", "b")
    limits = answer_policy(novelty=NEAR)
    told = [(answer(0), 0.2), (answer(1), 0.2), (answer(2), 0.5), (answer(3), 0.9)]
    observations = [
        Observation.of(
            STATISTICS, p.astype(np.float32), limits.judge(p, novelty, 1.0, STATISTICS), np.zeros(16), provenance
        )
        for p, novelty in told
    ]
    found = selective.measure(np.array([0, 2, 2, 3]), observations)
    assert [found.auto.value, found.review.value, found.reject.value, found.harmless.value] == [0.5, 0.25, 0.25, 0.75]
    assert found.right is not None
    assert found.right.value == 0.5
    assert found.covered[CELL_TYPES[2]].value == 0.5
    assert found.reasons[Reason.UNFAMILIAR] == 2
    assert "right_low" in found.flat()


def test_pictures_of_nothing_are_drawn_alike_again_and_none_is_another() -> None:
    first, again = list(draw(16, 3)), list(draw(16, 3))
    assert [kind for kind, _ in first[:8]] == list(KINDS)
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(first, again, strict=True))
    assert len({pixels.tobytes() for _, pixels in first}) == 16
