"""Pictures of nothing: what a refusal is tested on. Drawn, so that every evaluation has them, wherever it runs."""

from collections.abc import Callable, Iterator, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
SIDE = 360
"""Of a drawn picture, pixels: that of the cells at home."""


def draw(count: int, seed: int) -> Iterator[tuple[str, Pixels]]:
    """Kind and picture, RGB (360, 360, 3), of ``count`` pictures, the kinds in turn; the same for the same seed."""
    kinds = list(KINDS.items())
    for number in range(count):
        name, painted = kinds[number % len(kinds)]
        yield name, painted(np.random.default_rng((seed, number)))


def _noise(rng: np.random.Generator) -> Pixels:
    return rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)


def _grain(rng: np.random.Generator) -> Pixels:
    """Noise about a colour, at a scale of its own."""
    size = int(rng.integers(12, 120))
    coarse = rng.normal(rng.uniform(60, 220, 3), rng.uniform(10, 60), (size, size, 3))
    return _resized(coarse)


def _even(rng: np.random.Generator) -> Pixels:
    """A colour: an empty field, a lens cap."""
    return _clipped(rng.uniform(0, 255, 3) + rng.normal(0, rng.uniform(0, 4), (SIDE, SIDE, 3)))


def _gradient(rng: np.random.Generator) -> Pixels:
    return _resized(rng.uniform(0, 255, (2, 2, 3)))


def _stripes(rng: np.random.Generator) -> Pixels:
    y, x = np.mgrid[:SIDE, :SIDE]
    angle, width = rng.uniform(0, np.pi), rng.uniform(6, 60)
    wave = 0.5 + 0.5 * np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / width)
    first, second = rng.uniform(0, 255, (2, 3))
    return _clipped(first + wave[..., None] * (second - first))


def _checks(rng: np.random.Generator) -> Pixels:
    y, x = np.indices((SIDE, SIDE)) // int(rng.integers(8, 60))
    first, second = rng.uniform(0, 255, (2, 3))
    return _clipped(np.where(((x + y) % 2)[..., None], first, second))


def _lines(rng: np.random.Generator) -> Pixels:
    """A drawing, a page of writing."""
    page = np.full((SIDE, SIDE, 3), rng.uniform(200, 255), np.uint8)
    for _ in range(int(rng.integers(20, 120))):
        start = rng.integers(0, SIDE, 2)
        end = start + rng.integers(-80, 80, 2)
        ink = rng.integers(0, 140, 3).tolist()
        cv2.line(page, start.tolist(), end.tolist(), ink, int(rng.integers(1, 5)), cv2.LINE_AA)
    return page


def _shapes(rng: np.random.Generator) -> Pixels:
    """Rectangles of plain colours over one another: a room, a street."""
    page = np.full((SIDE, SIDE, 3), rng.integers(0, 256, 3), np.uint8)
    for _ in range(int(rng.integers(8, 40))):
        corner = rng.integers(-40, SIDE, 2)
        other = corner + rng.integers(20, 200, 2)
        cv2.rectangle(page, corner.tolist(), other.tolist(), rng.integers(0, 256, 3).tolist(), -1)
    return page


def _resized(coarse: NDArray[np.floating]) -> Pixels:
    return _clipped(cv2.resize(coarse.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC))


def _clipped(values: NDArray[np.floating]) -> Pixels:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


KINDS: Mapping[str, Callable[[np.random.Generator], Pixels]] = {
    "noise": _noise,
    "grain": _grain,
    "even": _even,
    "gradient": _gradient,
    "stripes": _stripes,
    "checks": _checks,
    "lines": _lines,
    "shapes": _shapes,
}
