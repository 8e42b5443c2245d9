"""Paints what a blood smear under May-Grünwald-Giemsa stain is made of, at 360 pixels for about 35 µm.

Sizes, shapes and colours follow the morphology of haematology atlases and were tuned by eye beside the PBC data set.
Drawing keeps the rule of exactness of :mod:`bloodyspy.images.fields`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from bloodyspy.images.fields import (
    Field,
    Point,
    Window,
    between,
    capsule,
    carve,
    chance,
    cover,
    direction,
    ellipse,
    join,
    noise,
    step,
)

Colour = tuple[float, float, float]
"""Red, green, blue, 0 to 255."""
Tint = Callable[[Colour], Colour]
"""What a smear's stain and light make of the colour that a reference smear shows."""

CHROMATIN: Colour = (62, 28, 116)
CLEFTS: Colour = (152, 100, 166)
EDGE = 1.6
"""Width of a sharp edge, pixels."""


class Canvas:
    """Light per channel, float32 of shape (3, height, width), 0 to 255."""

    def __init__(self, width: int, height: int, background: Colour, tint: Tint) -> None:
        self.width, self.height, self.tint = width, height, tint
        self.light = np.empty((3, height, width), dtype=np.float32)
        for channel, value in enumerate(background):
            self.light[channel] = value

    def window(self, centre: Point, reach: float) -> Window | None:
        """The part of the canvas about a point."""
        return Window.around(centre, reach, self.width, self.height)

    def paint(self, window: Window, alpha: Field, colour: Colour) -> None:
        """Lay a colour over a window, opaque where ``alpha`` is 1."""
        for channel, value in enumerate(self.tint(colour)):
            part = self.light[channel, window.rows, window.columns]
            part += alpha * (value - part)

    def blend(self, window: Window, alpha: Field, dark: Colour, pale: Colour, paleness: Field) -> None:
        """Lay a texture between two colours over a window."""
        for channel, (low, high) in enumerate(zip(self.tint(dark), self.tint(pale), strict=True)):
            part = self.light[channel, window.rows, window.columns]
            part += alpha * (low + (high - low) * paleness - part)

    def absorb(self, window: Window, thickness: Field, colour: Colour, background: Colour) -> None:
        """Let a transparent body of that colour take its share of the light, so that overlaps are darker."""
        for channel, (body, empty) in enumerate(zip(self.tint(colour), self.tint(background), strict=True)):
            part = self.light[channel, window.rows, window.columns]
            passed = 1 - thickness * (1 - body / empty)
            # cells that overlap are squeezed, so not as dark as two
            part += 0.35 * (part * passed - part) + 0.65 * (np.minimum(part, passed * empty) - part)


def varied(rng: Generator, colour: Colour, spread: float = 7) -> Colour:
    """A colour a little off."""
    lightness = between(rng, -spread, spread)
    red, green, blue = (min(255.0, max(1.0, v + lightness + between(rng, -0.4, 0.4) * spread)) for v in colour)
    return red, green, blue


@dataclass(frozen=True, slots=True)
class RedCells:
    """How the red cells of a smear look."""

    colour: Colour
    radius: float
    pallor: float  # 0 to 1, how pale the centre is
    softness: float  # of their edges, pixels


def red_cell(canvas: Canvas, rng: Generator, centre: Point, look: RedCells, background: Colour) -> None:
    """A disc with a pale centre."""
    radius = look.radius * between(rng, 0.84, 1.14)
    stretch = between(rng, 0.8, 1) if chance(rng, 0.6) else between(rng, 0.93, 1)
    window = canvas.window(centre, radius * 1.15 + 6)
    if window is None:
        return
    distance = ellipse(window, (0, 0), (radius, radius * stretch), rng.random())
    distance += noise(rng, window.shape, radius * between(rng, 0.8, 1.4)) * between(rng, 0.5, 3.5)
    if chance(rng, 0.025):  # crenated
        distance += noise(rng, window.shape, 8) * 2.5
    pallor = min(1.0, max(0.0, look.pallor + between(rng, -0.5, 0.3)))
    hollow = between(rng, 0.3, 0.62)
    thickness = 1 - pallor * (1 - step(distance, -radius * (1 - hollow + 0.22), -radius * (1 - hollow - 0.18)))
    thickness += 0.14 * (step(distance, -9, -4) - step(distance, -3.5, 1))
    thickness *= cover(distance, look.softness * between(rng, 0.8, 1.4))
    canvas.absorb(window, thickness, varied(rng, look.colour, 9), background)


def speck(canvas: Canvas, rng: Generator, centre: Point) -> None:
    """A crumb of stain."""
    window = canvas.window(centre, 9)
    if window is not None:
        distance = ellipse(window, (0, 0), (between(rng, 1, 3.5), between(rng, 0.8, 2)), rng.random())
        canvas.paint(window, cover(distance, 1.6) * between(rng, 0.3, 0.9), varied(rng, (90, 60, 130), 25))


def outline(rng: Generator, window: Window, radius: float, roundness: float) -> Field:
    """Signed distance to a cell body; ``roundness`` 1 is nearly a circle, 0 an amoeba."""
    stretch = 1 - (0.03 + 0.2 * (1 - roundness)) * rng.random()
    distance = ellipse(window, (0, 0), _drawn_out(radius, stretch), rng.random())
    distance += noise(rng, window.shape, radius * 0.75) * (radius * (0.025 + 0.19 * (1 - roundness)))
    unevenness = noise(rng, window.shape, radius * 0.2) * (radius * (0.008 + 0.045 * (1 - roundness)))
    result: Field = distance + unevenness
    return result


def warped(rng: Generator, window: Window, distance: Field, amount: float) -> Field:
    """A nucleus whose outline is not drawn with a ruler."""
    rough = noise(rng, window.shape, 17) * amount
    finer: Field = noise(rng, window.shape, 6) * (0.25 * amount)
    return distance + rough + finer


def _drawn_out(radius: float, ratio: float) -> tuple[float, float]:
    return radius / math.sqrt(ratio), radius * math.sqrt(ratio)


def cytoplasm(
    canvas: Canvas, rng: Generator, window: Window, body: Field, dark: Colour, pale: Colour, grain: float
) -> None:
    """The body of a cell, mottled, its rim a little darker."""
    mottling = 0.5 + 0.5 * noise(rng, window.shape, grain) + 0.35 * noise(rng, window.shape, 14)
    rim = step(body, -5, -1) * between(rng, 0.15, 0.6)
    paleness = np.clip(mottling - rim, 0, 1)
    canvas.blend(window, cover(body, EDGE), varied(rng, dark), varied(rng, pale), paleness)


@dataclass(frozen=True, slots=True)
class Chromatin:
    """How a nucleus is textured."""

    dark: Colour = CHROMATIN
    pale: Colour = CLEFTS
    grain: float = 5.0  # pixels
    clumping: float = 0.55  # 0 even, 1 dark clumps and light clefts
    paleness: float = 0.3  # share of the light colour


def nucleus(canvas: Canvas, rng: Generator, window: Window, distance: Field, look: Chromatin) -> None:
    """A nucleus: clumped chromatin, lighter clefts, a dark membrane."""
    coarse, fine = noise(rng, window.shape, look.grain * 1.6), noise(rng, window.shape, look.grain * 0.66)
    texture = look.paleness + look.clumping * (0.4 * coarse + 0.55 * fine)
    texture += look.clumping * 1.2 * step(fine + 0.5 * coarse, 0.3, 0.8)
    texture -= 0.55 * step(distance, -4.5, -1.5)
    canvas.blend(window, cover(distance, EDGE), varied(rng, look.dark), varied(rng, look.pale), np.clip(texture, 0, 1))


def arc(rng: Generator, points: int, radius: float, extent: float, jitter: float) -> list[Point]:
    """Points along a circular arc whose centre of mass is near the origin; ``extent`` in turns."""
    start = rng.random()
    places = []
    for number in range(points):
        x, y = direction(start + extent * number / max(1, points - 1))
        places.append((radius * x + between(rng, -jitter, jitter), radius * y + between(rng, -jitter, jitter)))
    middle_x, middle_y = sum(x for x, _ in places) / points, sum(y for _, y in places) / points
    return [(x - 0.75 * middle_x, y - 0.75 * middle_y) for x, y in places]


def sausage(window: Window, places: list[Point], radii: list[float], melt: float = 8) -> Field:
    """One bent body through several points; a waist is where a radius is small."""
    distance = capsule(window, places[0], places[1], min(radii[0], radii[1]))
    for first, second, radius in zip(places[1:], places[2:], map(min, radii[1:], radii[2:]), strict=False):
        distance = join(distance, capsule(window, first, second, radius), melt)
    for place, radius in zip(places, radii, strict=True):
        distance = join(distance, ellipse(window, place, (radius, radius), 0), melt)
    return distance


def lobes(rng: Generator, window: Window, places: list[Point], size: Point, strand: Point) -> Field:
    """Lobes linked by strands; ``size`` and ``strand`` are ranges of radii."""
    distance: Field | None = None
    for number, (x, y) in enumerate(places):
        radius = between(rng, *size)
        reach, (cosine, sine) = radius * between(rng, 0.2, 0.75), direction(rng.random())
        ends = (x - reach * cosine, y - reach * sine), (x + reach * cosine, y + reach * sine)
        lobe = capsule(window, *ends, radius * 0.85)
        distance = lobe if distance is None else join(distance, lobe, 3)
        if number:
            distance = join(distance, capsule(window, places[number - 1], (x, y), between(rng, *strand)), 5)
    assert distance is not None  # places is never empty
    return distance


def round_nucleus(rng: Generator, window: Window, radius: float, room: float, stretch: float) -> Field:
    """A round or oval nucleus, off the centre by up to ``room`` pixels."""
    shift, (cosine, sine) = room * between(rng, 0.2, 1), direction(rng.random())
    ratio = between(rng, stretch, 1)
    return ellipse(window, (shift * cosine, shift * sine), _drawn_out(radius, ratio), rng.random())


def dented(rng: Generator, window: Window, distance: Field, radius: float, depth: float) -> Field:
    """A nucleus with a bay as deep as ``depth`` of its radius."""
    cosine, sine = direction(rng.random())
    hole = radius * between(rng, 0.45, 0.75)
    away = radius * (1 - depth) + hole
    return carve(distance, ellipse(window, (away * cosine, away * sine), (hole, hole), 0), 8)
