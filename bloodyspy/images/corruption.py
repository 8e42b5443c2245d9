"""Shifts as they happen in a laboratory, at five strengths: is drift noticed, and what does it do to a model?

A shift has no chance in it: the same picture, kind and severity give the same pixels on every machine (the rule of
exactness is in :mod:`bloodyspy.images.fields`). Severity 1 is what two careful laboratories differ by, 5 is what nobody
should read.

============  ============================================  ======  ======  ======  ======  ======
kind          what changes                                       1       2       3       4       5
============  ============================================  ======  ======  ======  ======  ======
stain         turn of the stain's hue towards blue, degrees      6      12      20      30      42
              optical density of the stain, times             1.06    1.12    1.20    1.30    1.42
blur          radius of the disc of confusion, pixels of a
              picture whose shorter side is 360 (at
              least one pixel of the picture's own)                 1     1.8     2.8       4     5.5
illumination  light left in the middle, share                 0.90    0.80    0.68    0.56    0.44
              blue light left for each red (a dimmed lamp
              is warmer), share                               0.94    0.87    0.79    0.70    0.60
              light lost in the corners, share                0.10    0.20    0.32    0.45    0.60
============  ============================================  ======  ======  ======  ======  ======
"""

import io
import math
from collections.abc import Callable, Mapping
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bloodyspy.errors import ImageError
from bloodyspy.images.decode import decode

Pixels = NDArray[np.uint8]

SEVERITIES = range(1, 6)


class Shift(StrEnum):
    """What can go differently between two laboratories."""

    STAIN = "stain"
    BLUR = "blur"
    ILLUMINATION = "illumination"


_TURN = (6, 12, 20, 30, 42)
_DENSITY = (1.06, 1.12, 1.20, 1.30, 1.42)
_RADIUS = (1.0, 1.8, 2.8, 4.0, 5.5)
_LIGHT = (0.90, 0.80, 0.68, 0.56, 0.44)
_BLUE = (0.94, 0.87, 0.79, 0.70, 0.60)
_CORNER = (0.10, 0.20, 0.32, 0.45, 0.60)

# Densities are whole numbers of 1/1000 (natural logarithm), so that a table, not the CPU's exp, gives the light back.
_STEPS = 1000
_DENSITY_OF = np.array([round(-_STEPS * math.log((value + 1) / 256)) for value in range(256)], dtype=np.int32)
_LIGHT_OF = np.array([round(256 * math.exp(-step / _STEPS) - 1) for step in range(round(_STEPS * math.log(256)) + 1)])
_LIGHT_OF = np.clip(_LIGHT_OF, 0, 255).astype(np.uint8)

# Screen values to light and back (gamma 2.2), in 1/65535 and 1/4095 of white.
_LINEAR = np.array([round(65535 * math.pow(value / 255, 2.2)) for value in range(256)], dtype=np.float32)
_SCREEN = np.array([round(255 * math.pow(value / 4095, 1 / 2.2)) for value in range(4096)], dtype=np.uint8)


def shift(pixels: Pixels, kind: Shift, severity: int) -> Pixels:
    """Shift one picture.

    Args:
        pixels: RGB of shape (height, width, 3), 0 to 255.
        kind: what goes differently.
        severity: 1 to 5, as in the table above.

    Returns:
        A new array of the same shape.

    Raises:
        ImageError: the severity is not 1, 2, 3, 4 or 5.
    """
    if severity not in SEVERITIES:
        raise ImageError(f"There is no severity {severity} of {kind}. Give a whole number from 1 to 5.")
    return SHIFTS[kind](pixels, severity)


def shift_payload(payload: bytes, kind: Shift, severity: int) -> bytes:
    """Shift the picture in a file's bytes; the result is a JPEG of quality 95, its colours at full resolution.

    Raises:
        UnreadableImage, ImageTooLarge: from decoding.
        ImageError: the severity is not 1, 2, 3, 4 or 5.
    """
    stream = io.BytesIO()
    shifted = Image.fromarray(shift(decode(payload).pixels, kind, severity))
    shifted.save(stream, format="JPEG", quality=95, subsampling="4:4:4")
    return stream.getvalue()


def shift_stain(pixels: Pixels, severity: int) -> Pixels:
    """More stain, and bluer: what a higher pH of the buffer or a new lot of Giemsa does.

    Optical density (Beer and Lambert) above that of the empty glass is turned about the grey axis of RGB and
    multiplied; the glass, taken as the 90th percentile of each channel, keeps its colour.
    """
    # columns: what a unit of red, green and blue density becomes after the turn about (1, 1, 1), by Rodrigues' formula
    turn, density = math.radians(_TURN[severity - 1]), _DENSITY[severity - 1]
    same = (1 + 2 * math.cos(turn)) / 3
    before = (1 - math.cos(turn)) / 3 - math.sin(turn) / math.sqrt(3)
    after = (1 - math.cos(turn)) / 3 + math.sin(turn) / math.sqrt(3)
    same, before, after = (round(density * share, 6) for share in (same, before, after))

    absorbed = _DENSITY_OF[pixels]
    glass = [int(_DENSITY_OF[_percentile(pixels[..., channel], 90)]) for channel in range(3)]
    red, green, blue = (absorbed[..., channel] - glass[channel] for channel in range(3))
    turned = (
        red * same + green * after + blue * before,
        red * before + green * same + blue * after,
        red * after + green * before + blue * same,
    )
    result = np.empty_like(pixels)
    for channel, stained in enumerate(turned):
        whole = np.rint(stained).astype(np.int32) + glass[channel]
        result[..., channel] = _LIGHT_OF[np.clip(whole, 0, len(_LIGHT_OF) - 1)]
    return result


def shift_blur(pixels: Pixels, severity: int) -> Pixels:
    """Out of focus: each point becomes a disc, as a lens does it (and a Gaussian does not)."""
    height, width = pixels.shape[:2]
    radius = max(1.0, _RADIUS[severity - 1] * min(height, width) / 360)
    reach = math.ceil(radius)
    padded = np.pad(pixels, ((reach, reach), (reach + 1, reach), (0, 0)), mode="edge").astype(np.int32)
    running = padded.cumsum(axis=1, dtype=np.int32)
    total = np.zeros(pixels.shape, dtype=np.int32)
    area = 0
    for down in range(-reach, reach + 1):
        # a pixel counts when its centre lies within a quarter pixel of the disc
        left = (radius + 0.25) * (radius + 0.25) - down * down
        if left < 0:
            continue
        half = math.isqrt(math.floor(left))
        rows = running[reach + down : reach + down + height]
        total += rows[:, reach + 1 + half : reach + 1 + half + width] - rows[:, reach - half : reach - half + width]
        area += 2 * half + 1
    return ((total + area // 2) // area).astype(np.uint8)


def shift_illumination(pixels: Pixels, severity: int) -> Pixels:
    """A lamp turned down: darker, warmer, darker still towards the corners. Reckoned in light, not in screen values."""
    height, width = pixels.shape[:2]
    x = (np.arange(width, dtype=np.float32) * 2 - (width - 1)) / max(1, width - 1)
    y = (np.arange(height, dtype=np.float32) * 2 - (height - 1)) / max(1, height - 1)
    falloff = 1 - (_CORNER[severity - 1] / 2) * (x * x + (y * y)[:, None])
    blue = _BLUE[severity - 1]
    result = np.empty_like(pixels)
    for channel, warmth in enumerate((1.0, round(math.sqrt(blue), 6), blue)):
        light = _LINEAR[pixels[..., channel]] * (falloff * (warmth * _LIGHT[severity - 1] * 4095 / 65535))
        result[..., channel] = _SCREEN[np.rint(light).astype(np.int32)]
    return result


SHIFTS: Mapping[Shift, Callable[[Pixels, int], Pixels]] = {
    Shift.STAIN: shift_stain,
    Shift.BLUR: shift_blur,
    Shift.ILLUMINATION: shift_illumination,
}


def _percentile(values: Pixels, percent: int) -> int:
    counted = np.bincount(values.ravel(), minlength=256).cumsum()
    return int(np.searchsorted(counted * 100, percent * values.size))
