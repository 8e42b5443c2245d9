"""Where images come from: a folder per class, a zip of one, its address, the published PBC archive, or drawn ones."""

import os
import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from bloodyspy.archive import METHODS, read_member
from bloodyspy.dataset.download import digest_of, fetch, shown
from bloodyspy.errors import SourceError, UnreadableImage
from bloodyspy.images.synthetic import draw_dataset
from bloodyspy.params import Synthetic

SYNTHETIC = "synthetic"
PBC = "pbc"

# Acevedo et al. 2020, "A dataset for microscopic peripheral blood cell images", Mendeley Data, version 1, CC BY 4.0:
# PBC_dataset_normal_DIB.zip, 17,092 images. The checksum is from a public record of the archive, where it was compared
# with the one in Mendeley's own file listing; the record names the same duplicates as we find.
PBC_NAME = "PBC (Mendeley Data snkd93bnjr v1)"
PBC_URL = "https://data.mendeley.com/public-files/datasets/snkd93bnjr/files/2fc38728-2ae7-4a62-a857-032af82334c3/file_downloaded"
PBC_SHA256 = "6c50b82d1ab499b0b5a6beda0d0f75e6013df4a7233f116da354351ac10ca4f8"

# A zip that grows by more than this, beyond the first gigabyte, holds no photographs: a picture is compressed already.
_BOMB_RATIO = 100
_BOMB_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a source."""

    path: str
    """Relative to the source, with slashes, valid text."""
    size: int
    """Bytes, as the source states them."""
    read: Callable[[], bytes]
    """Its bytes. Raises UnreadableImage where this one file is damaged, SourceError where the source is gone."""


@dataclass(frozen=True, slots=True)
class Source:
    """An opened source."""

    name: str
    """How data/ remembers it: no absolute path, no secret."""
    files: tuple[SourceFile, ...]
    synthetic: bool = False


@contextmanager
def opened(
    source: str, synthetic: Synthetic, *, checksum: str | None, downloads: Path, scratch: Path, data: Path
) -> Iterator[Source]:
    """Open a source for reading.

    Args:
        source: folder, zip, http(s) URL of a zip, ``pbc``, or ``synthetic``.
        synthetic: what ``synthetic`` draws.
        checksum: SHA-256 of the archive; required for a URL, checked for a zip.
        downloads: where downloads are kept until they are imported.
        scratch: an empty folder for drawn pictures.
        data: the data set, which cannot be its own source.

    Raises:
        SourceError: absent, unreachable, not what was promised, or not a folder or zip.
    """
    checksum = _checked(checksum)
    if source == SYNTHETIC:
        draw_dataset(scratch, synthetic.per_class, synthetic.seed)
        yield Source(SYNTHETIC, tuple(_folder_files(scratch)), synthetic=True)
    elif source == PBC or re.match(r"https?://", source, re.IGNORECASE):
        url, name = (PBC_URL, PBC_NAME) if source == PBC else (source, shown(source))
        expected = checksum or (PBC_SHA256 if source == PBC else None)
        if expected is None:
            raise SourceError(f"{name} is only believed with its checksum. Give its SHA-256 with --checksum.")
        archive = fetch(url, expected, downloads)
        with _zip(archive, name) as files:
            yield Source(name, files)
        archive.unlink()  # only now: an import that fails or is killed finds it again
    else:
        path = Path(source).expanduser()
        if path.is_dir():
            if checksum:
                raise SourceError(f"{path} is a folder, and only an archive has a checksum. Leave --checksum out.")
            place, held = path.resolve(), data.resolve()
            if place.is_relative_to(held) or held.is_relative_to(place):
                raise SourceError(f"{path} and {data} lie inside one another. Import from a folder outside of data/.")
            yield Source(place.name, tuple(_folder_files(place)))
        elif path.is_file():
            if checksum and (found := digest_of(path)) != checksum:
                raise SourceError(f"{path} has the SHA-256 {found}, not {checksum}: it is another file, or damaged.")
            with _zip(path, path.name) as files:
                yield Source(path.name, files)
        else:
            choices = "a folder per class, a zip of one, its URL, `synthetic` or `pbc`"
            raise SourceError(f"{path} is not there. Give {choices}.")


def _checked(checksum: str | None) -> str | None:
    if checksum is None:
        return None
    digits = checksum.strip().lower().removeprefix("sha256:")
    if not re.fullmatch(r"[0-9a-f]{64}", digits):
        raise SourceError(f"{checksum!r} is not a SHA-256: it must be 64 hex digits.")
    return digits


def _folder_files(folder: Path) -> Iterator[SourceFile]:
    """Every file below a folder; links are followed, each folder is entered once."""
    seen: set[tuple[int, int]] = set()
    places, links = [folder], list[Path]()
    while places or links:
        # Real folders first: where a link leads to one of them, its files go by their own names.
        place = (places or links).pop()
        try:
            status = place.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError as exc:
            raise SourceError(f"{place} cannot be read: {exc.strerror}.") from exc
        for entry in entries:
            path = Path(entry.path)
            if entry.is_dir():
                (links if entry.is_symlink() else places).append(path)
            else:
                regular = entry.is_file()
                name = _text(path.relative_to(folder).as_posix())
                yield SourceFile(name, entry.stat().st_size if regular else 0, _reader(path, regular=regular))


def _reader(path: Path, *, regular: bool) -> Callable[[], bytes]:
    def read() -> bytes:
        if not regular:
            raise UnreadableImage("it is a broken link or no regular file")
        try:
            return path.read_bytes()
        except PermissionError as exc:
            raise UnreadableImage("reading it is not permitted") from exc
        except OSError as exc:
            raise SourceError(f"{path} cannot be read any more ({exc.strerror}). Import it again.") from exc

    return read


@contextmanager
def _zip(path: Path, name: str) -> Iterator[tuple[SourceFile, ...]]:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError) as exc:
        raise SourceError(f"{name} is not a readable zip archive ({exc}). Fetch it again, or give a folder.") from exc
    except OSError as exc:
        raise SourceError(f"{path} cannot be read: {exc.strerror}.") from exc
    with archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        for member in members:
            _refuse_hostile(member, name)
        size, packed = sum(member.file_size for member in members), path.stat().st_size
        if size > _BOMB_BYTES and size > packed * _BOMB_RATIO:
            raise SourceError(
                f"{name} would grow from {packed} to {size} bytes: a decompression bomb, not photographs."
            )
        yield tuple(SourceFile(_member_path(m), m.file_size, _member_reader(archive, m)) for m in members)


def _member_path(member: zipfile.ZipInfo) -> str:
    # Some programs on Windows write backslashes; a leading "./" says nothing.
    return _text(str(PurePosixPath(member.filename.replace("\\", "/"))))


def _refuse_hostile(member: zipfile.ZipInfo, archive: str) -> None:
    path = PurePosixPath(_member_path(member))
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", str(path)):
        raise SourceError(f"{archive} names a file outside of itself ({member.filename!r}). Nothing was taken from it.")
    if member.flag_bits & 0x1:
        raise SourceError(f"{archive} is encrypted. Unpack it with its password and import the folder.")
    if member.compress_type not in METHODS:
        raise SourceError(f"{archive} is packed in another way than deflate. Unpack it and import the folder.")


def _member_reader(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Callable[[], bytes]:
    def read() -> bytes:
        if stat.S_ISLNK(member.external_attr >> 16):
            raise UnreadableImage("it is a link inside the archive")
        try:
            return read_member(archive, member)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as exc:
            raise UnreadableImage(f"its entry in the archive is damaged ({exc})") from exc

    return read


def _text(path: str) -> str:
    """Valid text for a path whose bytes are none: names from other systems."""
    return path.encode("utf-8", "backslashreplace").decode("utf-8")
