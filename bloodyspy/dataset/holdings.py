"""What data/ holds, and its listings: where each image came from, and what was not taken and why."""

import csv
import hashlib
import io
from dataclasses import astuple, dataclass, fields
from enum import StrEnum
from pathlib import Path

from bloodyspy.cells import CELL_TYPES, CellType
from bloodyspy.dataset.download import digest_of
from bloodyspy.dataset.parallel import in_threads
from bloodyspy.dataset.version import DATASET_FILE, DatasetInfo, read_dataset
from bloodyspy.errors import DataError, DataMissing

QUARANTINE_FILE = "quarantine.csv"
SOURCES_FILE = "sources.csv"
LABELS_FILE = "labels.csv"
_LISTINGS = {DATASET_FILE, QUARANTINE_FILE, SOURCES_FILE, LABELS_FILE}

AUDITED, LABELLED = "labels/audit", "labels/live"
"""Sources of answered pictures that people have labelled: of the random audit, and all others.

No folder, archive or address is remembered by such a name."""
LABELS = frozenset({AUDITED, LABELLED})
"""The two of them."""


class Reason(StrEnum):
    """Why a file was not taken."""

    HIDDEN = "hidden"  # hidden files, and what operating systems leave behind
    NOT_AN_IMAGE = "not_an_image"  # no JPEG, PNG, BMP or TIFF, and not named like one
    UNREADABLE = "unreadable"  # named like an image, but none or a broken one
    TOO_LARGE = "too_large"  # more pixels or bytes than a cut-out of a cell can have
    WRONG_SIZE = "wrong_size"  # sides outside of what `validation` in params.yaml allows
    UNKNOWN_CLASS = "unknown_class"  # in a folder whose name is no cell type
    OUTSIDE_CLASS_FOLDER = "outside_class_folder"  # beside or above the class folders
    EXACT_DUPLICATE = "exact_duplicate"  # the same bytes twice under one label
    LABEL_CONFLICT = "label_conflict"  # the same bytes under two labels


@dataclass(frozen=True, slots=True, order=True)
class Quarantined:
    """A file that was not taken: one row of quarantine.csv."""

    source: str
    path: str
    """In the source; a whole hidden folder ends with a slash."""
    folder: str
    """The folder that stands for the label, as the source spells it; empty at the top."""
    sha256: str
    """Empty where the file was not read."""
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True, order=True)
class Held:
    """An image in data/."""

    path: str
    """Relative to data/: cell type, slash, file name."""
    sha256: str
    source: str

    @property
    def cell_type(self) -> CellType:
        """Its label."""
        return CellType(self.path.split("/", 1)[0])


@dataclass(frozen=True, slots=True, order=True)
class Statement:
    """What a person said of a picture that came in by labels: one row of labels.csv."""

    sha256: str
    request_id: str
    """Of the request that the picture was answered in."""
    picture: str
    """Its place in that request."""
    model_version: str
    """That answered it."""
    predicted: str
    """What that version said."""
    answered: str
    """When, ISO 8601."""
    reviewer: str
    label: str
    time: str
    """When it was said, ISO 8601."""


@dataclass(frozen=True, slots=True)
class Holdings:
    """The content of data/."""

    info: DatasetInfo
    images: tuple[Held, ...] = ()
    quarantine: tuple[Quarantined, ...] = ()
    labels: tuple[Statement, ...] = ()
    """Of the images that came in by labels."""

    @property
    def labelled(self) -> "Holdings":
        """What came in by labels, and nothing else."""
        images = tuple(image for image in self.images if image.source in LABELS)
        sources = tuple(source for source in self.info.sources if source.name in LABELS)
        quarantine = tuple(entry for entry in self.quarantine if entry.source in LABELS)
        return Holdings(self.info.model_copy(update={"sources": sources}), images, quarantine, self.labels)

    @property
    def conflicting(self) -> set[str]:
        """Digests that were once seen under two labels."""
        return {row.sha256 for row in self.quarantine if row.reason is Reason.LABEL_CONFLICT}


_LABELS = tuple(field.name for field in fields(Statement))

NOTHING = Holdings(DatasetInfo(synthetic=False))


def image_paths(data: Path) -> list[Path]:
    """Every image below the class folders, sorted by path."""
    return sorted(path for cell in CELL_TYPES for path in (data / cell).glob("*"))


def read_holdings(data: Path) -> Holdings:
    """Read data/; the digests are computed anew, so that they are true of the bytes that lie there.

    Raises:
        DataError: data/ holds what no import wrote, or its listings are damaged.
    """
    if not data.exists() or not any(data.iterdir()):
        return NOTHING
    strangers = sorted(path.name for path in data.iterdir() if path.name not in {*_LISTINGS, *CELL_TYPES})
    if strangers or not (data / DATASET_FILE).exists():
        found = ", ".join(strangers[:5]) or f"images, but no {DATASET_FILE}"
        raise DataError(
            f"{data} holds what no import wrote ({found}). Move it elsewhere and import it from there, "
            "or import with --replace to start from nothing."
        )
    paths = image_paths(data)
    digests = in_threads(digest_of, paths, "Reading data/")
    sources = read_sources(data)
    names = [path.relative_to(data).as_posix() for path in paths]
    images = [Held(name, digest, sources.get(name, "unknown")) for name, digest in zip(names, digests, strict=True)]
    return Holdings(read_dataset(data), tuple(sorted(images)), read_quarantine(data), read_labels(data))


def read_sources(data: Path) -> dict[str, str]:
    """The source of each image, by its path in data/."""
    return {row["path"]: row["source"] for row in _rows(data / SOURCES_FILE)}


def read_quarantine(data: Path) -> tuple[Quarantined, ...]:
    """Everything that was not taken.

    Raises:
        DataMissing: there is no list.
        DataError: the list is damaged.
    """
    path = data / QUARANTINE_FILE
    try:
        return tuple(
            Quarantined(r["source"], r["path"], r["folder"], r["sha256"], Reason(r["reason"]), r["detail"])
            for r in _rows(path)
        )
    except (KeyError, ValueError) as exc:
        raise DataError(f"{path} is damaged ({exc}). Restore data/ with `dvc checkout --force data.dvc`.") from exc


def read_labels(data: Path) -> tuple[Statement, ...]:
    """What people said of the images that came in by labels; nothing where none did.

    Raises:
        DataError: the list is damaged.
    """
    path = data / LABELS_FILE
    if not path.exists():
        return ()
    try:
        return tuple(Statement(*(row[name] for name in _LABELS)) for row in _rows(path))
    except KeyError as exc:
        raise DataError(f"{path} is damaged ({exc}). Restore data/ with `dvc checkout --force data.dvc`.") from exc


def listings(holdings: Holdings) -> dict[str, bytes]:
    """The listing files by name: equal holdings give equal bytes."""
    quarantine = _csv(
        ("source", "path", "folder", "sha256", "reason", "detail"),
        [(q.source, q.path, q.folder, q.sha256, q.reason.value, q.detail) for q in sorted(holdings.quarantine)],
    )
    sources = _csv(("path", "source"), [(image.path, image.source) for image in sorted(holdings.images)])
    dataset = holdings.info.model_dump_json(indent=2) + "\n"
    found = {DATASET_FILE: dataset.encode(), QUARANTINE_FILE: quarantine, SOURCES_FILE: sources}
    if holdings.labels:  # a data set without any has the bytes, and so the version, that it always had
        found[LABELS_FILE] = _csv(_LABELS, [astuple(row) for row in sorted(holdings.labels)])
    return found


def digest_of_holdings(holdings: Holdings) -> str:
    """SHA-256 over every image's path and content and over the listings, 64 hex digits."""
    digest = hashlib.sha256()
    for image in sorted(holdings.images):
        digest.update(f"{image.path}\n{image.sha256}\n".encode())
    for name, content in sorted(listings(holdings).items()):
        digest.update(f"{name}\n{hashlib.sha256(content).hexdigest()}\n".encode())
    return digest.hexdigest()


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except FileNotFoundError as exc:
        raise DataMissing(path, "bloodyspy data import SOURCE") from exc


def _csv(heading: tuple[str, ...], rows: list[tuple[str, ...]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([heading, *rows])
    return text.getvalue().encode("utf-8")
