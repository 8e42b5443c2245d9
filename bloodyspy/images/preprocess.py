"""Pixels to a network's input. Scaling of values is inside the graph; here only geometry happens."""

import hashlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bloodyspy.input_spec import InputSpec as InputSpec


def to_array(pixels: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.uint8]:
    """Prepare one decoded picture.

    Args:
        pixels: RGB of shape (height, width, 3), 0 to 255.
        spec: the geometry, from the artefact when a trained network is to see the result.

    Returns:
        RGB of shape (size, size, 3), 0 to 255.
    """
    return np.ascontiguousarray(centre(to_field(pixels, spec), spec))


def centre(fields: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.uint8]:
    """The inputs inside of fields: (..., field, field, 3) in, a view of (..., size, size, 3) out."""
    margin = (spec.field - spec.size) // 2
    inner = slice(margin, margin + spec.size)
    return fields[..., inner, inner, :]


def to_field(pixels: NDArray[np.uint8], spec: InputSpec) -> NDArray[np.uint8]:
    """The field of one decoded picture: the input with its margin, RGB of shape (field, field, 3)."""
    height, width = pixels.shape[:2]
    side = min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    square = Image.fromarray(pixels).resize(
        (spec.field, spec.field), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side)
    )
    return np.asarray(square)


def golden_picture() -> NDArray[np.uint8]:
    """A fixed picture of gradients, edges and rising frequencies for :func:`golden_hash`, RGB (363, 360, 3)."""
    y, x = np.mgrid[0:363, 0:360].astype(np.int64)
    return np.stack([(x * y // 7) % 256, (x * x // 97 + y) % 256, np.where((x // 9 + y // 5) % 2, 230, 25)], -1).astype(
        np.uint8
    )


def golden_hash(spec: InputSpec) -> str:
    """SHA-256 of the prepared golden picture: equal on two machines only where they prepare pictures alike."""
    return hashlib.sha256(to_array(golden_picture(), spec).tobytes()).hexdigest()
