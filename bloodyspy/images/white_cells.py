"""One painter for each kind of cell that a smear is searched for: which parts it has, in what sizes and colours.

All share one signature: canvas, random numbers, centre, radius in pixels. A cell outside the canvas is not drawn.
"""

import numpy as np
from numpy.random import Generator

from bloodyspy.images.fields import Field, Point, Window, between, chance, cover, granules, noise
from bloodyspy.images.painting import (
    Canvas,
    Chromatin,
    arc,
    cytoplasm,
    dented,
    lobes,
    nucleus,
    outline,
    round_nucleus,
    sausage,
    varied,
    warped,
)


def band_neutrophil(canvas: Canvas, rng: Generator, centre: Point, radius: float) -> None:
    """A nucleus bent like a U, now and then with a waist."""
    window = canvas.window(centre, radius + 22)
    if window is None:
        return
    body = _neutrophil_body(canvas, rng, window, radius)
    bend, points = radius * between(rng, 0.36, 0.47), 6
    thick = radius * between(rng, 0.2, 0.27)
    places = arc(rng, points, bend, between(rng, 0.42, 0.72), 2.5)
    radii = [thick * between(rng, 0.85, 1.15) for _ in places]
    if chance(rng, 0.45):
        radii[int(rng.integers(1, points - 1))] *= between(rng, 0.45, 0.75)
    _granulocyte_nucleus(canvas, rng, window, body, sausage(window, places, radii))


def segmented_neutrophil(canvas: Canvas, rng: Generator, centre: Point, radius: float) -> None:
    """Three to five lobes, sometimes two, on thin strands."""
    window = canvas.window(centre, radius + 22)
    if window is None:
        return
    body = _neutrophil_body(canvas, rng, window, radius)
    count = 2 + int(rng.choice(4, p=(0.1, 0.45, 0.33, 0.12)))
    size = radius * (0.36 - 0.027 * count)
    places = arc(rng, count, radius * between(rng, 0.4, 0.5), between(rng, 0.16, 0.2) * count, 5)
    nuclei = lobes(rng, window, places, (size * 0.8, size * 1.15), (1.6, 4 if chance(rng, 0.7) else 9))
    _granulocyte_nucleus(canvas, rng, window, body, nuclei)


def neutrophil(canvas: Canvas, rng: Generator, centre: Point, radius: float) -> None:
    """Either, where nobody said which."""
    painter = band_neutrophil if chance(rng, 0.5) else segmented_neutrophil
    painter(canvas, rng, centre, radius)


def _neutrophil_body(canvas: Canvas, rng: Generator, window: Window, radius: float) -> Field:
    body = outline(rng, window, radius, between(rng, 0.8, 1))
    cytoplasm(canvas, rng, window, body, (196, 160, 190), (234, 204, 204), 3)
    dust = granules(rng, window, 4, (0.4, 1.3), between(rng, 0.3, 0.8)) * cover(body + 2, 4)
    canvas.paint(window, dust * between(rng, 0.25, 0.7), varied(rng, (160, 100, 160), 18))
    return body


def _granulocyte_nucleus(canvas: Canvas, rng: Generator, window: Window, body: Field, distance: Field) -> None:
    look = Chromatin(grain=between(rng, 5, 7), clumping=between(rng, 0.45, 0.75), paleness=between(rng, 0.08, 0.28))
    nucleus(canvas, rng, window, np.maximum(warped(rng, window, distance, 2), body + 1), look)


def eosinophil(canvas: Canvas, rng: Generator, centre: Point, radius: float) -> None:
    """Two lobes, sometimes three, among coarse orange-red granules."""
    window = canvas.window(centre, radius + 22)
    if window is None:
        return
    body = outline(rng, window, radius, between(rng, 0.7, 1))
    cytoplasm(canvas, rng, window, body, (176, 106, 134), (212, 150, 156), 5)
    packed = granules(rng, window, 5, (1.6, 3), between(rng, 0.6, 0.95)) * cover(body + 1, 5)
    canvas.paint(window, packed * between(rng, 0.5, 0.85), varied(rng, (208, 124, 116), 12))
    count = 2 if chance(rng, 0.78) else 3
    size = radius * (0.39 if count == 2 else 0.31)
    places = arc(rng, count, radius * between(rng, 0.42, 0.52), 0.42 if count == 2 else 0.5, 4)
    distance = lobes(rng, window, places, (size * 0.85, size * 1.1), (2, 6))
    _granulocyte_nucleus(canvas, rng, window, body, distance)


def basophil(canvas: Canvas, rng: Generator, centre: Point, radius: float) -> None:
    """Coarse dark granules that hide a clumsy nucleus."""
    window = canvas.window(centre, radius + 22)
    if window is None:
        return
    body = outline(rng, window, radius, between(rng, 0.6, 1))
    cytoplasm(canvas, rng, window, body, (140, 82, 150), (204, 160, 192), 5)
    places = arc(rng, 3, radius * between(rng, 0.3, 0.42), between(rng, 0.3, 0.6), 6)
    thick = radius * between(rng, 0.32, 0.44)
    distance = sausage(window, places, [thick, thick * 0.85, thick])
    look = Chromatin((66, 30, 112), (124, 72, 148), 5, between(rng, 0.3, 0.6), between(rng, 0.2, 0.4))
    nucleus(canvas, rng, window, np.maximum(warped(rng, window, distance, 3), body + 1), look)
    packed = granules(rng, window, 6, (1.6, 3.8), between(rng, 0.5, 0.97)) * cover(body - 2.5, 3)
    canvas.paint(window, packed * between(rng, 0.75, 0.97), varied(rng, (62, 24, 98), 10))
    glints = granules(rng, window, 7, (0.6, 1.8), between(rng, 0.2, 0.6)) * cover(body + 2, 4)
    canvas.paint(window, glints * between(rng, 0.2, 0.6), (176, 122, 176))


def lymphocyte(canvas: Canvas, rng: Generator, centre: Point, radius: float) -> None:
    """A dense round nucleus that leaves a thin rim of blue."""
    window = canvas.window(centre, radius + 22)
    if window is None:
        return
    body = outline(rng, window, radius, between(rng, 0.6, 1))
    deep = between(rng, 0, 1)
    dark, pale = (118 + 30 * deep, 112 + 28 * deep, 178 + 16 * deep), (168 + 20 * deep, 164 + 20 * deep, 208)
    cytoplasm(canvas, rng, window, body, dark, pale, 6)
    size = radius * between(rng, 0.74, 0.93)
    distance = round_nucleus(rng, window, size, radius - size + 2, 0.86)
    if chance(rng, 0.35):
        distance = dented(rng, window, distance, size, between(rng, 0.1, 0.3))
    look = Chromatin((66, 30, 114), (126, 76, 158), between(rng, 6, 9), between(rng, 0.3, 0.6), between(rng, 0.15, 0.4))
    nucleus(canvas, rng, window, np.maximum(warped(rng, window, distance, 2.5), body + 1.5), look)


def monocyte(canvas: Canvas, rng: Generator, centre: Point, radius: float) -> None:
    """A large grey-blue cell with vacuoles and a pale nucleus folded like a kidney."""
    window = canvas.window(centre, radius + 26)
    if window is None:
        return
    body = outline(rng, window, radius, between(rng, 0, 0.85))
    cytoplasm(canvas, rng, window, body, (148, 132, 180), (194, 182, 208), 3.5)
    dust = granules(rng, window, 5, (0.4, 1.1), between(rng, 0.1, 0.5)) * cover(body + 3, 4)
    canvas.paint(window, dust * 0.4, (140, 90, 160))
    if chance(rng, 0.65):
        bubbles = granules(rng, window, 11, (1.5, 5), between(rng, 0.08, 0.35)) * cover(body + 6, 4)
        canvas.paint(window, bubbles * between(rng, 0.5, 0.9), (232, 216, 220))
    thick = radius * between(rng, 0.32, 0.42)
    places = arc(rng, 4, radius * between(rng, 0.3, 0.42), between(rng, 0.22, 0.62), 4)
    distance = sausage(window, places, [thick * between(rng, 0.85, 1.1) for _ in places], 12)
    look = Chromatin(
        (84, 44, 130), (150, 102, 172), between(rng, 5, 8), between(rng, 0.35, 0.6), between(rng, 0.25, 0.5)
    )
    nucleus(canvas, rng, window, np.maximum(warped(rng, window, distance, 3.5), body + 2), look)


def promyelocyte(canvas: Canvas, rng: Generator, centre: Point, radius: float) -> None:
    """A large round nucleus and azure granules over everything."""
    _immature(canvas, rng, centre, radius * 1.06, between(rng, 0.72, 0.84), between(rng, 0, 0.15), between(rng, 0.4, 1))


def myelocyte(canvas: Canvas, rng: Generator, centre: Point, radius: float) -> None:
    """An oval nucleus to one side, granules in the cytoplasm."""
    _immature(canvas, rng, centre, radius, between(rng, 0.6, 0.74), between(rng, 0, 0.25), between(rng, 0.1, 0.6))


def metamyelocyte(canvas: Canvas, rng: Generator, centre: Point, radius: float) -> None:
    """A nucleus with a bay, on its way to a band."""
    _immature(
        canvas, rng, centre, radius * 0.96, between(rng, 0.6, 0.72), between(rng, 0.35, 0.75), between(rng, 0, 0.4)
    )


def immature_granulocyte(canvas: Canvas, rng: Generator, centre: Point, radius: float) -> None:
    """Any of the three, where nobody said which."""
    painter = (promyelocyte, myelocyte, metamyelocyte)[int(rng.integers(0, 3))]
    painter(canvas, rng, centre, radius)


def _immature(
    canvas: Canvas, rng: Generator, centre: Point, radius: float, filling: float, depth: float, azure: float
) -> None:
    window = canvas.window(centre, radius + 24)
    if window is None:
        return
    body = outline(rng, window, radius, between(rng, 0.55, 1))
    blue = between(rng, 0, 1) * (0.4 + 0.6 * azure)  # the younger, the bluer
    dark, pale = (172 - 46 * blue, 130 - 22 * blue, 178 + 2 * blue), (216 - 46 * blue, 182 - 30 * blue, 204)
    cytoplasm(canvas, rng, window, body, dark, pale, 3)
    size = radius * filling
    distance = dented(rng, window, round_nucleus(rng, window, size, radius - size, 0.74), size, depth)
    look = Chromatin(
        (74, 36, 126), (142, 92, 168), between(rng, 4.5, 6.5), between(rng, 0.4, 0.65), between(rng, 0.2, 0.42)
    )
    nucleus(canvas, rng, window, np.maximum(warped(rng, window, distance, 2.5), body + 2), look)
    grains = granules(rng, window, 4, (0.5, 1.7), 0.3 + 0.6 * azure) * cover(body + 1.5, 3)
    canvas.paint(window, grains * between(rng, 0.35, 0.5 + 0.4 * azure), varied(rng, (112, 52, 140), 14))


def erythroblast(canvas: Canvas, rng: Generator, centre: Point, radius: float) -> None:
    """A very dense round nucleus in grey-blue to pinkish cytoplasm; the older, the smaller and pinker."""
    window = canvas.window(centre, radius + 22)
    if window is None:
        return
    age = rng.random()
    body = outline(rng, window, radius * (1.12 - 0.2 * age), between(rng, 0.5, 1))
    dark = (128 + 56 * age, 114 + 32 * age, 168 - 4 * age)
    cytoplasm(canvas, rng, window, body, dark, (dark[0] + 28, dark[1] + 28, dark[2] + 22), 9)
    size = radius * (0.72 - 0.24 * age) * between(rng, 0.9, 1.1)
    distance = round_nucleus(rng, window, size, (radius - size) * 0.65, 0.9)
    if chance(rng, 0.08):  # a nucleus about to leave, in pieces
        places = arc(rng, 3, size * 0.7, 0.6, 2)
        distance = lobes(rng, window, places, (size * 0.4, size * 0.6), (2, 4))
    look = Chromatin((44, 18, 88), (146, 84, 150), between(rng, 5, 7), 0.75 - 0.6 * age, 0.24 - 0.2 * age)
    nucleus(canvas, rng, window, warped(rng, window, distance, 1.5), look)


def platelet(canvas: Canvas, rng: Generator, centre: Point, radius: float) -> None:
    """A crumb of cytoplasm full of purple granules, with no nucleus."""
    window = canvas.window(centre, radius + 18)
    if window is None:
        return
    body = outline(rng, window, radius, between(rng, 0.55, 0.95))
    body += noise(rng, window.shape, 5) * between(rng, 0.5, 3.5)
    cytoplasm(canvas, rng, window, body, (160, 116, 176), (214, 176, 202), 4)
    heart = cover(body + radius * between(rng, 0.15, 0.5), radius * 0.8)
    grains = np.maximum(granules(rng, window, 4, (0.8, 2.4), between(rng, 0.5, 0.95)), 0.4 * heart) * cover(body + 1, 3)
    canvas.paint(window, grains * between(rng, 0.55, 0.95), varied(rng, (104, 44, 138), 14))
