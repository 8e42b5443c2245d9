"""Small pictures for pages: the centred square, as a JPEG of a few kilobytes."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bloodyspy.images.preprocess import InputSpec, to_array

SIDE = 96
"""Pixels: 12 mm at 200 dots an inch."""


def small(pixels: NDArray[np.uint8]) -> bytes:
    """One decoded picture, RGB (height, width, 3), as a JPEG of 96 by 96 pixels without metadata."""
    stream = io.BytesIO()
    Image.fromarray(to_array(pixels, InputSpec(size=SIDE))).save(stream, "JPEG", quality=85)
    return stream.getvalue()
