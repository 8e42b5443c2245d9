"""The eight positions in which a cell can lie on a slide: four quarter turns, each also mirrored."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Pixel = TypeVar("Pixel", bound=np.generic)

EIGHT: tuple[tuple[bool, int], ...] = tuple((mirrored, quarters) for mirrored in (False, True) for quarters in range(4))
"""Whether mirrored, and then how many quarter turns; the first is as it is."""


def placed(pictures: NDArray[Pixel], mirrored: bool, quarters: int) -> NDArray[Pixel]:
    """Square pictures or maps (n, side, side, ...) in one of the positions."""
    turned = np.rot90(pictures[:, :, ::-1] if mirrored else pictures, quarters, axes=(1, 2))
    return np.ascontiguousarray(turned)


def back(pictures: NDArray[Pixel], mirrored: bool, quarters: int) -> NDArray[Pixel]:
    """What :func:`placed` undoes: maps (n, side, side, ...) of a position, as they lie in the picture as it is."""
    turned = np.rot90(pictures, -quarters, axes=(1, 2))
    return np.ascontiguousarray(turned[:, :, ::-1] if mirrored else turned)
