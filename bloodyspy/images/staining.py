"""What goes differently at the staining bench. Keeps the rule of exactness of :mod:`bloodyspy.images.fields`."""

import math

import numpy as np

from bloodyspy.images.fields import Pixels, Window, between, chance, cover, direction, ellipse, generator_of, glass_of

# Densities are whole numbers of 1/1000 (natural logarithm), so that a table, not the CPU's exp, gives the light back.
_STEPS = 1000
_DENSITY_OF = np.array([round(-_STEPS * math.log((value + 1) / 256)) for value in range(256)], dtype=np.int32)
_LIGHT_OF = np.array([round(256 * math.exp(-step / _STEPS) - 1) for step in range(round(_STEPS * math.log(256)) + 1)])
_LIGHT_OF = np.clip(_LIGHT_OF, 0, 255).astype(np.uint8)


def restain(pixels: Pixels, turn: float, density: float) -> Pixels:
    """Another hue and strength of the stain: another pH of the buffer, another lot of Giemsa, another time in it.

    Optical density (Beer and Lambert) above that of the empty glass is turned about the grey axis of RGB and
    multiplied; the glass, taken as the 90th percentile of each channel, keeps its colour.

    Args:
        pixels: RGB of shape (height, width, 3), 0 to 255.
        turn: degrees, above 0 towards blue.
        density: what the optical density is multiplied by.
    """
    # columns: what a unit of red, green and blue density becomes after the turn about (1, 1, 1), by Rodrigues' formula
    angle = math.radians(turn)
    same = (1 + 2 * math.cos(angle)) / 3
    before = (1 - math.cos(angle)) / 3 - math.sin(angle) / math.sqrt(3)
    after = (1 - math.cos(angle)) / 3 + math.sin(angle) / math.sqrt(3)
    same, before, after = (round(density * share, 6) for share in (same, before, after))

    absorbed = _DENSITY_OF[pixels]
    glass = [int(_DENSITY_OF[value]) for value in glass_of(pixels)]
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


def turn_hue(pixels: Pixels, turn: float) -> Pixels:
    """Another balance of azure and eosin at the same strength, towards blue or towards red, as the picture falls."""
    return restain(pixels, turn if chance(generator_of(pixels), 0.5) else -turn, 1.0)


def change_strength(pixels: Pixels, times: float) -> Pixels:
    """Too long or too short in the stain, as the picture falls; the hue stays."""
    return restain(pixels, 0.0, times if chance(generator_of(pixels), 0.5) else 1 / times)


def strew_deposit(pixels: Pixels, clumps: int) -> Pixels:
    """Precipitated stain: dark violet granules in clumps, on the cell as beside it.

    Args:
        pixels: RGB of shape (height, width, 3), 0 to 255.
        clumps: how many; the first are the same whatever the number.
    """
    height, width = pixels.shape[:2]
    scale, rng = min(height, width) / 360, generator_of(pixels)
    light = pixels.astype(np.float32)
    for _ in range(clumps):
        x, y = between(rng, 0, width), between(rng, 0, height)
        colour = (between(rng, 45, 95), between(rng, 15, 55), between(rng, 85, 135))
        for _ in range(int(rng.integers(2, 8))):
            away, (cosine, sine) = 13 * scale * rng.random(), direction(rng.random())
            longer, turn = between(rng, 1.4, 5.5) * scale, rng.random()
            radii, opacity = (longer, longer * between(rng, 0.6, 1)), between(rng, 0.6, 1)
            window = Window.around((x + away * cosine, y + away * sine), longer + 2, width, height)
            if window is None:
                continue
            alpha = cover(ellipse(window, (0, 0), radii, turn), 1.6) * opacity
            for channel, value in enumerate(colour):
                part = light[window.rows, window.columns, channel]
                part += alpha * (value - part)
    return np.rint(light).astype(np.uint8)
