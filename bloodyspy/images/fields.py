"""Shapes and textures as fields of numbers, for drawing pictures that are equal byte for byte on every machine.

The rule of exactness, which the modules that draw (:mod:`bloodyspy.images.painting`, :mod:`bloodyspy.images.synthetic`)
and those that distort (:mod:`bloodyspy.images.corruption`) keep:

- on arrays only what IEEE 754 or integer arithmetic defines to the last bit: ``+ - * /``, ``sqrt``, comparison,
  minimum, maximum, rounding, look-up in a table; NumPy's ``integers`` and ``random``; Pillow's filters and JPEG on
  8-bit images, which reckon in integers;
- not ``np.exp``, ``sin``, ``cos``, ``power``, ``arctan2``, no sum or mean of floats, no ``dot``, ``einsum``, ``fft``,
  no ziggurat normals, no OpenCV: the CPU chooses among their SIMD variants, which differ in the last bits;
- ``math`` on Python scalars where the result is rounded to far fewer digits than it has, because the C library picks
  variants by CPU too.

Coordinates are pixels, x to the right, y down; angles are in turns; a signed distance is negative inside.
"""

import hashlib
import math
from dataclasses import dataclass

import numpy as np
from numpy.random import PCG64, Generator
from numpy.typing import NDArray
from PIL import Image

Field = NDArray[np.float32]
Pixels = NDArray[np.uint8]
"""RGB of shape (height, width, 3), 0 to 255."""
Point = tuple[float, float]


def generator(*seed: int) -> Generator:
    """A stream of random numbers for a path of seeds, each 0 or greater."""
    return Generator(PCG64(seed))


def generator_of(pixels: Pixels) -> Generator:
    """A stream of random numbers that a picture's own pixels decide."""
    return generator(int.from_bytes(hashlib.sha256(pixels.tobytes()).digest()[:8], "big"))


def glass_of(pixels: Pixels) -> tuple[int, int, int]:
    """What the empty glass of a picture shows: the 90th percentile of red, green and blue."""
    counted = (np.bincount(pixels[..., channel].ravel(), minlength=256).cumsum() for channel in range(3))
    red, green, blue = (int(np.searchsorted(counts * 100, 90 * int(counts[-1]))) for counts in counted)
    return red, green, blue


def between(rng: Generator, low: float, high: float) -> float:
    """A random number, even between the two."""
    return low + (high - low) * rng.random()


def chance(rng: Generator, probability: float) -> bool:
    """True with that probability."""
    return bool(rng.random() < probability)


def direction(turn: float) -> Point:
    """Cosine and sine of an angle in turns, rounded to 9 digits."""
    return round(math.cos(math.tau * turn), 9), round(math.sin(math.tau * turn), 9)


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a canvas that a shape covers, and the coordinates of its pixels about the shape's centre."""

    rows: slice
    columns: slice
    x: Field  # (1, width)
    y: Field  # (height, 1)

    @classmethod
    def around(cls, centre: Point, reach: float, width: int, height: int) -> "Window | None":
        """The window of ``reach`` pixels about a centre, cut at the canvas; None where nothing is left."""
        left, right = max(0, math.floor(centre[0] - reach)), min(width, math.ceil(centre[0] + reach))
        top, bottom = max(0, math.floor(centre[1] - reach)), min(height, math.ceil(centre[1] + reach))
        if left >= right or top >= bottom:
            return None
        x = (np.arange(left, right, dtype=np.float64) - centre[0]).astype(np.float32)[None, :]
        y = (np.arange(top, bottom, dtype=np.float64) - centre[1]).astype(np.float32)[:, None]
        return cls(slice(top, bottom), slice(left, right), x, y)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.y.shape[0], self.x.shape[1]


def noise(rng: Generator, shape: tuple[int, int], grain: float) -> Field:
    """Smooth noise, -1 to 1, whose blotches are about ``grain`` pixels wide."""
    height, width = shape
    grid = (max(2, math.ceil(height / grain) + 1), max(2, math.ceil(width / grain) + 1))
    coarse = Image.fromarray(rng.integers(0, 256, size=grid, dtype=np.uint8))
    fine = coarse.resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(fine).astype(np.float32) * np.float32(1 / 128) - np.float32(1)


def ellipse(window: Window, centre: Point, radii: Point, turn: float) -> Field:
    """Signed distance to an ellipse, exact only on circles."""
    cosine, sine = direction(turn)
    x, y = window.x - centre[0], window.y - centre[1]
    u = (x * cosine + y * sine) * (1 / radii[0])
    v = (y * cosine - x * sine) * (1 / radii[1])
    share: Field = np.sqrt(u * u + v * v)
    return (share - 1) * min(radii)


def capsule(window: Window, start: Point, end: Point, radius: float) -> Field:
    """Signed distance to a thick line with round ends."""
    along_x, along_y = end[0] - start[0], end[1] - start[1]
    length = along_x * along_x + along_y * along_y
    x, y = window.x - start[0], window.y - start[1]
    share = np.clip((x * along_x + y * along_y) * (1 / max(length, 1e-6)), 0, 1)
    u, v = x - share * along_x, y - share * along_y
    length_away: Field = np.sqrt(u * u + v * v)
    return length_away - radius


def join(first: Field, second: Field, melt: float) -> Field:
    """Union of two signed distances, the seam melting over ``melt`` pixels (polynomial smooth minimum of I. Quilez)."""
    near: Field = np.maximum(melt - np.abs(first - second), 0)
    nearest: Field = np.minimum(first, second)
    return nearest - near * near * (0.25 / melt)


def carve(body: Field, hole: Field, melt: float) -> Field:
    """A signed distance with another cut out of it."""
    return -join(-body, hole, melt)


def step(values: Field, low: float, high: float) -> Field:
    """From 0 at ``low`` to 1 at ``high`` and beyond, smooth at both ends."""
    t: Field = np.clip((values - low) * (1 / (high - low)), 0, 1)
    return t * t * (3 - 2 * t)


def cover(distance: Field, softness: float) -> Field:
    """How much of each pixel a shape covers, 0 to 1, its edge ``softness`` pixels wide."""
    return step(-distance, -0.5 * softness, 0.5 * softness)


def granules(rng: Generator, window: Window, spacing: int, radii: Point, share: float) -> Field:
    """Cover of round granules strewn over a window, 0 to 1: at most one in each square of ``spacing`` pixels.

    Args:
        rng: source of the places.
        window: where.
        spacing: side of the squares, pixels.
        radii: smallest and largest radius, pixels; at most ``spacing``.
        share: share of the squares that hold a granule.
    """
    height, width = window.shape
    grid = (height // spacing + 3, width // spacing + 3)
    x, y, size, there = (rng.random(grid, dtype=np.float32) for _ in range(4))
    radius = np.where(there < share, radii[0] + (radii[1] - radii[0]) * size, np.float32(-9)).astype(np.float32)
    result = np.zeros((height, width), dtype=np.float32)
    row = np.arange(height, dtype=np.float32)[:, None]
    column = np.arange(width, dtype=np.float32)[None, :]
    for down in range(3):
        for right in range(3):
            # the square of each pixel, or one of its eight neighbours
            part = (slice(down, down + grid[0] - 2), slice(right, right + grid[1] - 2))
            at_x = x[part] + np.arange(right - 1, right + grid[1] - 3, dtype=np.float32)[None, :]
            at_y = y[part] + np.arange(down - 1, down + grid[0] - 3, dtype=np.float32)[:, None]
            u = column - _spread(at_x * spacing, spacing, window.shape)
            v = row - _spread(at_y * spacing, spacing, window.shape)
            reach = _spread(radius[part], spacing, window.shape) + np.float32(0.5)
            result = np.maximum(result, reach - np.sqrt(u * u + v * v))
    return np.minimum(result, 1)


def _spread(values: Field, spacing: int, shape: tuple[int, int]) -> Field:
    return values.repeat(spacing, axis=0)[: shape[0]].repeat(spacing, axis=1)[:, : shape[1]]
