"""Counts to percentages: the exact interval, the correction by the confusion matrix, and what is told of both."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binomtest

from bloodyspy.cells import CELL_TYPES, CellType
from bloodyspy.errors import SmearError
from bloodyspy.smear.correction import PRIOR, most_likely, true_counts
from bloodyspy.smear.differential import WHITE, Flagged, Question, Tally, corrected_intervals, differential, more_cells
from bloodyspy.smear.intervals import clopper_pearson, mixed_clopper_pearson

SIZES = np.array([82, 216, 98, 199, 97, 94, 222, 134])
PERFECT = np.diag(SIZES)
IG, NEUTROPHIL, ERYTHROBLAST, PLATELET = (
    cell.position for cell in (CellType.IG, CellType.NEUTROPHIL, CellType.ERYTHROBLAST, CellType.PLATELET)
)
HEALTHY = np.array([2, 6, 1, 1, 60, 12, 119, 20])
"""Answers by type."""


def cells_of(answers: np.ndarray) -> list[CellType]:
    return [cell for cell, count in zip(CELL_TYPES, answers, strict=True) for _ in range(count)]


def tally_of(answers: np.ndarray) -> Tally:
    return Tally(auto={cell: int(count) for cell, count in zip(CELL_TYPES, answers, strict=True)})


def leaky(share: float, images: int = 222) -> np.ndarray:
    """A model that takes this share of neutrophils for ig."""
    confusion = PERFECT.copy()
    confusion[NEUTROPHIL, NEUTROPHIL] = images - round(share * images)
    confusion[NEUTROPHIL, IG] = round(share * images)
    return confusion


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from([0.9, 0.95, 0.99])
)
def test_the_exact_interval_is_scipys(counts: tuple[int, int], level: float) -> None:
    k, n = counts
    expected = binomtest(k, n).proportion_ci(level, method="exact")
    low, high = clopper_pearson(np.array(k), np.array(n), level)
    assert (float(low), float(high)) == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize("k", [0, 1, 7, 199, 200])
def test_a_count_that_is_certain_has_the_exact_interval(k: int) -> None:
    draws = np.full((20_000, 1), k)
    low, high = mixed_clopper_pearson(draws, np.full_like(draws, 200), np.random.default_rng(0))
    expected = clopper_pearson(np.array(k), np.array(200))
    assert (low[0], high[0]) == pytest.approx([float(end) for end in expected], abs=0.002)


@given(st.lists(st.integers(0, 300), min_size=8, max_size=8).filter(sum))
@settings(max_examples=30, deadline=None)
def test_with_a_perfect_model_the_likeliest_shares_are_the_counted(answers: list[int]) -> None:
    shares = most_likely(np.array(answers), PERFECT)
    np.testing.assert_allclose(shares, np.array(answers) / sum(answers), atol=1e-6)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_the_correction_is_the_inverse_where_that_is_a_composition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = 0.9 * np.eye(8) + 0.1 * rng.dirichlet(np.ones(8), size=8)
    confusion = np.round(10_000 * matrix).astype(int)
    truth = rng.dirichlet(np.full(8, 5.0))
    answers = np.round(1_000_000 * truth @ (confusion / confusion.sum(axis=1, keepdims=True))).astype(int)
    np.testing.assert_allclose(most_likely(answers, confusion), truth, atol=1e-4)


@given(
    st.lists(st.integers(0, 50), min_size=8, max_size=8).filter(sum),
    st.lists(st.lists(st.integers(0, 30), min_size=8, max_size=8), min_size=8, max_size=8),
)
@settings(max_examples=15, deadline=None)
def test_whatever_the_matrix_it_stays_a_composition(answers: list[int], confusion: list[list[int]]) -> None:
    shares = most_likely(np.array(answers), np.array(confusion))
    assert (shares >= 0).all()
    assert shares.sum() == pytest.approx(1)
    draws = true_counts(np.array(answers), np.array(confusion), np.random.default_rng(0), chains=4, kept=2)
    assert draws.shape == (8, 8)
    assert (draws >= 0).all()
    assert (draws.sum(axis=1) == sum(answers)).all()


def test_the_draws_are_the_posterior() -> None:
    """Two types and a matrix that is as good as known: the posterior of the first's count can be enumerated."""
    confusion = np.zeros((8, 8), dtype=int)
    confusion[0, :2], confusion[1, :2] = (9_000_000, 1_000_000), (2_000_000, 8_000_000)
    confusion[range(2, 8), range(2, 8)] = 10_000_000
    answers = np.array([60, 40, 0, 0, 0, 0, 0, 0])
    draws = true_counts(answers, confusion, np.random.default_rng(0), chains=500, kept=60)[:, 0]
    # at the middles of 20,000 equal parts of the prior, what is left of the posterior is the likelihood
    q = beta.ppf((np.arange(20_000) + 0.5) / 20_000, PRIOR, PRIOR)
    weight = np.exp(60 * np.log(0.9 * q + 0.2 * (1 - q)) + 40 * np.log(0.1 * q + 0.8 * (1 - q)))
    first, second = 0.9 * q / (0.9 * q + 0.2 * (1 - q)), 0.1 * q / (0.1 * q + 0.8 * (1 - q))
    expected = float((weight * (60 * first + 40 * second)).sum() / weight.sum())
    assert draws.mean() == pytest.approx(expected, abs=0.5)


def test_the_same_seed_gives_the_same_and_another_nearly() -> None:
    ends = [corrected_intervals(HEALTHY, leaky(0.01), Question(seed=seed)) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(ends[0], ends[1])
    np.testing.assert_allclose(ends[0], ends[2], atol=0.008)
    assert (ends[0] != ends[2]).any()


def test_false_ig_are_taken_off() -> None:
    answers = HEALTHY.copy()
    answers[IG] = 3
    found = differential(tally_of(answers), leaky(0.01)).of(CellType.IG)
    assert found.raw.value == pytest.approx(100 * 3 / 202)
    assert found.corrected.value == pytest.approx(100 * (3 - 119 * 2 / 220) / 202, abs=0.02)
    assert found.corrected.low == 0
    assert found.raw.low > 0.1


def test_few_images_of_a_type_widen_its_interval() -> None:
    few = PERFECT.copy()
    few[NEUTROPHIL, [IG, NEUTROPHIL]] = 1, 9
    many = few.copy()
    many[NEUTROPHIL] *= 100
    (low, high), (low_many, high_many) = (
        corrected_intervals(HEALTHY, one, Question())[:, NEUTROPHIL] for one in (few, many)
    )
    assert high - low > 1.2 * (high_many - low_many)


def test_rejected_cells_are_left_out_and_cells_in_review_are_counted() -> None:
    cells = [*cells_of(HEALTHY), CellType.IG, CellType.IG]
    actions = ["auto"] * HEALTHY.sum() + ["reject", "review"]
    found = differential(Tally.of(cells, actions), PERFECT)
    assert (found.cells, found.rejected, found.in_review) == (len(cells), 1, 1)
    assert (found.of(CellType.IG).counted, found.of(CellType.IG).in_review) == (2, 1)
    assert found.white == 201
    assert found.platelets == 20
    assert sum(cell.raw.value for cell in found.classes) == pytest.approx(100)
    assert sum(cell.corrected.value for cell in found.classes) == pytest.approx(100)
    assert [cell.cell_type for cell in found.classes] == list(WHITE)
    assert found.measured_on[CellType.BASOPHIL] == 82


def test_erythroblasts_are_counted_for_each_hundred_white_cells() -> None:
    answers = HEALTHY.copy()
    answers[ERYTHROBLAST] = 30
    red = differential(tally_of(answers), PERFECT).erythroblasts
    assert red.raw.value == pytest.approx(15)
    exact = binomtest(30, 230).proportion_ci(0.95, method="exact")
    assert (red.raw.low, red.raw.high) == pytest.approx([100 * p / (1 - p) for p in exact])
    assert red.corrected.value == pytest.approx(15, abs=0.01)


@pytest.mark.parametrize(
    ("ig", "limit", "above"),
    [(30, 2, Flagged.YES), (0, 3, Flagged.NO), (0, 1, Flagged.CANNOT_BE_TOLD), (4, 2, Flagged.CANNOT_BE_TOLD)],
)
def test_the_flag_says_when_it_cannot_be_told(ig: int, limit: float, above: Flagged) -> None:
    answers = HEALTHY.copy()
    answers[IG] = ig
    found = differential(tally_of(answers), PERFECT, Question(ig_limit=limit))
    assert found.ig.above is above
    assert found.ig.share == found.of(CellType.IG).corrected


def test_how_many_more_is_what_the_exact_interval_would_need() -> None:
    wanted = more_cells(HEALTHY, 1000 * PERFECT, Question(half_width=4.0))
    assert wanted[0] == 0  # of two basophils in 200 the half-width is 1.7 points already
    neutrophils = wanted[WHITE.index(CellType.NEUTROPHIL)]
    assert neutrophils is not None
    share, n = 119 / 200, 200 + neutrophils
    ends = binomtest(round(share * n), n).proportion_ci(0.95, method="exact")
    assert 50 * (ends.high - ends.low) == pytest.approx(4.0, abs=0.25)


def test_what_the_matrix_leaves_open_is_not_reached_by_counting() -> None:
    few = np.ceil(leaky(0.05) / 10).astype(int)
    assert more_cells(HEALTHY, few, Question(half_width=1.0))[WHITE.index(CellType.NEUTROPHIL)] is None


def test_a_smear_without_white_cells_is_refused() -> None:
    with pytest.raises(SmearError, match="no white one"):
        differential(Tally.of([CellType.PLATELET, CellType.NEUTROPHIL], ["auto", "reject"]), PERFECT)
    with pytest.raises(SmearError, match="no white one"):
        differential(Tally(), PERFECT)


def test_an_unknown_action_is_a_fault() -> None:
    with pytest.raises(ValueError, match="auto, review or reject"):
        Tally.of([CellType.IG], ["maybe"])
    with pytest.raises(ValueError, match="shorter"):
        Tally.of([CellType.IG], [])


def test_what_a_person_said_counts_whatever_the_answer_was() -> None:
    cells = [CellType.IG, CellType.IG, CellType.NEUTROPHIL, CellType.MONOCYTE, CellType.LYMPHOCYTE]
    actions = ["review", "review", "auto", "reject", "auto"]
    labels = [CellType.NEUTROPHIL, None, None, CellType.MONOCYTE, "no_cell"]
    tally = Tally.of(cells, actions, labels)
    assert tally.auto == {CellType.NEUTROPHIL: 1}
    assert tally.review == {CellType.IG: 1}
    assert tally.labelled == {CellType.NEUTROPHIL: 1, CellType.MONOCYTE: 1}
    assert tally.rejected == 1
    found = differential(tally, PERFECT)
    assert (found.cells, found.white, found.in_review, found.labelled, found.rejected) == (5, 4, 1, 2, 1)
    neutrophils = found.of(CellType.NEUTROPHIL)
    assert (neutrophils.counted, neutrophils.labelled) == (2, 1)


def test_labelled_cells_are_not_corrected() -> None:
    """A matrix that takes a neutrophil in a hundred for ig says nothing of an ig that a person has named."""
    by_model = differential(Tally(auto={CellType.NEUTROPHIL: 196, CellType.IG: 4}), leaky(0.01)).of(CellType.IG)
    auto, labelled = {CellType.NEUTROPHIL: 196}, {CellType.IG: 4}
    by_person = differential(Tally(auto=auto, labelled=labelled), leaky(0.01)).of(CellType.IG)
    assert by_model.raw == by_person.raw
    assert by_model.corrected.value < 1.2
    assert by_person.corrected.value == pytest.approx(2, abs=0.1)
    alone = differential(Tally(labelled={CellType.NEUTROPHIL: 196, CellType.IG: 4}), leaky(0.01)).of(CellType.IG)
    exact = binomtest(4, 200).proportion_ci(0.95, method="exact")
    assert (alone.corrected.low, alone.corrected.high) == pytest.approx((100 * exact.low, 100 * exact.high), abs=0.15)


def test_the_draws_hold_the_known_cells() -> None:
    known = np.array([0, 0, 0, 5, 0, 0, 7, 0])
    draws = true_counts(HEALTHY, leaky(0.01), np.random.default_rng(0), chains=8, kept=4, known=known)
    assert (draws.sum(axis=1) == HEALTHY.sum() + 12).all()
    assert (draws >= known).all()


def test_where_hardly_a_white_cell_is_left_the_erythroblasts_stay_a_number() -> None:
    confusion = PERFECT.copy()
    confusion[ERYTHROBLAST, ERYTHROBLAST] -= 1
    confusion[ERYTHROBLAST, CellType.LYMPHOCYTE.position] += 1
    answers = np.zeros(8, dtype=int)
    answers[[ERYTHROBLAST, CellType.LYMPHOCYTE.position]] = 300, 2
    found = differential(tally_of(answers), confusion, Question()).erythroblasts
    assert found.raw.value == pytest.approx(15_000)
    assert found.corrected.low <= found.corrected.value <= found.corrected.high <= 1_000_000
