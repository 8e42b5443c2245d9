"""What goes differently under the microscope. Keeps the rule of exactness of :mod:`bloodyspy.images.fields`."""

import math

import numpy as np
from PIL import Image, ImageFilter

from bloodyspy.images.fields import Pixels, Window, chance, cover, direction, ellipse, generator_of, glass_of, step

# Screen values to light and back (gamma 2.2), in 1/65535 and 1/4095 of white.
_LINEAR = np.array([round(65535 * math.pow(value / 255, 2.2)) for value in range(256)], dtype=np.float32)
_SCREEN = np.array([round(255 * math.pow(value / 4095, 1 / 2.2)) for value in range(4096)], dtype=np.uint8)

_RIM = (52.0, 46.0, 58.0)
"""What the edge of an air bubble shows, where all light is refracted away."""


def defocus(pixels: Pixels, radius: float) -> Pixels:
    """Out of focus: each point becomes a disc, as a lens does it (and a Gaussian does not).

    Args:
        pixels: RGB of shape (height, width, 3), 0 to 255.
        radius: of the disc, pixels where the shorter side is 360; at least one pixel of the picture's own.
    """
    height, width = pixels.shape[:2]
    radius = max(1.0, radius * min(height, width) / 360)
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


def move(pixels: Pixels, length: float) -> Pixels:
    """The stage moves during exposure: each point becomes a line, in a direction of the picture's own.

    Args:
        pixels: RGB of shape (height, width, 3), 0 to 255.
        length: of the line, pixels where the shorter side is 360; at least two pixels of the picture's own.
    """
    height, width = pixels.shape[:2]
    half = max(1.0, length / 2 * min(height, width) / 360)
    cosine, sine = direction(generator_of(pixels).random() / 2)
    reach = math.ceil(half)
    padded = np.pad(pixels, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    total = np.zeros(pixels.shape, dtype=np.uint32)  # a large picture's line has more places than 16 bits can add up
    places = range(-reach, reach + 1)
    for place in places:
        along = place * half / reach
        x, y = reach + round(along * cosine), reach + round(along * sine)
        total += padded[y : y + height, x : x + width]
    return ((total + len(places) // 2) // len(places)).astype(np.uint8)


def magnify(pixels: Pixels, times: float) -> Pixels:
    """Another objective or camera: the middle enlarged, or the whole reduced and its surroundings mirrored.

    Which of the two, the picture decides.
    """
    height, width = pixels.shape[:2]
    image = Image.fromarray(pixels)
    if chance(generator_of(pixels), 0.5):
        left, top = (width - width / times) / 2, (height - height / times) / 2
        box = (left, top, width - left, height - top)
        return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC, box=box))
    reduced = image.resize((math.ceil(width / times), math.ceil(height / times)), Image.Resampling.BICUBIC)
    missing = height - reduced.height, width - reduced.width
    around = [(lost // 2, lost - lost // 2) for lost in missing]
    return np.pad(np.asarray(reduced), (*around, (0, 0)), mode="symmetric")


def lay_bubble(pixels: Pixels, radius: float, distance: float) -> Pixels:
    """An air bubble in the oil or the mounting medium: a dark rim, and a bright, soft picture inside.

    Args:
        pixels: RGB of shape (height, width, 3), 0 to 255.
        radius: pixels where the shorter side is 360.
        distance: of its centre from the picture's, likewise; the direction is the picture's own.
    """
    height, width = pixels.shape[:2]
    scale = min(height, width) / 360
    radius = max(1.0, radius * scale)
    cosine, sine = direction(generator_of(pixels).random())
    centre = (width / 2 + distance * scale * cosine, height / 2 + distance * scale * sine)
    window = Window.around(centre, radius + 2, width, height)
    result = pixels.copy()
    if window is None:
        return result
    away = ellipse(window, (0, 0), (radius, radius), 0)
    inside, rim = cover(away, 1.6), step(away, -0.24 * radius, -0.04 * radius) * np.float32(0.9)
    glint = cover(ellipse(window, (-0.3 * radius, -0.34 * radius), (0.2 * radius, 0.12 * radius), 0.88), 0.1 * radius)
    soft = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(round(6 * scale, 3)))
    behind = np.asarray(soft)[window.rows, window.columns].astype(np.float32)
    for channel, glass in enumerate(glass_of(pixels)):
        seen = glass + 0.5 * (behind[..., channel] - glass)
        seen += rim * (_RIM[channel] - seen)
        seen += glint * (np.float32(255) - seen)
        part = result[window.rows, window.columns, channel]
        part[...] = np.rint(part + inside * (seen - part)).astype(np.uint8)
    return result


def dim(pixels: Pixels, light: float, blue: float, corner: float) -> Pixels:
    """A lamp turned down: darker, warmer, darker still towards the corners. Reckoned in light, not in screen values.

    Args:
        pixels: RGB of shape (height, width, 3), 0 to 255.
        light: left in the middle, share.
        blue: light left for each red, share.
        corner: light lost in the corners, share.
    """
    height, width = pixels.shape[:2]
    x = (np.arange(width, dtype=np.float32) * 2 - (width - 1)) / max(1, width - 1)
    y = (np.arange(height, dtype=np.float32) * 2 - (height - 1)) / max(1, height - 1)
    falloff = 1 - (corner / 2) * (x * x + (y * y)[:, None])
    result = np.empty_like(pixels)
    for channel, warmth in enumerate((1.0, round(math.sqrt(blue), 6), blue)):
        left = _LINEAR[pixels[..., channel]] * (falloff * (warmth * light * 4095 / 65535))
        result[..., channel] = _SCREEN[np.rint(left).astype(np.int32)]
    return result


def veil(pixels: Pixels, stray: float) -> Pixels:
    """Stray light from an open condenser or a greasy lens lies over everything and takes the contrast.

    Args:
        pixels: RGB of shape (height, width, 3), 0 to 255.
        stray: share of all light that no longer draws the picture; it has the colour of the empty glass, which stays.
    """
    result = np.empty_like(pixels)
    for channel, glass in enumerate(glass_of(pixels)):
        light = _LINEAR * ((1 - stray) * 4095 / 65535) + float(_LINEAR[glass]) * (stray * 4095 / 65535)
        result[..., channel] = _SCREEN[np.rint(light).astype(np.int32)][pixels[..., channel]]
    return result
