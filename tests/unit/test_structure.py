"""Small files that would cost a decoder much, and files with something else in or behind them."""

import io
import struct
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bloodyspy.errors import ImageError, UnreadableImage
from bloodyspy.images import structure
from bloodyspy.images.decode import decode

# Pillow tells of each broken tag; the service ignores that.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")

PIXELS = np.add.outer(np.add.outer(np.arange(64) * 2, np.arange(48) * 2), [0, 16, 32]).astype(np.uint8)
MB = 1 << 20


def encoded(image_format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(PIXELS).save(stream, image_format, **options)
    return stream.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def segment(code: int, content: bytes) -> bytes:
    return bytes([0xFF, code]) + struct.pack(">H", len(content) + 2) + content


def zeros(megabytes: int) -> bytes:
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(MB)) for _ in range(megabytes)) + packer.flush()


def tiff(*tags: tuple[int, int, int], data: bytes = b"", compression: int = 5) -> bytes:
    """A little-endian TIFF of 60 x 60 grey pixels with these tags (number, type, value) besides."""
    basic = [(256, 4, 60), (257, 4, 60), (258, 3, 8), (259, 3, compression), (262, 3, 1), (277, 3, 1)]
    entries = sorted([*basic, *tags])
    head = struct.pack("<2sHI", b"II", 42, 8 + len(data)) + data + struct.pack("<H", len(entries))
    return head + b"".join(struct.pack("<HHII", number, kind, 1, value) for number, kind, value in entries) + bytes(4)


JPEG, PROGRESSIVE, PNG = encoded("JPEG"), encoded("JPEG", progressive=True), encoded("PNG")
BOMB = zeros(200)
SCAN = PROGRESSIVE[PROGRESSIVE.rindex(b"\xff\xda") : -2]
IFD = b"II*\0\x08\0\0\0"


def png_with(*chunks: bytes, behind: bytes = b"") -> bytes:
    return PNG[:33] + b"".join(chunks) + PNG[33:-12] + behind + PNG[-12:]


def jpeg_with(*segments: bytes) -> bytes:
    return JPEG[:2] + b"".join(segments) + JPEG[2:]


COSTLY: dict[str, tuple[bytes, str]] = {
    "scans": (PROGRESSIVE[:-2] + SCAN * 100 + PROGRESSIVE[-2:], "scans"),
    "scans behind a false end": (PROGRESSIVE[:-2] + segment(0xFE, b"\xff\xd9") + SCAN * 100 + b"\xff\xd9", "scans"),
    "empty segments": (jpeg_with(segment(0xE4, b"") * 2000), "segments"),
    "comments": (jpeg_with(segment(0xFE, b"x") * 2000), "segments"),
    "padding before a marker": (jpeg_with(b"\xff" * 5000), "segments"),
    "junk before a marker": (jpeg_with(b"\0" * 5000), "segments"),
    "nothing but padding": (b"\xff\xd8" + b"\xff" * 5000, "no picture|segments"),
    "text chunks": (png_with(chunk(b"tEXt", b"k\0v") * 2000), "chunks"),
    "tiny data chunks": (png_with(chunk(b"IDAT", b"") * 2000), "chunks"),
    "zTXt bomb": (png_with(chunk(b"zTXt", b"k\0\0" + BOMB)), "too large"),
    "iTXt bomb": (png_with(chunk(b"iTXt", b"k\0\1\0\0\0" + BOMB)), "too large"),
    "iCCP bomb": (png_with(chunk(b"iCCP", b"k\0\0" + BOMB)), "too large"),
    "zTXt bomb behind the pixels": (png_with(behind=chunk(b"zTXt", b"k\0\0" + BOMB)), "too large"),
    "a huge tile": (tiff((322, 4, 30_000), (323, 4, 30_000), (324, 4, 8), (325, 4, 100), data=bytes(100)), "tiles"),
    "a long tile": (tiff((322, 4, 1 << 20), (323, 4, 1024), (324, 4, 8), (325, 4, 100), data=bytes(100)), "tiles"),
}


@pytest.mark.parametrize("what", COSTLY)
def test_a_file_that_costs_more_than_its_size_is_refused(what: str) -> None:
    payload, reason = COSTLY[what]
    with pytest.raises(UnreadableImage, match=reason):
        decode(payload)


TAGS = b"".join(struct.pack("<HHII", 1000 + number, 2, 0xFFFF_FFF0, 8) for number in range(3000))
HARMLESS: dict[str, bytes] = {
    "JPEG": JPEG,
    "progressive JPEG": PROGRESSIVE,
    "as many scans as allowed": PROGRESSIVE[:-2]
    + SCAN * (structure.MAX_SCANS - PROGRESSIVE.count(b"\xff\xda"))
    + PROGRESSIVE[-2:],
    "JPEG with restarts": encoded("JPEG", restart_marker_blocks=1),
    "JPEG with a large comment": jpeg_with(segment(0xFE, bytes(60_000)), segment(0xFE, b"\xff\xda" * 30_000)),
    "JPEG with broken EXIF": jpeg_with(segment(0xE1, b"Exif\0\0" + IFD + struct.pack("<H", 3000) + TAGS)),
    "PNG": PNG,
    "interlaced PNG": encoded("PNG", interlace=1),
    "PNG with broken EXIF": png_with(chunk(b"eXIf", IFD + struct.pack("<H", 3000) + TAGS)),
    "animated PNG": encoded("PNG", save_all=True, append_images=[Image.new("RGB", (48, 64), "red")] * 20),
    "TIFF of many pages": encoded("TIFF", save_all=True, append_images=[Image.new("RGB", (48, 64), "red")] * 20),
    "two pictures in a JPEG": encoded("MPO", save_all=True, append_images=[Image.new("RGB", (48, 64), "red")]),
}


@pytest.mark.parametrize("what", HARMLESS)
def test_odd_but_harmless_files_are_read_and_only_their_first_picture(what: str) -> None:
    pixels = decode(HARMLESS[what]).pixels
    assert pixels.shape == PIXELS.shape
    assert np.abs(pixels.astype(int) - PIXELS).mean() < 5


def archive() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as zipped:
        zipped.writestr("MARKER-OF-A-STOWAWAY.txt", b"MARKER-OF-A-STOWAWAY")
    return stream.getvalue()


STOWAWAYS = {
    "a page": b"<html><script>alert('MARKER-OF-A-STOWAWAY')</script></html>",
    "an archive": archive(),
    "a PDF": b"%PDF-1.7 MARKER-OF-A-STOWAWAY",
}


@pytest.mark.parametrize("what", STOWAWAYS)
@pytest.mark.parametrize("payload", [JPEG, PNG, encoded("BMP"), encoded("TIFF")], ids=["JPEG", "PNG", "BMP", "TIFF"])
def test_what_rides_behind_a_picture_changes_nothing(payload: bytes, what: str) -> None:
    assert np.array_equal(decode(payload + STOWAWAYS[what]).pixels, decode(payload).pixels)


def said_of(payload: bytes) -> str:
    """The refusal, or nothing."""
    try:
        decode(payload)
    except ImageError as refused:
        return str(refused)
    return ""


@pytest.mark.parametrize("what", STOWAWAYS)
def test_what_rides_in_or_before_a_picture_is_never_told(what: str) -> None:
    content = STOWAWAYS[what]
    for payload in (
        content + JPEG,
        content + PNG,
        content,
        b"\xff\xd8" + content,
        PNG[:8] + content,
        PNG[:33] + content,
        b"BM" + content,
        b"II*\0" + content,
        jpeg_with(segment(0xFE, content)),
        png_with(chunk(b"tEXt", b"MARKER\0" + content)),
        png_with(chunk(b"zTXt", b"MARKER\0\0" + content)),
    ):
        assert "STOWAWAY" not in said_of(payload)
        assert "<" not in said_of(payload)


@given(st.binary(max_size=300), st.sampled_from([b"", b"\xff\xd8", PNG[:8], JPEG[:300], PNG[:100]]))
def test_whatever_the_bytes_are_they_are_read_or_refused_with_a_sentence(noise: bytes, start: bytes) -> None:
    said = said_of(start + noise)
    assert not said or said.endswith(".")
