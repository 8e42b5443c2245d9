"""What becomes of each file of a source: taken, already there, or quarantined with a reason."""

import hashlib
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from bloodyspy import params
from bloodyspy.cells import CellType, cell_type_of_folder
from bloodyspy.dataset.holdings import Held, Holdings, Quarantined, Reason
from bloodyspy.dataset.parallel import in_threads
from bloodyspy.dataset.sources import Source, SourceFile
from bloodyspy.errors import ImageTooLarge, UnreadableImage
from bloodyspy.images.decode import MAX_BYTES, SUFFIXES, decode

_LEFT_BEHIND = {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini"}


@dataclass(frozen=True, slots=True)
class Intake:
    """The verdict on a source's files, each list sorted by path."""

    taken: tuple[Held, ...]
    """New images: where they go in data/."""
    already_there: tuple[Held, ...]
    """Images of data/ that the source has too."""
    quarantined: tuple[Quarantined, ...]


@dataclass(frozen=True, slots=True)
class _Label:
    """What a file's place in the source says."""

    folder: str
    cell_type: CellType | None
    reason: Reason | None


@dataclass(frozen=True, slots=True)
class _Examined:
    path: str
    label: _Label
    sha256: str
    reason: Reason | None = None
    detail: str = ""


def take_in(source: Source, holdings: Holdings, incoming: Path, limits: params.Validation) -> Intake:
    """Read every file of a source once: hash, decode, and keep the bytes of new images.

    Args:
        source: an opened source.
        holdings: what data/ holds already.
        incoming: an empty folder; a new image's bytes go to a read-only file named by its SHA-256.
        limits: what `validate` would refuse later is refused here.

    Raises:
        SourceError: the source went away while it was read.
        OSError: ``incoming`` cannot be written.
    """
    hidden, files = _hidden(source)
    labels = _labels(file.path for file in files)
    held = {image.sha256 for image in holdings.images}

    def examine(file: SourceFile) -> _Examined:
        return _examine(file, labels[file.path], held, incoming, limits)

    examined = in_threads(examine, files, f"Reading {source.name}")
    return _decide(source.name, examined, hidden, holdings)


def _hidden(source: Source) -> tuple[list[Quarantined], list[SourceFile]]:
    """Hidden files and folders, a folder as one entry, and the files that are none."""
    counts: dict[str, int] = defaultdict(int)
    files = []
    for file in source.files:
        parts = PurePosixPath(file.path).parts
        depth = next((i for i, part in enumerate(parts) if part.startswith(".") or part.lower() in _LEFT_BEHIND), None)
        if depth is None:
            files.append(file)
        else:
            counts["/".join(parts[: depth + 1]) + ("/" if depth + 1 < len(parts) else "")] += 1
    entries = []
    for path, count in counts.items():
        detail = f"hidden folder, {count} files" if path.endswith("/") else "hidden file"
        entries.append(Quarantined(source.name, path, PurePosixPath(path).parent.name, "", Reason.HIDDEN, detail))
    return entries, sorted(files, key=lambda file: file.path)


def _labels(paths: Iterable[str]) -> dict[str, _Label]:
    """The label of each path: the nearest folder above it that is named like a cell type."""
    labels: dict[str, _Label] = {}
    unlabelled: list[PurePosixPath] = []
    above: set[PurePosixPath] = {PurePosixPath()}  # the top, and every folder that leads to a class folder
    for path in map(PurePosixPath, paths):
        for folder in path.parents:
            cell_type = cell_type_of_folder(folder.name)
            if cell_type is not None:
                labels[str(path)] = _Label(folder.name, cell_type, None)
                above.update(folder.parents)
                break
        else:
            unlabelled.append(path)
    for path in unlabelled:
        reason = Reason.OUTSIDE_CLASS_FOLDER if path.parent in above else Reason.UNKNOWN_CLASS
        labels[str(path)] = _Label(path.parent.name, None, reason)
    return labels


def _examine(
    file: SourceFile, label: _Label, held: Collection[str], incoming: Path, limits: params.Validation
) -> _Examined:
    if file.size > MAX_BYTES:
        return _Examined(file.path, label, "", Reason.TOO_LARGE, f"{file.size} bytes")
    digest = ""
    try:
        payload = file.read()
        digest = hashlib.sha256(payload).hexdigest()
        if digest not in held:  # what is held was decoded when it was taken
            height, width = decode(payload).pixels.shape[:2]
            if not limits.minimum_side <= min(height, width) <= max(height, width) <= limits.maximum_side:
                wanted = f"{limits.minimum_side} to {limits.maximum_side} are wanted"
                return _Examined(file.path, label, digest, Reason.WRONG_SIZE, f"{width} x {height} pixels, {wanted}")
    except ImageTooLarge as exc:
        return _Examined(file.path, label, digest, Reason.TOO_LARGE, f"{exc.width} x {exc.height} pixels")
    except UnreadableImage as exc:
        named_so = PurePosixPath(file.path).suffix.lower() in SUFFIXES
        reason = Reason.UNREADABLE if named_so else Reason.NOT_AN_IMAGE
        return _Examined(file.path, label, digest, reason, exc.reason)
    if label.cell_type is None:
        unknown = label.reason is Reason.UNKNOWN_CLASS
        detail = f"{label.folder} is no cell type" if unknown else "it lies in no class folder"
        return _Examined(file.path, label, digest, label.reason, detail)
    if digest not in held:
        _keep(payload, incoming / digest)
    return _Examined(file.path, label, digest)


def _keep(payload: bytes, place: Path) -> None:
    try:
        with os.fdopen(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444), "wb") as file:
            file.write(payload)
    except FileExistsError:
        return  # the same bytes, from a duplicate
    place.chmod(0o444)  # whatever the umask took away


def _decide(source: str, examined: list[_Examined], hidden: list[Quarantined], holdings: Holdings) -> Intake:
    held = {image.sha256: image for image in holdings.images}
    names = {image.path.casefold() for image in holdings.images}
    conflicting = holdings.conflicting - held.keys()
    taken, already_there, quarantined = list[Held](), list[Held](), list(hidden)
    same: dict[str, list[_Examined]] = defaultdict(list)

    def refuse(file: _Examined, reason: Reason, detail: str) -> None:
        quarantined.append(Quarantined(source, file.path, file.label.folder, file.sha256, reason, detail))

    for file in examined:
        if file.reason is not None:
            refuse(file, file.reason, file.detail)
        else:
            same[file.sha256].append(file)
    for digest, files in same.items():
        holder = held.get(digest)
        agreeing = [file for file in files if holder is None or file.label.cell_type is holder.cell_type]
        labels = {file.label.cell_type for file in agreeing}
        for file in files:
            if file not in agreeing and holder is not None:
                refuse(file, Reason.LABEL_CONFLICT, f"held as {holder.path}, which stays: its version was accepted")
        if len(labels) > 1 or digest in conflicting:
            for file in agreeing:
                others = ", ".join(other.path for other in files if other.label.cell_type is not file.label.cell_type)
                detail = f"the same image as {others}" if others else "seen under two labels before"
                refuse(file, Reason.LABEL_CONFLICT, detail)
            continue
        for first, file in enumerate(agreeing):
            if first:
                refuse(file, Reason.EXACT_DUPLICATE, f"the same image as {agreeing[0].path}")
            elif holder is not None:
                already_there.append(holder)
            else:
                assert file.label.cell_type is not None
                taken.append(Held(_free_name(file, file.label.cell_type, names), digest, source))
    return Intake(tuple(sorted(taken)), tuple(sorted(already_there)), tuple(sorted(quarantined)))


def _free_name(file: _Examined, cell_type: CellType, names: set[str]) -> str:
    """A path in data/ that no other image has, on any file system; ``names`` grows by it."""
    name = re.sub(r"[^\w.,+()=@ -]", "_", unicodedata.normalize("NFC", PurePosixPath(file.path).name))
    path = PurePosixPath(cell_type.value, name)
    if str(path).casefold() in names:
        path = path.with_name(f"{path.stem}-{file.sha256[:8]}{path.suffix}")
    names.add(str(path).casefold())
    return str(path)
