"""Shifts grow with their severity, do what they say and nothing else, and have no chance in them."""

import hashlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bloodyspy.cells import CellType
from bloodyspy.errors import ImageError, UnreadableImage
from bloodyspy.images.corruption import SEVERITIES, SHIFTS, Shift, shift, shift_payload
from bloodyspy.images.decode import decode
from bloodyspy.images.statistics import describe
from bloodyspy.images.synthetic import draw_picture

DRAWN = {cell: draw_picture(cell, 1, 20)[1] for cell in (CellType.EOSINOPHIL, CellType.MONOCYTE, CellType.PLATELET)}


def real_payloads(real_data: Path) -> list[bytes]:
    """The first picture of each of six folders, two of them of another laboratory."""
    folders = [*sorted((real_data / "pbc").iterdir())[::2], *sorted((real_data / "other-labs" / "bccd").iterdir())[:2]]
    pictures = (path for folder in folders for path in sorted(folder.glob("[!.]*"))[:1])
    return [path.read_bytes() for path in pictures]


def stain(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Optical densities above the glass, shape (pixels, 3)."""
    density = -np.log((pixels.reshape(-1, 3).astype(float) + 1) / 256)
    return density - np.percentile(density, 10, axis=0)


def hue(pixels: NDArray[np.uint8], of: NDArray[np.bool_]) -> float:
    """Angle of the mean stain of the chosen pixels about the grey axis of density space, degrees."""
    red, green, blue = stain(pixels)[of].mean(axis=0)
    return float(np.degrees(np.arctan2((green - blue) * np.sqrt(3), 2 * red - green - blue)))


def check_growth(payload: bytes) -> None:
    pixels = decode(payload).pixels
    blurred = [describe(p).sharpness for p in (pixels, *(shift(pixels, Shift.BLUR, s) for s in SEVERITIES))]
    assert all(sharper > softer for sharper, softer in pairwise(blurred))
    dimmed = [shift(pixels, Shift.ILLUMINATION, s) for s in SEVERITIES]
    light = [p.mean() for p in (pixels, *dimmed)]
    assert all(more > less + 2 for more, less in pairwise(light))
    warmth = [p[..., 0].mean() / p[..., 2].mean() for p in (pixels, *dimmed)]
    assert all(cooler < warmer for cooler, warmer in pairwise(warmth))
    stained = [shift(pixels, Shift.STAIN, s) for s in SEVERITIES]
    stainable = stain(pixels).sum(axis=1) > 0.5
    hues = np.unwrap([hue(p, stainable) for p in (pixels, *stained)], period=360)
    turned = np.abs(np.diff(hues))
    assert (turned > 2).all()
    assert (np.sign(np.diff(hues)) == np.sign(hues[-1] - hues[0])).all()
    far = [np.abs(p.astype(int) - pixels).mean() for p in stained]
    assert all(less < more for less, more in pairwise(far))


@pytest.mark.parametrize("cell", DRAWN)
def test_shifts_of_drawn_pictures_grow(cell: CellType) -> None:
    check_growth(DRAWN[cell])


def test_shifts_of_real_pictures_grow(real_data: Path) -> None:
    for payload in real_payloads(real_data):
        check_growth(payload)


@pytest.mark.parametrize("kind", Shift)
@pytest.mark.parametrize("shape", [(363, 360, 3), (40, 91, 3), (1, 1, 3), (3, 700, 3)])
def test_any_size_keeps_its_shape_and_its_original(kind: Shift, shape: tuple[int, int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    before = pixels.copy()
    for severity in SEVERITIES:
        shifted = shift(pixels, kind, severity)
        assert shifted.shape == shape
        assert shifted.dtype == np.uint8
    assert (pixels == before).all()


def test_every_kind_is_in_the_table() -> None:
    assert set(SHIFTS) == set(Shift)


@pytest.mark.parametrize("kind", Shift)
@pytest.mark.parametrize("severity", [0, 6, -1])
def test_other_severities_are_refused_in_words(kind: Shift, severity: int) -> None:
    with pytest.raises(ImageError, match=f"no severity {severity} of {kind}.*from 1 to 5"):
        shift(decode(DRAWN[CellType.MONOCYTE]).pixels, kind, severity)


def test_stain_leaves_the_glass_alone() -> None:
    pixels = decode(DRAWN[CellType.PLATELET]).pixels
    glass = tuple(int(np.percentile(pixels[..., channel], 90)) for channel in range(3))
    flat = np.full((20, 20, 3), glass, dtype=np.uint8)
    assert np.abs(shift(flat, Shift.STAIN, 5).astype(int) - flat).max() <= 1


def test_blur_is_a_disc_of_the_promised_radius() -> None:
    pixels = np.zeros((361, 361, 3), dtype=np.uint8)
    pixels[180, 180] = 255
    pixels[180, 180:181] = 255
    spread = shift(np.where(pixels > 0, np.uint8(255), np.uint8(0)), Shift.BLUR, 5)[..., 0] > 0
    down, right = np.nonzero(spread)
    radius = np.hypot(down - 180, right - 180).max()
    assert 5 <= radius <= 6
    assert abs(spread.sum() - np.pi * 5.5**2) < 12


def test_blur_keeps_even_light() -> None:
    flat = np.full((50, 60, 3), (251, 229, 3), dtype=np.uint8)
    assert (shift(flat, Shift.BLUR, 5) == flat).all()


def test_light_falls_off_towards_the_corners() -> None:
    shifted = shift(np.full((101, 101, 3), 200, dtype=np.uint8), Shift.ILLUMINATION, 3).astype(int)
    middle, corner = shifted[50, 50], shifted[0, 0]
    assert (corner < middle).all()
    assert middle[0] > middle[1] > middle[2]
    # as much light as the table says, on a screen of gamma 2.2
    assert middle[0] == pytest.approx(200 * 0.68 ** (1 / 2.2), abs=1)
    assert middle[2] == pytest.approx(200 * (0.68 * 0.79) ** (1 / 2.2), abs=1)
    assert corner[0] == pytest.approx(200 * (0.68 * 0.68) ** (1 / 2.2), abs=1)


@pytest.mark.parametrize("kind", Shift)
def test_payloads_are_shifted_and_readable(kind: Shift) -> None:
    payload = DRAWN[CellType.EOSINOPHIL]
    shifted = shift_payload(payload, kind, 3)
    assert shifted == shift_payload(payload, kind, 3)
    picture = decode(shifted)
    assert picture.format == "JPEG"
    exact = shift(decode(payload).pixels, kind, 3)
    assert np.abs(picture.pixels.astype(int) - exact).mean() < 1.5


def test_a_broken_payload_says_so() -> None:
    with pytest.raises(UnreadableImage):
        shift_payload(b"no picture", Shift.BLUR, 1)


def test_shifts_do_not_drift() -> None:
    pixels = decode(DRAWN[CellType.MONOCYTE]).pixels
    found = {kind: hashlib.sha256(shift(pixels, kind, 3).tobytes()).hexdigest()[:16] for kind in Shift}
    assert found == {
        Shift.STAIN: "d59cbe1ee2700cb3",
        Shift.BLUR: "141a2baa3a8d5c79",
        Shift.ILLUMINATION: "ddd8ee7581c81ed5",
    }
