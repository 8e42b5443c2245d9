"""What a picture's file may be built of, looked at before a decoder walks through it.

Decoders bound the pixels, not their own work. Each of these files is small, has a modest picture in it, and costs
Pillow 13 on one core: 2,000 scans in a progressive JPEG of 180 kB more than a minute; 7 million empty segments before
the scan of a JPEG 13 s and 900 MB; a million text chunks in a PNG 4 s; one tile of 30,000 x 30,000 pixels in a TIFF of
10 kB 900 MB. (Bombs in compressed text, colour profiles and EXIF are bounded by Pillow itself.)
"""

import re
import struct

from PIL import Image, TiffImagePlugin

from bloodyspy.errors import UnreadableImage

MAX_SCANS = 100
"""Of a JPEG; encoders write 10 of a progressive one."""

_OLDEST_BMP = b"\x0c\0\0\0"  # the length of a header that names no compression
_RUN_LENGTHS = (b"\1\0\0\0", b"\2\0\0\0")  # BI_RLE8 and BI_RLE4
_MARKER = re.compile(rb"\xff[\x01-\xfe]", re.DOTALL)
_SCAN_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]", re.DOTALL)  # restarts are part of a scan
_SOS, _EOI, _WITHOUT_LENGTH = 0xDA, 0xD9, {0x01, *range(0xD0, 0xD9)}
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_SEQUENTIAL = {0xC0, 0xC1, 0xC9}
_TILE_WIDTH, _TILE_LENGTH = 322, 323


def check(payload: bytes) -> None:
    """Pass files that are built as files of their size are.

    Raises:
        UnreadableImage: a JPEG or PNG with far too many parts, or a bitmap of run lengths, which is unpacked in Python.
    """
    if payload.startswith(b"\xff\xd8"):
        _check_jpeg(payload)
    elif payload.startswith(b"\x89PNG\r\n\x1a\n"):
        _check_png(payload)
    elif payload.startswith(b"BM") and payload[14:18] != _OLDEST_BMP and payload[30:34] in _RUN_LENGTHS:
        raise UnreadableImage(
            "it is a run-length encoded bitmap, which may be far larger than it looks: save it as PNG"
        )


def check_tiles(image: Image.Image, max_pixels: int) -> None:
    """Pass an opened picture whose tiles, if it has any, are no larger than a picture may be.

    Raises:
        UnreadableImage: a TIFF with larger ones.
    """
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        width, length = (image.tag_v2.get(tag, 1) for tag in (_TILE_WIDTH, _TILE_LENGTH))
        if not (isinstance(width, int) and isinstance(length, int)) or width * length > max_pixels:
            raise UnreadableImage("its tiles are larger than a picture may be")


def _check_jpeg(payload: bytes) -> None:
    position, left, scans, marker = 2, _parts(payload), 0, _MARKER
    frame = components = 0
    while found := marker.search(payload, position):
        left -= 1 + (0 if scans else found.start() - position)  # junk between segments is read byte by byte
        if left < 0:
            raise UnreadableImage("it is made of far too many segments")
        code, position = payload[found.start() + 1], found.end()
        if code == _EOI:
            return
        if code in _FRAMES:
            frame, components = code, _byte(payload, position + 7)
        if code == _SOS:
            # A sequential picture whose first scan has every component has no other: decoders stop after it.
            if not scans and frame in _SEQUENTIAL and _byte(payload, position + 2) == components:
                return
            scans, marker = scans + 1, _SCAN_MARKER
            if scans > MAX_SCANS:
                raise UnreadableImage(f"it has more than {MAX_SCANS} scans")
        if code not in _WITHOUT_LENGTH:
            position += int.from_bytes(payload[position : position + 2], "big")
    if not scans and len(payload) - position > left:
        raise UnreadableImage("it has no picture in it")


def _byte(payload: bytes, position: int) -> int:
    return payload[position] if position < len(payload) else 0


def _check_png(payload: bytes) -> None:
    position, left = 8, _parts(payload)
    while position + 8 <= len(payload):
        length, kind = struct.unpack_from(">I4s", payload, position)
        position, left = position + 12 + length, left - 1
        if left < 0:
            raise UnreadableImage("it is made of far too many chunks")
        if kind == b"IEND":
            return


def _parts(payload: bytes) -> int:
    """How many segments or chunks a file of this size may have; libpng cuts its data into 8 kB."""
    return 1000 + len(payload) // 1024
