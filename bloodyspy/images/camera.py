"""What goes differently in the camera. Keeps the rule of exactness of :mod:`bloodyspy.images.fields`."""

import io

import numpy as np
from PIL import Image

from bloodyspy.images.decode import decode
from bloodyspy.images.fields import Pixels, generator_of

_DICE = 4
_DICE_SPREAD = 147.8
"""Standard deviation of the sum of so many even numbers from 0 to 255."""


def add_noise(pixels: Pixels, deviation: float) -> Pixels:
    """A short exposure at high gain: noise of each pixel and channel.

    Photon noise grows with the root of the light; on a screen of gamma 2.2 that is about even over the grey levels.

    Args:
        pixels: RGB of shape (height, width, 3), 0 to 255.
        deviation: standard deviation, grey levels.
    """
    # four dice a pixel are close to a bell
    dice = generator_of(pixels).integers(0, 256, size=(_DICE, *pixels.shape), dtype=np.uint8)
    thrown = dice[0].astype(np.int16) + dice[1] + dice[2] + dice[3] - 255 * _DICE // 2
    noise = np.rint(thrown.astype(np.float32) * np.float32(deviation / _DICE_SPREAD)).astype(np.int16)
    noisy: Pixels = np.clip(pixels + noise, 0, 255).astype(np.uint8)
    return noisy


def compress(pixels: Pixels, quality: int) -> Pixels:
    """Kept as a JPEG of that quality, 1 to 95, its colours at half resolution."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="JPEG", quality=quality, subsampling="4:2:0")
    return decode(stream.getvalue()).pixels
