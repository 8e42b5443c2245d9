"""What the differential promises, on smears drawn from a model whose answers are drawn."""

import numpy as np
import pytest

from bloodyspy.cells import CELL_TYPES, CellType
from bloodyspy.smear import simulation
from bloodyspy.smear.simulation import COMPOSITIONS, COUNTED, simulate

SIZES = np.array([82, 216, 98, 199, 97, 94, 222, 134])
"""Sealed images of the 7,711 real ones, by type."""

SEEN_AS = {0: 3, 1: 6, 2: 4, 3: 6, 4: 2, 5: 3, 6: 3, 7: 2}
"""What a wrong answer is, mostly."""


def drawn_answers(wrong: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Actual and predicted types of the sealed images, for a model that is wrong about that share of each type."""
    rng = np.random.default_rng(seed)
    actual = np.repeat(np.arange(8), SIZES)
    other = np.where(rng.random(len(actual)) < 0.7, [SEEN_AS[i] for i in actual], rng.integers(0, 8, len(actual)))
    return actual, np.where(rng.random(len(actual)) < wrong, other, actual)


@pytest.mark.parametrize("composition", COMPOSITIONS[:2], ids=lambda composition: composition.name)
def test_the_intervals_hold_the_truth_and_are_hardly_wider_than_an_unerring_readers(
    composition: simulation.Composition,
) -> None:
    found = simulate(*drawn_answers(0.02), composition, smears=120)
    assert [agreement.cell_type for agreement in found.types] == list(COUNTED)
    for agreement in found.types:
        assert agreement.coverage >= 0.90, agreement  # 94 % less two and a half standard errors of 120 smears
        assert agreement.width <= 1.3 * max(agreement.exact_width, agreement.raw_width), agreement
        assert agreement.limits[0] < agreement.bias < agreement.limits[1]


def test_the_correction_takes_the_bias_off() -> None:
    ig = simulate(*drawn_answers(0.02, seed=1), COMPOSITIONS[0], smears=200).of(CellType.IG)
    assert ig.raw_bias > 0.5
    assert abs(ig.bias) < ig.raw_bias / 2
    assert ig.bias_error < 0.1


def test_a_smear_is_corrected_with_images_that_it_does_not_hold() -> None:
    """Each image gives an answer of its own: it is either in the smear or in the matrix."""
    images = [np.full(int(size), position) for position, size in enumerate(SIZES)]
    true = np.array([3, 10, 0, 2, 40, 12, 133, 500])
    answers, confusion = simulation._draw(true, images, np.random.default_rng(0))
    np.testing.assert_array_equal(answers, true)
    np.testing.assert_array_equal(confusion.sum(axis=1), SIZES - np.minimum(true, SIZES // 2))


def test_every_composition_is_one() -> None:
    for composition in COMPOSITIONS:
        assert sum(composition.white.values()) == pytest.approx(100)
        true = simulation._true_cells(composition, 400, 200, np.random.default_rng(0))
        white = [cell.position for cell in composition.white]
        assert (true[:, white].sum(axis=1) == 200).all()
        means = 100 * true.mean(axis=0)[[*white, CellType.ERYTHROBLAST.position]] / 200
        np.testing.assert_allclose(means, composition.truth, atol=0.8)
    assert len(CELL_TYPES) == 8
