"""Training pictures as they might also have been taken."""

import numpy as np
import pytest

from bloodyspy.model import augmentation
from bloodyspy.model.augmentation import augment

CHANGES = ("SHIFT", "ZOOM", "GAMMA", "GAMMA_OF_CHANNEL", "GAIN_OF_CHANNEL", "CONTRAST", "OFFSET", "SATURATION")


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Turned and mirrored alone."""
    for name in (*CHANGES, "TURN_OF_HUE", "BLURRED", "VIGNETTED", "NOISY"):
        monkeypatch.setattr(augmentation, name, 0.0)
    monkeypatch.setattr(augmentation, "GAIN", (1.0, 1.0))
    return monkeypatch


def batch(n: int = 16, size: int = 12) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def grey(n: int, size: int = 32, level: int = 128) -> np.ndarray:
    return np.full((n, size, size, 3), level, np.uint8)


@pytest.mark.parametrize("how", ["none", "positions", "full"])
def test_the_same_seed_gives_the_same_pictures_and_the_fields_stay(how: str) -> None:
    given = batch()
    first, again, other = (augment(given, 8, how, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == (16, 8, 8, 3)
    np.testing.assert_array_equal(first, again)
    assert (first != other).any() == (how != "none")
    np.testing.assert_array_equal(given, batch())


def test_without_augmentation_the_centres_are_seen() -> None:
    np.testing.assert_array_equal(augment(batch(), 8, "none", np.random.default_rng(0)), batch()[:, 2:10, 2:10])


def test_every_one_of_the_eight_positions_occurs_and_no_other() -> None:
    field = batch(1)[0]
    centre = field[2:10, 2:10]
    positions = {np.rot90(side, turns).tobytes() for side in (centre, centre[:, ::-1]) for turns in range(4)}
    seen = augment(np.repeat(field[None], 200, axis=0), 8, "positions", np.random.default_rng(0))
    assert {one.tobytes() for one in seen} == positions
    assert len(positions) == 8


@pytest.mark.usefixtures("still")
def test_a_turned_picture_turns_about_its_middle_and_half_are_mirrored() -> None:
    # A bright disc in the middle stays; two spots, red at the right and green below it by a quarter turn, move around.
    y, x = np.mgrid[-20:21, -20:21]
    field = np.zeros((41, 41, 3), np.uint8)
    field[x**2 + y**2 <= 16] = 250
    field[(x - 11) ** 2 + y**2 <= 6, 0] = 250
    field[x**2 + (y - 11) ** 2 <= 6, 1] = 250
    seen = augment(np.repeat(field[None], 200, axis=0), 31, "full", np.random.default_rng(1)).astype(float)
    row, column = np.mgrid[-15:16, -15:16]
    ring = (row**2 + column**2) > 36
    angles = []
    for picture in seen:
        assert picture[15, 15].min() > 240
        spots = [(picture[..., c] * ring, picture[..., c] * ring) for c in (0, 1)]
        angles.append([np.arctan2((a * row).sum(), (b * column).sum()) for a, b in spots])
    red, green = np.transpose(angles)
    assert len(np.histogram(red, 8, (-np.pi, np.pi))[0].nonzero()[0]) == 8
    quarter = np.angle(np.exp(1j * (green - red)))
    np.testing.assert_allclose(np.abs(quarter), np.pi / 2, atol=0.15)
    assert 70 < (quarter > 0).sum() < 130


def test_a_moved_picture_takes_in_what_lies_in_the_margin(still: pytest.MonkeyPatch) -> None:
    still.setattr(augmentation, "SHIFT", 0.25)
    field = grey(300, 48, 200)
    field[:, 4:44, 4:44] = 50  # the input of 32 sees the rim only when it moves
    seen = augment(field, 32, "full", np.random.default_rng(0))
    assert (seen.max(axis=(1, 2, 3)) > 190).mean() > 0.2
    zooms = grey(1, 48, 50)
    still.setattr(augmentation, "SHIFT", 0.0)
    still.setattr(augmentation, "ZOOM", 0.4)
    zooms[:, 19:29, 19:29] = 250
    areas = [float((augment(zooms, 32, "full", np.random.default_rng(seed)) > 150).mean()) for seed in range(60)]
    assert max(areas) > 2 * min(areas)
    assert min(areas) < 100 / 1024 < max(areas)


def test_exposure_and_colour_move_and_channels_go_apart() -> None:
    seen = augment(grey(400), 16, "full", np.random.default_rng(0)).mean(axis=(1, 2))
    assert 60 < seen.min() < 100
    assert 150 < seen.max() < 220
    assert abs(seen.mean() - 126) < 8
    assert 15 < np.ptp(seen, axis=1).max() < 60


def test_values_are_clipped_and_never_wrap() -> None:
    extremes = np.concatenate([grey(200, level=0), grey(200, level=255)])
    seen = augment(extremes, 16, "full", np.random.default_rng(0)).astype(int)
    assert seen[:200].max() < 110
    assert seen[200:].min() > 100


def test_some_pictures_are_blurred_and_some_have_grain(still: pytest.MonkeyPatch) -> None:
    speckled = np.repeat(batch(1, 48), 100, axis=0)
    sharp = augment(speckled, 32, "full", np.random.default_rng(0)).std(axis=(1, 2, 3))
    still.setattr(augmentation, "BLURRED", 0.5)
    still.setattr(augmentation, "BLUR", (4.0, 4.0))  # in pixels of an input of 96: here a third
    blurred = augment(speckled, 32, "full", np.random.default_rng(0)).std(axis=(1, 2, 3))
    assert blurred.min() < 0.4 * sharp.min()
    assert 0.3 < (blurred < 0.9 * sharp.min()).mean() < 0.7
    still.setattr(augmentation, "BLURRED", 0.0)
    still.setattr(augmentation, "NOISY", 0.5)
    grain = augment(grey(200), 24, "full", np.random.default_rng(0)).std(axis=(1, 2, 3))
    assert 0.4 < (grain > 1).mean() < 0.6
    assert 8 < grain.max() <= 10.5
