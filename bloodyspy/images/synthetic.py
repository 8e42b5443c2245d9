"""Drawn pictures of blood cells, seeded and labelled: for first contact, tests and load tests, not for results.

A picture is 360 x 363 pixels of a smear: one cell of the asked type in the middle, red cells and platelets around.
Stain, light and focus belong to the smear, of which a data set has :data:`SMEARS`; shape and texture to the cell.
Everything follows from (data set's seed, cell type, index): picture i is the same however many are drawn, and the same
byte for byte on every machine with the project's lock, by the rule of exactness in :mod:`bloodyspy.images.fields`.
"""

import io
import logging
import math
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from rich.console import Console
from rich.progress import Progress

from bloodyspy.cells import CELL_TYPES, CellType
from bloodyspy.errors import SourceError
from bloodyspy.images import painting, white_cells
from bloodyspy.images.fields import Point, between, chance, direction, generator
from bloodyspy.images.painting import Canvas, Colour, RedCells

logger = logging.getLogger(__name__)

WIDTH, HEIGHT = 360, 363
SMEARS = 12
"""Smears of one data set."""

_GLASS: Colour = (255, 229, 210)
"""What an empty place shows in the smear that the painters' colours were taken from."""
_CHUNK = 16
_FEW = 128
"""Up to so many pictures are drawn before other processes would have started."""


@dataclass(frozen=True, slots=True)
class _Kind:
    painter: Callable[[Canvas, Generator, Point, float], None]
    radius: tuple[float, float]  # pixels


_KINDS = {
    "BA": _Kind(white_cells.basophil, (49, 61)),
    "EO": _Kind(white_cells.eosinophil, (57, 69)),
    "ERB": _Kind(white_cells.erythroblast, (36, 52)),
    "IG": _Kind(white_cells.immature_granulocyte, (58, 74)),
    "MMY": _Kind(white_cells.metamyelocyte, (58, 70)),
    "MY": _Kind(white_cells.myelocyte, (58, 72)),
    "PMY": _Kind(white_cells.promyelocyte, (60, 76)),
    "LY": _Kind(white_cells.lymphocyte, (38, 53)),
    "MO": _Kind(white_cells.monocyte, (60, 80)),
    "NEUTROPHIL": _Kind(white_cells.neutrophil, (54, 66)),
    "BNE": _Kind(white_cells.band_neutrophil, (54, 66)),
    "SNE": _Kind(white_cells.segmented_neutrophil, (54, 66)),
    "PLATELET": _Kind(white_cells.platelet, (20, 32)),
}

# File-name prefixes of a cell type, in the order in which a data set takes turns.
PREFIXES: dict[CellType, tuple[str, ...]] = {
    CellType.BASOPHIL: ("BA",),
    CellType.EOSINOPHIL: ("EO",),
    CellType.ERYTHROBLAST: ("ERB",),
    CellType.IG: ("MY", "MMY", "PMY", "MY", "MMY", "MY", "MMY", "IG"),
    CellType.LYMPHOCYTE: ("LY",),
    CellType.MONOCYTE: ("MO",),
    CellType.NEUTROPHIL: ("SNE", "BNE", "SNE", "BNE", "SNE", "BNE", "SNE", "NEUTROPHIL"),
    CellType.PLATELET: ("PLATELET",),
}


@dataclass(frozen=True, slots=True)
class Smear:
    """What the pictures of one smear have in common. Factors are 1 where the smear is as in PBC."""

    background: Colour
    """An empty place, red, green and blue, 0 to 255."""
    strength: float
    """Factor on the optical density of everything stained."""
    azure: float
    """Factor on the density in red light, where azure B absorbs."""
    eosin: float
    """Factor on the density in blue light, where eosin absorbs too."""
    brightness: float
    """Factor on the light."""
    tilt: Point
    """Change of the light from the middle to the right and lower border, as a share."""
    vignetting: float
    """Loss of light in the corners, as a share."""
    focus: float
    """Radius of the blur, pixels."""
    crowding: float
    """Red cells per picture, on average."""
    red_cells: RedCells

    @classmethod
    def of(cls, seed: int) -> "Smear":
        """The smear of a seed, 0 or greater."""
        rng = generator(seed)
        if chance(rng, 0.1):  # a bluish batch, as PBC has one
            background: Colour = (between(rng, 222, 234), between(rng, 218, 228), between(rng, 226, 236))
        else:
            background = (between(rng, 250, 256), between(rng, 224, 234), between(rng, 198, 214))
        tilt, (cosine, sine) = between(rng, 0, 0.025), direction(rng.random())
        return cls(
            background=background,
            strength=between(rng, 0.92, 1.26),
            azure=between(rng, 0.9, 1.1),
            eosin=between(rng, 0.92, 1.12),
            brightness=between(rng, 0.975, 1.02),
            tilt=(tilt * cosine, tilt * sine),
            vignetting=between(rng, 0, 0.05),
            focus=between(rng, 0.3, 0.95),
            crowding=between(rng, 11, 28),
            red_cells=RedCells(
                colour=painting.varied(rng, (210, 162, 164), 9),
                radius=between(rng, 32, 39),
                pallor=between(rng, 0.25, 0.95),
                softness=between(rng, 2, 5),
            ),
        )

    def tint(self, colour: Colour) -> Colour:
        """A colour of the reference smear as this one shows it, by Beer and Lambert's law on each channel."""
        factors = (self.strength * self.azure, self.strength, self.strength * self.eosin)
        red, green, blue = (
            # rounded: the last digits of log and exp differ between C libraries' variants
            round(own * math.exp(-factor * max(0.0, math.log(glass / value))), 4)
            for own, glass, value, factor in zip(self.background, _GLASS, colour, factors, strict=True)
        )
        return red, green, blue


def draw_cell(cell: CellType, seed: int, smear: Smear, prefix: str | None = None) -> NDArray[np.uint8]:
    """Draw one picture.

    Args:
        cell: the type of the cell in the middle.
        seed: of the shapes, 0 or greater.
        smear: gives stain, light and focus.
        prefix: the sub-type to draw, one of ``PREFIXES[cell]``; from the seed when None.

    Returns:
        RGB of shape (363, 360, 3), 0 to 255.
    """
    rng = generator(seed)
    turn = int(rng.integers(0, len(PREFIXES[cell])))
    kind = _KINDS[PREFIXES[cell][turn] if prefix is None else prefix]
    radius = between(rng, *kind.radius)
    centre = (WIDTH / 2 + between(rng, -7, 7), HEIGHT / 2 + between(rng, -7, 7))
    canvas = Canvas(WIDTH, HEIGHT, smear.background, smear.tint)
    _surround(canvas, rng, smear, centre, radius)
    kind.painter(canvas, rng, centre, radius)
    return _photograph(canvas, rng, smear)


def encode(pixels: NDArray[np.uint8]) -> bytes:
    """A picture as JPEG, with quality and colour sampling of the PBC files of that size."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="JPEG", quality=75, subsampling="4:4:4")
    return stream.getvalue()


def draw_picture(cell: CellType, index: int, seed: int) -> tuple[str, bytes]:
    """File name, in the manner of PBC, and JPEG of picture ``index`` (from 0) of a type in the data set of a seed."""
    own, smear = generator(seed, cell.position, index).integers(0, (2**62, SMEARS)).tolist()
    smear_seed = int(generator(seed, smear).integers(0, 2**62))
    prefix = PREFIXES[cell][index % len(PREFIXES[cell])]
    return f"{prefix}_{index + 1:06d}.jpg", encode(draw_cell(cell, own, Smear.of(smear_seed), prefix))


def draw_each(seed: int) -> dict[CellType, bytes]:
    """One picture of each type, each of a smear of its own, as PNG: some 180 kB each."""
    pictures = {}
    for cell in CELL_TYPES:
        own, smear = generator(seed, cell.position).integers(0, 2**62, size=2).tolist()
        stream = io.BytesIO()
        Image.fromarray(draw_cell(cell, own, Smear.of(smear))).save(stream, format="PNG")
        pictures[cell] = stream.getvalue()
    return pictures


def draw_dataset(folder: Path, per_class: int, seed: int) -> None:
    """Draw ``folder/<cell type>/<name>.jpg``, ``per_class`` pictures a type, with every processor there is.

    Files of the same name are overwritten. More than a few pictures are drawn by spawned processes, which import the
    main module: a script that calls this needs its ``if __name__ == "__main__"``.

    Raises:
        SourceError: a drawing process was killed.
    """
    for cell in CELL_TYPES:
        (folder / cell).mkdir(parents=True, exist_ok=True)
    jobs = [
        (folder, cell, range(start, min(start + _CHUNK, per_class)), seed)
        for start in range(0, per_class, _CHUNK)
        for cell in CELL_TYPES
    ]
    total = per_class * len(CELL_TYPES)
    logger.info("drawing %d pictures into %s", total, folder)
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("drawing cells", total=total)
        for drawn in _map(jobs, total):
            progress.advance(task, drawn)


_Job = tuple[Path, CellType, range, int]


def _map(jobs: list[_Job], total: int) -> Iterator[int]:
    workers = min(len(os.sched_getaffinity(0)), len(jobs))
    if total <= _FEW or workers == 1:
        yield from map(_draw_files, jobs)
        return
    # spawned, not forked: the caller may have threads
    executor = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    try:
        yield from executor.map(_draw_files, jobs)
    except BrokenProcessPool as exc:
        raise SourceError(
            "A process that drew pictures was killed, perhaps for memory. Run the command again."
        ) from exc
    finally:
        executor.shutdown(cancel_futures=True)


def _draw_files(job: _Job) -> int:
    folder, cell, indices, seed = job
    for index in indices:
        name, payload = draw_picture(cell, index, seed)
        (folder / cell / name).write_bytes(payload)
    return len(indices)


def _surround(canvas: Canvas, rng: Generator, smear: Smear, centre: Point, radius: float) -> None:
    """Red cells, platelets and crumbs around the place of the cell."""
    look = smear.red_cells
    placed: list[Point] = []
    for _ in range(int(smear.crowding * between(rng, 1.6, 2.6))):
        x, y = between(rng, -0.6 * look.radius, WIDTH + 0.6 * look.radius), between(rng, -20, HEIGHT + 20)
        room = radius + look.radius * between(rng, 0.7, 1)
        # red cells lie beside each other, and overlap only now and then
        near = look.radius * (between(rng, 0.7, 1.5) if chance(rng, 0.15) else 1.95)
        if _apart((x, y), [centre], room) and _apart((x, y), placed, near):
            placed.append((x, y))
            painting.red_cell(canvas, rng, (x, y), look, _GLASS)
    for _ in range(int(rng.choice(3, p=(0.55, 0.3, 0.15)))):
        place = (between(rng, 0, WIDTH), between(rng, 0, HEIGHT))
        if _apart(place, [centre], radius + 24):
            white_cells.platelet(canvas, rng, place, between(rng, 7, 13))
    for _ in range(int(rng.choice(4, p=(0.5, 0.25, 0.15, 0.1)))):
        painting.speck(canvas, rng, (between(rng, 0, WIDTH), between(rng, 0, HEIGHT)))
    if chance(rng, 0.04):  # another white cell, cut by the border
        place = (WIDTH * float(rng.integers(0, 2)), between(rng, 0, HEIGHT))
        white_cells.lymphocyte(canvas, rng, place, between(rng, 40, 50))


def _apart(place: Point, others: list[Point], distance: float) -> bool:
    return all(
        (place[0] - x) * (place[0] - x) + (place[1] - y) * (place[1] - y) >= distance * distance for x, y in others
    )


def _photograph(canvas: Canvas, rng: Generator, smear: Smear) -> NDArray[np.uint8]:
    """Uneven light, blur and the sensor's noise."""
    x = (np.arange(WIDTH, dtype=np.float32) * (2 / WIDTH) - 1)[None, :]
    y = (np.arange(HEIGHT, dtype=np.float32) * (2 / HEIGHT) - 1)[:, None]
    brightness = smear.brightness * between(rng, 0.985, 1.015)
    light = (1 + smear.tilt[0] * x + smear.tilt[1] * y - (0.5 * smear.vignetting) * (x * x + y * y)) * brightness
    blur = ImageFilter.GaussianBlur(round(smear.focus * between(rng, 0.7, 1.4), 3))
    # two dice a pixel make a triangle, close enough to a bell: noise of the brightness, and a little of each colour
    dice = rng.integers(0, 4, size=(2, HEIGHT, WIDTH), dtype=np.int8)
    grey_noise = (dice[0] - dice[1]).astype(np.int16)
    planes = []
    for channel in canvas.light:
        exposed = np.minimum(channel * light + 0.5, 255).astype(np.uint8)
        blurred = np.asarray(Image.fromarray(exposed).filter(blur))
        noisy = blurred + grey_noise + rng.integers(-1, 2, size=(HEIGHT, WIDTH), dtype=np.int8)
        planes.append(Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)))
    return np.asarray(Image.merge("RGB", planes))
