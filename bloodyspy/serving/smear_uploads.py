"""Receives the pictures of a smear: streamed to a folder, one file a part, or one zip; no body is held in memory."""

import re
import stat
import struct
import zipfile
import zlib
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from fastapi import HTTPException
from fastapi.concurrency import run_in_threadpool
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from bloodyspy.archive import METHODS, read_member
from bloodyspy.images.decode import SUFFIXES

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_BODY = 512 << 20
"""Bytes of one request."""

MAX_PICTURES = 10_000
"""Of one smear."""

MAX_PICTURE = 32 << 20
"""Bytes of one picture."""

MAX_UNPACKED = 1 << 30
"""Bytes that a zip may grow to: a picture is compressed already."""

MAX_CELLS = 2 << 20
"""Bytes of the field ``cells``: some 200 for each picture."""

_MAX_FIELD, _MAX_FIELDS = 4096, 16
_MAX_DIRECTORY = 8 << 20  # bytes of a zip's list of members: some 800 for each picture


@dataclass(slots=True)
class Received:
    """What came in."""

    files: list[tuple[Path, str]] = field(default_factory=list)
    """Place and name of each file."""
    fields: dict[str, str] = field(default_factory=dict)


async def receive(content_type: str, stream: AsyncGenerator[bytes, None], folder: Path) -> Received:
    """Stream a form into a folder.

    Args:
        content_type: of the request.
        stream: its body.
        folder: an empty one; files get numbers for names, whatever they are called.

    Raises:
        HTTPException: 400 the form is not well formed, 413 a limit is passed, 415 it is no form, 422 without a file.
        OSError: from writing.
    """
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise HTTPException(415, "Send the pictures as multipart/form-data in the field `files`.")
    parts = _Parts(folder)
    received = 0
    try:
        parser = MultipartParser(options[b"boundary"], parts.callbacks())
        async for chunk in stream:
            received += len(chunk)
            if received > MAX_BODY:
                raise HTTPException(413, f"A smear may have {MAX_BODY >> 20} MB. Send fewer or smaller pictures.")
            await run_in_threadpool(parser.write, chunk)
        parser.finalize()
    except ClientDisconnect as exc:
        raise HTTPException(400, "The connection ended before the form did.") from exc
    except (FormParserError, ValueError, LookupError) as exc:
        raise HTTPException(400, f"The form cannot be read: {exc}.") from exc
    finally:
        parts.close()
    if not parts.ended:
        raise HTTPException(400, "The form cannot be read: it ends before its last boundary.")
    if not parts.received.files:
        raise HTTPException(422, "There is no file in the field `files`. Attach the pictures of one smear, or one zip.")
    return parts.received


class _Parts:
    """Writes the parts of a form as they come in."""

    def __init__(self, folder: Path) -> None:
        self.received = Received()
        self.ended = False
        self._folder = folder
        self._file: BinaryIO | None = None
        self._size = 0
        self._header, self._value = b"", b""
        self._disposition = b""
        self._name = ""
        self._text = bytearray()

    def callbacks(self) -> "MultipartCallbacks":
        """For python-multipart's parser."""
        return {
            "on_part_begin": self.part_begin,
            "on_header_field": self.header_field,
            "on_header_value": self.header_value,
            "on_header_end": self.header_end,
            "on_headers_finished": self.headers_finished,
            "on_part_data": self.part_data,
            "on_part_end": self.part_end,
            "on_end": self.end,
        }

    def close(self) -> None:
        """After the last part, or after a failure inside one."""
        if self._file is not None:
            self._file.close()

    def part_begin(self) -> None:
        self._disposition, self._text, self._size, self._name = b"", bytearray(), 0, ""

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]
        if len(self._header) > _MAX_FIELD:
            raise HTTPException(400, "The form cannot be read: a header of a part is too long.")

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        if len(self._value) > _MAX_FIELD:
            raise HTTPException(400, "The form cannot be read: a header of a part is too long.")

    def header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header, self._value = b"", b""

    def headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        if b"filename" not in options:
            return
        if self._name not in ("files", "file"):
            raise HTTPException(422, "Pictures are taken from the field `files` only.")
        if len(self.received.files) >= MAX_PICTURES:
            raise HTTPException(413, f"A smear may have {MAX_PICTURES:,} pictures.")
        place = self._folder / f"{len(self.received.files):06}"
        self.received.files.append((place, label(options[b"filename"].decode("utf-8", "replace"))))
        self._file = place.open("xb")

    def part_data(self, data: bytes, start: int, end: int) -> None:
        self._size += end - start
        if self._file is not None:
            self._file.write(data[start:end])
        elif self._size > (MAX_CELLS if self._name == "cells" else _MAX_FIELD):
            raise HTTPException(413, "A field of the form is too long.")
        else:
            self._text += data[start:end]

    def part_end(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        elif self._name:
            if len(self.received.fields) >= _MAX_FIELDS:
                raise HTTPException(413, "The form has too many fields.")
            self.received.fields[self._name] = self._text.decode("utf-8", "replace")

    def end(self) -> None:
        self.ended = True


def label(name: str) -> str:
    """What a file is called, fit for a table: no folder of the sender's, no control characters, bounded."""
    last = PurePosixPath(name.replace("\\", "/")).name
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", "\ufffd", last)[:200] or "unnamed"


def members(archive: zipfile.ZipFile, packed: int) -> list[zipfile.ZipInfo]:
    """The pictures of an archive, checked before anything is unpacked.

    Raises:
        HTTPException: 413 too many or too large, 422 hostile, encrypted or without a picture.
    """
    found = []
    for member in archive.infolist():
        path = PurePosixPath(member.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", str(path)):
            raise HTTPException(422, "The zip names a file outside of itself. Nothing was taken from it.")
        if member.flag_bits & 0x1:
            raise HTTPException(422, "The zip is encrypted. Send it without a password.")
        if member.compress_type not in METHODS:
            raise HTTPException(
                422, "The zip is packed in another way than deflate. Send one that is, or the pictures."
            )
        hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
        link = stat.S_ISLNK(member.external_attr >> 16)
        if member.is_dir() or hidden or link or path.suffix.lower() not in SUFFIXES:
            continue
        if member.file_size > MAX_PICTURE:
            raise HTTPException(413, f"A picture in the zip has more than {MAX_PICTURE >> 20} MB.")
        found.append(member)
    if len(found) > MAX_PICTURES:
        raise HTTPException(413, f"A smear may have {MAX_PICTURES:,} pictures.")
    size = sum(member.file_size for member in found)
    if size > MAX_UNPACKED or size > 100 * max(packed, 1 << 20):
        raise HTTPException(413, f"The zip would grow to {size >> 20} MB: these are no photographs.")
    if not found:
        raise HTTPException(422, "There is no picture in the zip: no file is named like a JPEG, PNG, BMP or TIFF.")
    return found


def is_zip(place: Path) -> bool:
    """Whether a file begins as a zip does."""
    with place.open("rb") as stream:
        return stream.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


def open_zip(place: Path) -> zipfile.ZipFile:
    """Open an archive; one with a list of millions of members is refused before the list is read.

    Raises:
        HTTPException: 413 too long a list, 422 no readable zip.
    """
    size = place.stat().st_size
    with place.open("rb") as stream:
        stream.seek(max(0, size - 65_557))  # the end record, and its comment at its longest
        tail = stream.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + 22:
        raise HTTPException(422, "The zip is damaged: it has no list of its files.")
    (directory,) = struct.unpack_from("<I", tail, at + 12)
    if directory > _MAX_DIRECTORY or tail[max(0, at - 20) : at].startswith(b"PK\x06\x07"):
        raise HTTPException(413, f"The zip has too many files: a smear may have {MAX_PICTURES:,} pictures.")
    try:
        return zipfile.ZipFile(place)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, ValueError, OSError) as exc:
        raise HTTPException(422, f"The zip cannot be read: {exc}.") from exc


def unpack(place: Path, folder: Path) -> Iterator[tuple[Path, str]]:
    """Unpack the pictures of an archive that was checked, one by one, each into a file with a number for its name.

    A damaged member becomes an empty file, which is then told as unreadable. No member grows beyond what it announced.
    """
    with open_zip(place) as archive:
        for number, member in enumerate(members(archive, place.stat().st_size)):
            target = folder / f"member-{number:06}"
            target.write_bytes(_bytes(archive, member))
            yield target, label(member.filename)


def _bytes(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    try:
        return read_member(archive, member)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError):
        return b""
