"""Files that began as pictures, or pretend to be ones: whatever number is asked for, it is the same file again."""

import io
import struct
import time
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from random import Random

import numpy as np
from PIL import Image, ImageCms

MB = 1 << 20
Pictures = Sequence[bytes]

TAKEN: tuple[tuple[str, dict[str, object]], ...] = (
    ("JPEG", {}),
    ("JPEG", {"progressive": True, "quality": 60}),
    ("JPEG", {"restart_marker_blocks": 4, "optimize": True}),
    ("PNG", {}),
    ("PNG", {"interlace": 1}),
    ("BMP", {}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("TIFF", {"compression": "tiff_deflate"}),
    ("TIFF", {"compression": "packbits"}),
    ("TIFF", {"compression": "jpeg"}),
    ("TIFF", {"big_tiff": True}),
)
"""How the service's formats are written."""

MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "I", "F", "I;16", "I;16B")
HUGE = (0, 1, 0x7FFF, 0xFFFF, 10_000, 60_000, 1 << 20, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)
ORIENTATION = 0x0112


class Draw(Random):
    """Of one file."""

    def __init__(self, number: int) -> None:
        super().__init__(f"mutant {number}")
        self.turn = number // len(KINDS)
        """Files of the same kind with a lower number."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One file, and how it was made."""

    kind: str
    payload: bytes


def mutant(number: int, pictures: Pictures) -> Mutant:
    """The file of this number, made of these pictures; kinds take turns."""
    kind = tuple(KINDS)[number % len(KINDS)]
    return Mutant(kind, KINDS[kind](Draw(number), pictures))


def encoded(image: Image.Image, image_format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()


def opened(draw: Draw, pictures: Pictures) -> Image.Image:
    return Image.open(io.BytesIO(draw.choice(pictures))).convert("RGB")


def whole(draw: Draw, pictures: Pictures) -> bytes:
    """As it is, or written anew in one of the ways that are taken."""
    if draw.random() < 0.1:
        return draw.choice(pictures)
    image_format, options = draw.choice(TAKEN)
    return encoded(opened(draw, pictures), image_format, **options)


def truncated(draw: Draw, pictures: Pictures) -> bytes:
    payload = whole(draw, pictures)
    # every second one near an end: headers and trailers are short
    if draw.random() < 0.5:
        return payload[: draw.choice((draw.randrange(64), len(payload) - draw.randrange(64)))]
    return payload[: draw.randrange(len(payload))]


def flipped(draw: Draw, payload: bytes, bits: int) -> bytes:
    changed = bytearray(payload)
    for _ in range(bits):
        # every second one among the first bytes, where a header says what follows
        place = draw.randrange(len(changed) if draw.random() < 0.5 else min(512, len(changed)))
        changed[place] ^= 1 << draw.randrange(8)
    return bytes(changed)


def few_bits(draw: Draw, pictures: Pictures) -> bytes:
    return flipped(draw, whole(draw, pictures), draw.randint(1, 8))


def many_bits(draw: Draw, pictures: Pictures) -> bytes:
    return flipped(draw, whole(draw, pictures), draw.randint(50, 2000))


def spliced(draw: Draw, pictures: Pictures) -> bytes:
    """The beginning of one file and the end of another; or a stretch that is left out, repeated or emptied."""
    first, second = whole(draw, pictures), whole(draw, pictures)
    start = draw.randrange(len(first))
    length = draw.randrange(1, max(2, len(first) - start))
    match draw.randrange(4):
        case 0:
            return first[:start] + second[draw.randrange(len(second)) :]
        case 1:
            return first[:start] + first[start + length :]
        case 2:
            return first[: start + length] + first[start:]
        case _:
            return first[:start] + bytes(length) + first[start + length :]


def archive(draw: Draw, payload: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("cell.jpg", payload)
        zipped.writestr("notes.txt", "no picture " * draw.randrange(99))
    return stream.getvalue()


PAGE = b"<!DOCTYPE html><html><body><script>alert(document.cookie)</script></body></html>"
DRAWING = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><rect width="9" height="9"/></svg>'
DOCUMENT = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<</Type/Catalog>>\nendobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"


def another_type(draw: Draw, pictures: Pictures) -> bytes:
    return draw.choice(
        (
            b"",
            b"This is no picture.\n" * draw.randrange(1, 500),
            "Blutbild: Neutrophile 60 %".encode("utf-16"),
            b'{"picture": null}',
            b"sample;class\n1;basophil\n" * 50,
            PAGE,
            DRAWING,
            DOCUMENT,
            archive(draw, draw.choice(pictures)),
            zlib.compress(draw.choice(pictures)),
            b"\x1f\x8b\x08\x00" + draw.randbytes(300),
            b"\x7fELF\x02\x01\x01" + bytes(200),
            b"RIFF\xff\xff\xff\x7fWAVEfmt " + draw.randbytes(200),
            bytes(draw.randrange(1, 4096)),
            draw.randbytes(draw.randrange(1, 4096)),
            draw.choice((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\0", b"MM\0*", b"GIF89a"))
            + draw.randbytes(draw.randrange(1, 4096)),
        )
    )


def two_types(draw: Draw, pictures: Pictures) -> bytes:
    """A picture that is something else besides: before it, behind it or inside."""
    payload = whole(draw, pictures)
    rider = draw.choice((PAGE, DRAWING, DOCUMENT, archive(draw, payload), draw.choice(pictures)))
    match draw.randrange(4):
        case 0:
            return rider + payload
        case 1:
            return payload + rider
        case 2:
            comment = rider[:60_000]
            jpeg = encoded(opened(draw, pictures), "JPEG")
            return jpeg[:2] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + jpeg[2:]
        case _:
            png = encoded(opened(draw, pictures), "PNG")
            return png[:33] + chunk(b"tEXt", b"Comment\0" + rider) + png[33:]


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def announced(draw: Draw, pictures: Pictures) -> bytes:
    """A small file whose header says that the picture is huge, empty, or of negative size."""
    image = opened(draw, pictures)
    width, height = draw.choice(HUGE), draw.choice((*HUGE, image.height))
    image_format = draw.choice(("PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP"))
    payload = bytearray(encoded(image, image_format))
    match image_format:
        case "PNG":
            payload[8:33] = chunk(b"IHDR", struct.pack(">II", width, height) + payload[24:29])
        case "JPEG":
            frame = payload.index(b"\xff\xc0")
            struct.pack_into(">HH", payload, frame + 5, height & 0xFFFF, width & 0xFFFF)
        case "BMP":
            struct.pack_into("<II", payload, 18, width, height)
        case "TIFF":
            for entry in entries(payload):
                if (tag := struct.unpack_from("<H", payload, entry)[0]) in (256, 257):
                    struct.pack_into("<HII", payload, entry + 2, 4, 1, width if tag == 256 else height)
        case "GIF":
            struct.pack_into("<HH", payload, 6, width & 0xFFFF, height & 0xFFFF)
        case _:
            struct.pack_into("<HH", payload, 26, width & 0x3FFF, height & 0x3FFF)
    return bytes(payload)


def entries(payload: bytes | bytearray) -> range:
    """Where the tags of a little-endian TIFF's first directory begin."""
    (start,) = struct.unpack_from("<I", payload, 4)
    (count,) = struct.unpack_from("<H", payload, start)
    return range(start + 2, start + 2 + 12 * count, 12)


@cache
def zeros(megabytes: int) -> bytes:
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(MB)) for _ in range(megabytes)) + packer.flush()


@cache
def flat(mode: str, width: int, height: int, image_format: str, compression: str = "") -> bytes:
    options = {"compression": compression} if compression else {}
    return encoded(Image.new(mode, (width, height)), image_format, **options)


def packed(draw: Draw, pictures: Pictures) -> bytes:
    """A small file that unpacks to very much: one in six a whole picture about as large as any that is taken."""
    if draw.random() < 1 / 6:
        size = draw.choice(((4900, 5000), (5100, 5000), (7000, 7000), (250_000, 100), (30_000, 1)))
        how = (("PNG", ""), ("JPEG", ""), ("TIFF", "tiff_deflate"), ("TIFF", "packbits"), ("GIF", ""))
        image_format, compression = draw.choice(how)
        if max(size) > 65_000:  # which neither JPEG nor GIF can say
            image_format, compression = "PNG", ""
        mode = draw.choice(("L", "RGB")) if image_format != "GIF" else "L"
        return flat(mode, *size, image_format, compression)
    png = encoded(opened(draw, pictures), "PNG")
    bomb = zeros(draw.choice((1, 20, 200)))
    match draw.randrange(7):
        case 0:
            return png[:33] + chunk(b"zTXt", b"k\0\0" + bomb) + png[33:]
        case 1:
            return png[:33] + chunk(b"iTXt", b"k\0\1\0\0\0" + bomb) + png[33:]
        case 2:
            return png[:33] + chunk(b"iCCP", b"k\0\0" + bomb) + png[33:]
        case 3:
            return png[:33] + chunk(b"tEXt", b"k\0" + b"x" * draw.choice((1000, MB, 3 * MB))) + png[33:]
        case 4:
            return png[:33] + chunk(b"IDAT", bomb) + chunk(b"IEND", b"")
        case 5:
            return png[:33] + chunk(b"tEXt", b"k\0v") * draw.choice((10, 5000)) + png[33:]
        case _:
            jpeg = encoded(opened(draw, pictures), "JPEG", progressive=True)
            scan = jpeg[jpeg.rindex(b"\xff\xda") : -2]
            return jpeg[:-2] + scan * draw.choice((5, 500)) + jpeg[-2:]


def broken_inside(draw: Draw, pictures: Pictures) -> bytes:
    """Well formed as a container, with right checksums, but what stands in it makes no sense."""
    image = opened(draw, pictures)
    image_format, options = draw.choice([how for how in TAKEN if "big_tiff" not in how[1]])
    payload = bytearray(encoded(image, image_format, **options))
    match image_format:
        case "PNG":
            header = bytearray(payload[16:29])
            for _ in range(draw.randrange(3)):
                header[draw.randrange(8, 13)] = draw.randrange(8)
            names = (b"PLTE", b"tRNS", b"gAMA", b"cHRM", b"iCCP", b"eXIf", b"sBIT", b"acTL", b"fcTL", b"fdAT", b"pHYs")
            inside = b"".join(
                chunk(draw.choice(names), draw.randbytes(draw.randrange(60))) for _ in range(draw.randrange(4))
            )
            return bytes(payload[:8]) + chunk(b"IHDR", bytes(header)) + inside + bytes(payload[33:])
        case "BMP":
            for _ in range(draw.randint(1, 3)):
                struct.pack_into("<H", payload, draw.randrange(10, 54, 2), draw.choice((*range(40), 0x7FFF, 0xFFFF)))
        case "TIFF":
            where = entries(payload)
            for _ in range(draw.randint(1, 4)):
                entry = draw.choice(where)
                kind, count = draw.choice((1, 2, 3, 4, 5, 7, 11, 12, 13)), draw.choice((0, 1, 1, 2, 3, 1000, *HUGE))
                value = draw.choice((*range(10), 32_773, 32_946, 34_712, *HUGE, len(payload)))
                if draw.random() < 0.5:
                    struct.pack_into("<I", payload, entry + 8, value)
                else:
                    struct.pack_into("<HII", payload, entry + 2, kind, count, value)
        case _:
            segment = bytes((0xFF, draw.randrange(0xC0, 0xFE)))
            content = draw.randbytes(draw.randrange(80))
            payload[2:2] = segment + struct.pack(">H", draw.choice((len(content) + 2, 0, 1, 0xFFFF))) + content
    return bytes(payload)


def colour_mode(draw: Draw, pictures: Pictures) -> bytes:
    """In a mode and a format that can hold it, PNG with 16 bits a channel among them."""
    image = opened(draw, pictures)
    if draw.random() < 0.1:
        return png16(image)
    while True:
        image_format, options = draw.choice(TAKEN)
        try:
            return encoded(in_mode(draw, image, draw.choice(MODES)), image_format, **options)
        except (OSError, ValueError, KeyError):  # not every format has every mode
            continue


def in_mode(draw: Draw, image: Image.Image, mode: str) -> Image.Image:
    if mode == "LAB":
        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        converted = ImageCms.profileToProfile(image, srgb, lab, outputMode="LAB")
        assert converted is not None
        return converted
    if mode.startswith("I;16"):
        grey = np.asarray(image.convert("L"), np.uint16) * draw.choice((1, 257))
        return Image.fromarray(grey).convert("I;16") if mode == "I;16" else Image.fromarray(grey.astype(">u2"))
    if mode == "P":
        converted = image.quantize(draw.choice((2, 16, 256)))
        if draw.random() < 0.5:
            converted.info["transparency"] = draw.randrange(2)
        return converted
    if mode in ("LA", "RGBA"):
        converted = image.convert(mode)
        converted.putalpha(Image.linear_gradient("L").resize(image.size))
        return converted
    return image.convert("L").convert(mode) if mode == "PA" else image.convert(mode)


def png16(image: Image.Image) -> bytes:
    """RGB with 16 bits a channel, which Pillow reads but does not write."""
    rows = (np.asarray(image, np.uint16) * 257).astype(">u2")
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", image.width, image.height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def turned(draw: Draw, pictures: Pictures) -> bytes:
    """With EXIF: the eight orientations in turn and two that there are not; every second one is broken."""
    image, exif = opened(draw, pictures), Image.Exif()
    exif[ORIENTATION] = draw.turn % 10
    exif[0x010E] = "drawn"
    content = exif.tobytes()
    if draw.random() < 0.5:
        content = draw.choice(
            (
                flipped(draw, content, draw.randint(1, 20)),
                content[: draw.randrange(len(content))],
                b"Exif\0\0" + draw.randbytes(draw.randrange(200)),
                b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 0xFFFF) + draw.randbytes(4000),
            )
        )
    image_format = draw.choice(("JPEG", "PNG", "TIFF"))
    if image_format == "TIFF":
        return encoded(image, "TIFF", tiffinfo={ORIENTATION: exif[ORIENTATION]})
    return encoded(image, image_format, exif=content)


def animated(draw: Draw, pictures: Pictures) -> bytes:
    frames = [opened(draw, pictures).resize((64, 64)) for _ in range(draw.randint(2, 6))]
    image_format = draw.choice(("GIF", "PNG", "TIFF", "WEBP", "MPO", "AVIF"))
    payload = encoded(frames[0], image_format, save_all=True, append_images=frames[1:])
    return flipped(draw, payload, draw.randrange(4))


def every_format(draw: Draw, pictures: Pictures) -> bytes:
    """In each format that Pillow can write here, in turn; a PDF would say when it was written."""
    image, (image_format, mode) = opened(draw, pictures), written()[draw.turn % len(written())]
    return encoded(in_mode(draw, image, mode), image_format, creationDate=time.gmtime(0), modDate=time.gmtime(0))


@cache
def written() -> tuple[tuple[str, str], ...]:
    """Each format that Pillow writes, with a mode that it takes."""
    Image.init()
    found = []
    for image_format in sorted(Image.SAVE):
        for mode in ("RGB", "L", "P", "1", "F"):
            try:
                encoded(Image.new(mode, (64, 64)), image_format)
            except (OSError, ValueError, KeyError):
                continue
            found.append((image_format, mode))
            break
    return tuple(found)


KINDS: dict[str, Callable[[Draw, Pictures], bytes]] = {
    "whole": whole,
    "truncated": truncated,
    "a few bits flipped": few_bits,
    "many bits flipped": many_bits,
    "spliced": spliced,
    "another type": another_type,
    "two types at once": two_types,
    "a size that is not so": announced,
    "unpacks to very much": packed,
    "broken inside": broken_inside,
    "an odd colour mode": colour_mode,
    "EXIF": turned,
    "animated": animated,
    "any format of Pillow's": every_format,
}
