"""Training pictures as they might also have been taken: turned, moved, stained, lit and focused a little differently.

Works on uint8 pictures before the network sees them, in a thread beside the training (OpenCV lets others run). So a
network never holds augmentation layers, whose exports are wrong, and a resumed fit sees the very pictures of an
uninterrupted one, because everything is drawn from the generator that the caller seeds.
"""

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Augmentation = Literal["none", "positions", "full"]

# What two smears, or two microscopes, of careful laboratories differ by. Each is drawn evenly between its ends.
SHIFT = 0.06  # of the input's side
ZOOM = 0.15  # natural logarithm, either way
GAMMA = 0.25  # natural logarithm of the exponent of the light, all channels: thickness and strength of the stain
GAMMA_OF_CHANNEL = 0.12  # the same for each channel by itself: its hue
GAIN = (0.85, 1.12)  # of the lamp
GAIN_OF_CHANNEL = 0.05  # white balance
CONTRAST = 0.20  # about the middle grey
OFFSET = 12.0  # grey levels
SATURATION = 0.30
TURN_OF_HUE = 0.15  # radians, about the grey axis

# Not every picture: a share of them.
BLURRED, BLUR = 0.3, (0.3, 1.3)  # Gaussian sigma, pixels of an input of 96
VIGNETTED, FALL = 0.3, 0.25  # light lost towards one side
NOISY, NOISE = 0.25, (2.0, 10.0)  # standard deviation, grey levels

_GREY = np.array([0.299, 0.587, 0.114])  # Rec. 601
_CROSS = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / np.sqrt(3)  # of the unit vector of grey


def augment(fields: Pixels, size: int, how: Augmentation, rng: np.random.Generator) -> Pixels:
    """The inputs of a batch, each picture changed by itself.

    Args:
        fields: (n, field, field, 3), 0 to 255; left as they are.
        size: side of the inputs, at most that of the fields.
        how: ``none`` gives the centres; ``positions`` the centres in one of their eight symmetric positions (a cell has
            no up and no left); ``full`` turns by any angle, moves, zooms, and changes stain, light, focus and noise.
        rng: decides everything; the same state gives the same pictures.

    Returns:
        (n, size, size, 3).
    """
    inputs = np.empty((len(fields), size, size, 3), np.uint8)
    margin = (fields.shape[1] - size) // 2
    inner = slice(margin, margin + size)
    for i, field in enumerate(fields):
        if how == "none":
            inputs[i] = field[inner, inner]
        elif how == "positions":
            turned = np.rot90(field[inner, inner], int(rng.integers(4)))
            inputs[i] = turned[:, ::-1] if rng.random() < 0.5 else turned
        else:
            inputs[i] = _taken_again(field, size, rng)
    return inputs


def _taken_again(field: Pixels, size: int, rng: np.random.Generator) -> Pixels:
    picture = cv2.transform(cv2.LUT(_moved(field, size, rng), _levels(rng)), _colours(rng))
    if rng.random() < BLURRED:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(*BLUR) * size / 96)
    if rng.random() < VIGNETTED:
        light = 1 + rng.uniform(-FALL, FALL) * np.linspace(-1, 1, size, dtype=np.float32)
        across = light[:, None, None] if rng.random() < 0.5 else light[None, :, None]
        picture = np.clip(np.rint(picture * across), 0, 255).astype(np.uint8)
    if rng.random() < NOISY:
        grain = rng.standard_normal(picture.shape, np.float32) * np.float32(rng.uniform(*NOISE))
        picture = np.clip(np.rint(picture + grain), 0, 255).astype(np.uint8)
    return np.asarray(picture, np.uint8)


def _moved(field: Pixels, size: int, rng: np.random.Generator) -> Pixels:
    """Turned by any angle, mirrored or not, zoomed and moved, in one interpolation from the field."""
    middle = (field.shape[0] - 1) / 2
    zoom = np.exp(rng.uniform(-ZOOM, ZOOM))
    affine = cv2.getRotationMatrix2D((middle, middle), rng.uniform(0, 360), zoom)
    if rng.random() < 0.5:  # x becomes 2 middle - x
        affine[:, 2] += affine[:, 0] * 2 * middle
        affine[:, 0] *= -1
    affine[:, 2] += (size - field.shape[0]) / 2 + rng.uniform(-SHIFT, SHIFT, 2) * size
    moved = cv2.warpAffine(field, affine, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(moved, np.uint8)


def _levels(rng: np.random.Generator) -> Pixels:
    """Old to new value of each channel, shape (256, 1, 3): cheaper than arithmetic on every pixel."""
    exponent = np.exp(rng.uniform(-GAMMA, GAMMA) + rng.uniform(-GAMMA_OF_CHANNEL, GAMMA_OF_CHANNEL, 3))
    gain = rng.uniform(*GAIN) * (1 + rng.uniform(-GAIN_OF_CHANNEL, GAIN_OF_CHANNEL, 3))
    light = (np.arange(256)[:, None] / 255) ** exponent * (255 * gain)
    levels = (light - 127.5) * (1 + rng.uniform(-CONTRAST, CONTRAST)) + 127.5 + rng.uniform(-OFFSET, OFFSET)
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)[:, None]


def _colours(rng: np.random.Generator) -> NDArray[np.float64]:
    """A matrix on (red, green, blue): more or less colour, then a turn of its hue (Rodrigues' formula)."""
    saturation = 1 + rng.uniform(-SATURATION, SATURATION)
    angle = rng.uniform(-TURN_OF_HUE, TURN_OF_HUE)
    coloured = np.eye(3) * saturation + np.tile(_GREY, (3, 1)) * (1 - saturation)
    turned = np.eye(3) * np.cos(angle) + (1 - np.cos(angle)) / 3 + _CROSS * np.sin(angle)
    return np.asarray(turned @ coloured)
