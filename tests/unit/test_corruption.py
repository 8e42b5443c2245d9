"""Shifts grow with their severity, do what they say and nothing else, and are the same on every machine."""

import hashlib
import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bloodyspy.cells import CellType
from bloodyspy.errors import ImageError, UnreadableImage
from bloodyspy.images import corruption
from bloodyspy.images.corruption import SEVERITIES, SHIFTS, STRESSES, Shift, shift, shift_payload
from bloodyspy.images.decode import decode
from bloodyspy.images.fields import Pixels, chance, generator_of, glass_of
from bloodyspy.images.optics import move
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


def test_every_kind_has_five_severities_and_is_in_the_table() -> None:
    assert {kind: len(ladder.steps) for kind, ladder in SHIFTS.items()} == dict.fromkeys(Shift, len(SEVERITIES))
    assert set(STRESSES) == set(Shift) - {Shift.STAIN}
    # each number of the table in the module's docstring is one that is used, row by row
    lines = [line for line in str(corruption.__doc__).splitlines() if re.search(r"(\s{2,}[\d.]+){5}$", line)][1:]
    told = [tuple(float(number) for number in line.split()[-5:]) for line in lines]
    used = [column for ladder in SHIFTS.values() for column in zip(*ladder.steps, strict=True)]
    assert told == [tuple(map(float, column)) for column in used]


@pytest.mark.parametrize("kind", Shift)
def test_each_severity_is_further_from_the_picture_than_the_one_before(kind: Shift) -> None:
    for payload in DRAWN.values():
        pixels = decode(payload).pixels
        far = [((shift(pixels, kind, severity).astype(int) - pixels) ** 2).mean() for severity in SEVERITIES]
        assert far[0] > 0.5  # squared grey levels: even the weakest is there
        assert all(less < more for less, more in pairwise(far)), far


def flat(colour: tuple[int, int, int], side: int = 120) -> Pixels:
    return np.full((side, side, 3), colour, dtype=np.uint8)


def varied_pictures(wanted: bool) -> Pixels:
    """A picture with a dark, coloured square whose luck falls as wanted."""
    for value in range(200, 256):
        pixels = flat((value, 225, 215))
        pixels[40:80, 40:80] = (150, 90, 160)
        if chance(generator_of(pixels), 0.5) is wanted:
            return pixels
    raise AssertionError("no such picture")


def test_hue_turns_either_way_and_keeps_the_strength() -> None:
    turned = []
    for wanted in (True, False):
        pixels = varied_pictures(wanted)
        stained = np.zeros(len(pixels) ** 2, dtype=bool)
        stained[60 * 120 + 60] = True
        before, after = stain(pixels)[stained], stain(shift(pixels, Shift.STAIN_HUE, 3))[stained]
        assert after.sum() == pytest.approx(before.sum(), rel=0.03)
        turned.append((hue(shift(pixels, Shift.STAIN_HUE, 3), stained) - hue(pixels, stained) + 180) % 360 - 180)
    assert sorted(np.abs(turned)) == pytest.approx([17, 17], abs=1.5)
    assert np.sign(turned).sum() == 0


def test_strength_goes_either_way_and_keeps_the_hue() -> None:
    for wanted, times in ((True, 1.55), (False, 1 / 1.55)):
        pixels = varied_pictures(wanted)
        middle = np.arange(len(pixels) ** 2) == 60 * 120 + 60
        shifted = shift(pixels, Shift.STAIN_STRENGTH, 3)
        assert stain(shifted)[middle].sum() == pytest.approx(times * stain(pixels)[middle].sum(), rel=0.03)
        assert hue(shifted, middle) == pytest.approx(hue(pixels, middle), abs=1.5)


def test_deposit_is_dark_and_only_grows() -> None:
    pixels = decode(DRAWN[CellType.PLATELET]).pixels
    covered = [(shift(pixels, Shift.DEPOSIT, severity) != pixels).any(axis=-1) for severity in SEVERITIES]
    for fewer, more in pairwise(covered):
        assert (more | ~fewer).all()  # what lay there lies there still
        assert more.sum() > fewer.sum()
    assert 0.01 < covered[-1].mean() < 0.12
    spoilt = shift(pixels, Shift.DEPOSIT, 5)[covered[-1]].astype(int)
    assert spoilt.mean() < pixels[covered[-1]].mean() - 30


def test_motion_is_a_line_as_long_as_promised() -> None:
    pixels = flat((0, 0, 0), 360)
    pixels[180, 180] = 255
    down, right = np.nonzero(shift(pixels, Shift.MOTION, 5)[..., 0])
    length = np.hypot(down.max() - down.min(), right.max() - right.min())
    assert length == pytest.approx(26, abs=1.5)
    assert len(down) <= 27  # one pixel wide


def test_motion_along_a_long_line_keeps_even_light() -> None:
    even = flat((251, 229, 3), 60)
    assert (move(even, 2400) == even).all()  # a line of 401 places: their sum is beyond 16 bits


def test_magnification_goes_either_way_by_as_much_as_promised() -> None:
    sides = []
    for wanted in (True, False):
        pixels = varied_pictures(wanted)
        dark = shift(pixels, Shift.MAGNIFICATION, 3)[..., 1] < 160
        sides.append(np.sqrt(dark.sum()) / 40)
    assert sorted(sides) == pytest.approx([1 / 1.32, 1.32], abs=0.03)


def test_a_bubble_is_round_ringed_and_nearer_the_cell_the_worse() -> None:
    pixels = flat((250, 228, 214), 360)
    reached = []
    for severity in SEVERITIES:
        shifted = shift(pixels, Shift.BUBBLE, severity)
        down, right = np.nonzero((shifted != pixels).any(axis=-1))
        radius, distance = SHIFTS[Shift.BUBBLE].steps[severity - 1]
        assert np.ptp(down) == pytest.approx(2 * radius, abs=4)
        assert np.ptp(right) == pytest.approx(2 * radius, abs=4)
        middle = (down.min() + down.max()) / 2 - 179.5, (right.min() + right.max()) / 2 - 179.5
        assert np.hypot(*middle) == pytest.approx(distance, abs=2)
        assert shifted.min() < 70  # the rim
        reached.append(distance - radius)
    assert all(further > nearer for further, nearer in pairwise(reached))


def test_stray_light_keeps_the_glass_and_takes_contrast() -> None:
    pixels = varied_pictures(True)
    shifted = shift(pixels, Shift.CONTRAST, 3)
    assert np.abs(shifted[0, 0].astype(int) - pixels[0, 0]).max() <= 1

    def light(p: Pixels) -> NDArray[np.float64]:
        return np.asarray((p.astype(float) / 255) ** 2.2)

    kept = (light(shifted)[0, 0] - light(shifted)[60, 60]) / (light(pixels)[0, 0] - light(pixels)[60, 60])
    assert kept == pytest.approx(0.78, abs=0.02)


def test_noise_has_the_promised_spread_and_no_bias() -> None:
    noise = shift(flat((128, 128, 128), 200), Shift.NOISE, 3).astype(float) - 128
    assert noise.std() == pytest.approx(32, rel=0.02)
    assert abs(noise.mean()) < 0.4
    assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]) < 0.02
    assert np.mean(np.abs(noise) < 32.5) == pytest.approx(0.683, abs=0.02)  # a bell


def test_two_pictures_have_each_their_own_luck() -> None:
    first, second = (flat(colour) for colour in ((200, 200, 200), (201, 201, 201)))
    noise = [shift(p, Shift.NOISE, 3).astype(int) - p for p in (first, second)]
    assert (noise[0] != noise[1]).mean() > 0.9


def test_the_glass_is_the_lightest_tenth() -> None:
    pixels = flat((10, 20, 30), 10)
    pixels[:2] = (200, 210, 220)
    assert glass_of(pixels) == (200, 210, 220)
    assert glass_of(flat((10, 20, 30), 10)) == (10, 20, 30)


@pytest.mark.parametrize("kind", Shift)
@pytest.mark.parametrize("severity", [0, 6, -1])
def test_other_severities_are_refused_in_words(kind: Shift, severity: int) -> None:
    with pytest.raises(ImageError, match=f"no severity {severity} of {kind}.*from 1 to 5"):
        shift(decode(DRAWN[CellType.MONOCYTE]).pixels, kind, severity)


def test_stain_leaves_the_glass_alone() -> None:
    pixels = decode(DRAWN[CellType.PLATELET]).pixels
    glass = tuple(int(np.percentile(pixels[..., channel], 90)) for channel in range(3))
    empty = np.full((20, 20, 3), glass, dtype=np.uint8)
    assert np.abs(shift(empty, Shift.STAIN, 5).astype(int) - empty).max() <= 1


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
    even = np.full((50, 60, 3), (251, 229, 3), dtype=np.uint8)
    assert (shift(even, Shift.BLUR, 5) == even).all()


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
    assert np.abs(picture.pixels.astype(int) - exact).mean() < (4 if kind is Shift.NOISE else 1.5)


def test_a_broken_payload_says_so() -> None:
    with pytest.raises(UnreadableImage):
        shift_payload(b"no picture", Shift.BLUR, 1)


# First digits of the SHA-256 of one drawn picture at severity 3. Where one changes, stress results of before and after
# cannot be compared: then say so in docs/results.
PINNED = {
    Shift.STAIN: "d59cbe1ee2700cb3",
    Shift.STAIN_HUE: "91dd3d543f127a83",
    Shift.STAIN_STRENGTH: "6b0b5714e2bced7f",
    Shift.DEPOSIT: "20065dc9c6a21fa3",
    Shift.BLUR: "141a2baa3a8d5c79",
    Shift.MOTION: "7a47f40bcd8ff958",
    Shift.MAGNIFICATION: "58f9bc14acfd9e74",
    Shift.BUBBLE: "4ace8ab7c5ae0d17",
    Shift.ILLUMINATION: "ddd8ee7581c81ed5",
    Shift.CONTRAST: "73711090ed0f4f98",
    Shift.NOISE: "494976b7705831ac",
    Shift.JPEG: "b77b729f6b277a18",
}
_DIGESTS = (
    "import hashlib; from bloodyspy.cells import CellType; from bloodyspy.images.corruption import Shift, shift;"
    "from bloodyspy.images.decode import decode; from bloodyspy.images.synthetic import draw_picture;"
    "pixels = decode(draw_picture(CellType.MONOCYTE, 1, 20)[1]).pixels;"
    "print({kind.name: hashlib.sha256(shift(pixels, kind, 3).tobytes()).hexdigest()[:16] for kind in Shift})"
)


def test_shifts_do_not_drift() -> None:
    pixels = decode(DRAWN[CellType.MONOCYTE]).pixels
    assert {kind: hashlib.sha256(shift(pixels, kind, 3).tobytes()).hexdigest()[:16] for kind in Shift} == PINNED


def test_older_processors_shift_alike() -> None:
    # numpy, the C library and libjpeg choose faster code where the processor has it; here they are told that it has not
    from numpy._core import _multiarray_umath

    old = {
        "NPY_DISABLE_CPU_FEATURES": " ".join(_multiarray_umath.__cpu_dispatch__),
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-AVX,-FMA,-FMA4,-AVX512F,-SSE4_1",
        "JSIMD_FORCENONE": "1",
    }
    command = [sys.executable, "-W", "ignore", "-c", _DIGESTS]
    shifted = subprocess.run(command, env=os.environ | old, capture_output=True, text=True, check=True)
    assert shifted.stdout.strip() == str({kind.name: digest for kind, digest in PINNED.items()})
