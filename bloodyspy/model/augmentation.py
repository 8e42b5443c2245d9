"""Training pictures as they might also have been taken: turned, mirrored, lit and stained a little differently.

Works on uint8 pictures before the network sees them, so that a network never holds augmentation layers: those export to
graphs that are wrong.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

BRIGHTNESS = 12.0  # grey levels, added to all channels
CONTRAST = 0.10  # relative, about the middle grey
TINT = 8.0  # grey levels, added to each channel by itself


def augment(pictures: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Each picture in one of its eight symmetric positions, with its exposure and colour moved a little.

    A cell has no up and no left, so the positions cost nothing; the ranges of exposure and colour stay within what
    differs between smears of one laboratory.

    Args:
        pictures: (n, size, size, 3), 0 to 255; left as they are.
        rng: decides everything; the same state gives the same pictures.
    """
    n = len(pictures)
    turns, mirrored = rng.integers(4, size=n), rng.random(n) < 0.5
    levels = _levels(n, rng)
    augmented = np.empty_like(pictures)
    for i, picture in enumerate(pictures):
        turned = np.rot90(picture[:, ::-1] if mirrored[i] else picture, turns[i])
        augmented[i] = cv2.LUT(np.ascontiguousarray(turned), levels[i])
    return augmented


def _levels(n: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """For each picture a table from old to new value, shape (n, 256, 1, 3): cheaper than arithmetic on every pixel."""
    contrast = 1 + rng.uniform(-CONTRAST, CONTRAST, (n, 1, 1, 1))
    shift = rng.uniform(-BRIGHTNESS, BRIGHTNESS, (n, 1, 1, 1)) + rng.uniform(-TINT, TINT, (n, 1, 1, 3))
    moved = (np.arange(256).reshape(256, 1, 1) - 127.5) * contrast + 127.5 + shift
    return np.clip(np.rint(moved), 0, 255).astype(np.uint8)
