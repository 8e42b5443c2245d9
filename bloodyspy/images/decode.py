"""Bytes to pixels: the only place where a picture is opened."""

import io
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from bloodyspy.errors import ImageTooLarge, UnreadableImage
from bloodyspy.images import structure

FORMATS = ("JPEG", "PNG", "BMP", "TIFF")
SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".tif", ".tiff"})
"""What files of these formats are called, in lower case."""

MAX_PIXELS = 25_000_000
MAX_BYTES = 256 << 20  # the largest picture that decodes, uncompressed with 16 bits a channel, is smaller

# Pillow's own bomb check warns at one size and raises at another; ours is exact and comes first.
Image.MAX_IMAGE_PIXELS = None

# What Pillow's readers are known to raise on broken files; anything else is a fault of ours and must be seen.
_BROKEN = (
    *(OSError, SyntaxError, ValueError, EOFError, KeyError, IndexError, TypeError, OverflowError, MemoryError),
    *(struct.error, zlib.error),
)


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture."""

    pixels: NDArray[np.uint8]
    """RGB, upright, shape (height, width, 3)."""
    format: str
    """One of FORMATS."""


def decode(payload: bytes, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode a JPEG, PNG, BMP or TIFF to upright RGB.

    Transparent pixels are laid on white, 16-bit grey is scaled to 8 bits, the first frame of several is taken.

    Raises:
        UnreadableImage: empty, not one of the formats, truncated, broken, or built to cost far more than its size.
        ImageTooLarge: the header announces more than ``max_pixels``; nothing was decoded.
    """
    if not payload:
        raise UnreadableImage("the file is empty")
    structure.check(payload)
    try:
        image = Image.open(io.BytesIO(payload), formats=FORMATS)
    except UnidentifiedImageError as exc:
        raise UnreadableImage("it is not a JPEG, PNG, BMP or TIFF") from exc
    except _BROKEN as exc:
        raise UnreadableImage(f"its header is broken ({exc})") from exc
    width, height = image.size
    if width * height > max_pixels:
        raise ImageTooLarge(width, height, max_pixels)
    structure.check_tiles(image, max_pixels)
    try:
        # a phone's JPEG with a second picture behind the first calls itself MPO
        image_format = "JPEG" if image.format == "MPO" else str(image.format)
        # in place: otherwise a picture that is upright already is copied, which costs half as much as decoding it
        ImageOps.exif_transpose(image, in_place=True)
        pixels = np.asarray(_to_rgb(image))
    except _BROKEN as exc:
        raise UnreadableImage(f"it is truncated or broken ({exc})") from exc
    return Picture(pixels=pixels, format=image_format)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        grey = np.asarray(image, dtype=np.float64)
        top = 65535.0 if grey.max() > 255 else 255.0
        return Image.fromarray(np.clip(grey * (255.0 / top), 0, 255).astype(np.uint8)).convert("RGB")
    if "A" in image.mode or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")
