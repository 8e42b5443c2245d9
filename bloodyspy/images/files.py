"""Which files are pictures, and reading one: what a person names on the command line, without labels."""

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bloodyspy.errors import SourceError, UnreadableImage
from bloodyspy.images.decode import MAX_BYTES, SUFFIXES


@dataclass(frozen=True, slots=True)
class Found:
    """The files that paths stand for."""

    files: tuple[Path, ...]
    """Each once: the paths in their order, a folder's files sorted."""
    left_out: int
    """Files of folders that are hidden or not named like pictures."""


def find(paths: Iterable[Path]) -> Found:
    """The files that are to be classified: those given, and in folders, however deep, those named like pictures.

    Raises:
        SourceError: a path is absent or no file, a folder cannot be read, or there is no picture at all.
    """
    files: dict[Path, None] = {}
    left_out = 0
    for path in paths:
        if path.is_dir():
            inside = sorted(_inside(path))
            pictures = [file for file in inside if _like_a_picture(file.relative_to(path))]
            left_out += len(inside) - len(pictures)
            files.update(dict.fromkeys(pictures))
        elif path.is_file():
            files[path] = None
        else:
            raise SourceError(f"{path} is not there, or no file. Give pictures, or folders of pictures.")
    if not files:
        raise SourceError("There is no picture. Give files, or folders that hold JPEG, PNG, BMP or TIFF files.")
    return Found(tuple(files), left_out)


def read(path: Path) -> bytes:
    """The bytes of a picture, for :func:`~bloodyspy.images.decode.decode`.

    Raises:
        UnreadableImage: no regular file, or larger than any picture that would be taken.
        OSError: from reading.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # reading a pipe would wait for ever
        raise UnreadableImage("it is no file")
    if status.st_size > MAX_BYTES:
        raise UnreadableImage(f"it has {status.st_size >> 20} MB, at most {MAX_BYTES >> 20} are taken")
    return path.read_bytes()


def _inside(folder: Path) -> Iterator[Path]:
    """Every file below a folder; links are followed, each folder is entered once."""

    def fail(exc: OSError) -> None:
        raise SourceError(f"{exc.filename} cannot be read: {exc.strerror}.") from exc

    seen: set[tuple[int, int]] = set()
    for place, folders, names in os.walk(folder, onerror=fail, followlinks=True):
        status = Path(place).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort()  # which of two ways into a folder is taken does not depend on the file system
        yield from (Path(place, name) for name in names)


def _like_a_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in path.parts)
