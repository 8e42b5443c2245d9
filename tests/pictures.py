"""Small pictures and deliveries for tests: seeded, unlike one another, and quick to make."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from bloodyspy.cells import CELL_TYPES


def picture(seed: int, image_format: str = "PNG", side: int = 72) -> bytes:
    """A cloudy picture of its own."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(60, 250, (9, 9, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).save(stream, image_format)
    return stream.getvalue()


def tinted(seed: int, image_format: str = "PNG", side: int = 72) -> bytes:
    """A cloudy picture in a strong colour of its own: a model that knows colours answers differently to each."""
    rng = np.random.default_rng(seed)
    coarse = np.clip(rng.integers(0, 256, 3) + rng.integers(-40, 41, (9, 9, 3)), 0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).save(stream, image_format)
    return stream.getvalue()


def write(folder: Path, files: dict[str, bytes]) -> Path:
    """Write files by their relative paths; the folder is returned."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def delivery(folder: Path, per_class: int, first: int = 0) -> Path:
    """A folder per class of different pictures; deliveries with other ``first`` have other pictures."""
    return write(
        folder,
        {
            f"{cell}/{cell.upper()[:2]}_{first + i}.png": picture(1000 * cell.position + first + i)
            for cell in CELL_TYPES
            for i in range(per_class)
        },
    )


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes; empty where there is no folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
