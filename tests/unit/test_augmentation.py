"""Training pictures as they might also have been taken."""

import numpy as np
import pytest

from bloodyspy.model import augmentation
from bloodyspy.model.augmentation import augment


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Positions alone: exposure and colour left as they are."""
    for range_ in ("BRIGHTNESS", "CONTRAST", "TINT"):
        monkeypatch.setattr(augmentation, range_, 0.0)


def batch(n: int = 16, size: int = 12) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def test_the_same_seed_gives_the_same_pictures() -> None:
    first, again, other = (augment(batch(), np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_the_given_pictures_stay_as_they_are() -> None:
    given = batch()
    augment(given, np.random.default_rng(0))
    np.testing.assert_array_equal(given, batch())


@pytest.mark.usefixtures("still")
def test_every_one_of_the_eight_positions_occurs_and_no_other() -> None:
    picture = batch(1)[0]
    positions = {np.rot90(side, turns).tobytes() for side in (picture, picture[:, ::-1]) for turns in range(4)}
    seen = {one.tobytes() for one in augment(np.repeat(picture[None], 200, axis=0), np.random.default_rng(0))}
    assert seen == positions
    assert len(positions) == 8


def test_exposure_and_colour_move_a_little_and_independently() -> None:
    grey = np.full((500, 4, 4, 3), 128, np.uint8)
    moved = augment(grey, np.random.default_rng(0)).astype(int) - 128
    limit = augmentation.BRIGHTNESS + augmentation.TINT + 1
    assert 0.7 * limit < np.abs(moved).max() <= limit
    assert abs(moved.mean()) < 1.5
    assert np.ptp(moved, axis=-1).max() > augmentation.TINT  # channels go apart


def test_values_are_clipped_and_never_wrap() -> None:
    extremes = np.stack([np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)] * 50)
    moved = augment(extremes, np.random.default_rng(0))
    assert moved[::2].max() < 60
    assert moved[1::2].min() > 195
