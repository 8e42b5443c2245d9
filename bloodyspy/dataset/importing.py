"""Bringing images into data/, all or nothing: ``bloodyspy data import``, and pictures that people have labelled."""

import dataclasses
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from filelock import FileLock, Timeout

from bloodyspy.cells import CELL_TYPES, CellType, cell_type_of_folder
from bloodyspy.dataset.exchange import Staging, link
from bloodyspy.dataset.holdings import (
    NOTHING,
    Holdings,
    Quarantined,
    Reason,
    Statement,
    digest_of_holdings,
    listings,
    read_holdings,
)
from bloodyspy.dataset.intake import Intake, take_in
from bloodyspy.dataset.sources import SYNTHETIC, Source, opened
from bloodyspy.dataset.version import DatasetInfo, SourceInfo
from bloodyspy.errors import SourceError
from bloodyspy.params import Params
from bloodyspy.settings import Settings

LOCK_WAIT_S = 60.0


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What one import did."""

    source: str
    synthetic: bool
    intake: Intake
    holdings: Holdings
    """data/ as it is now."""
    changed: bool
    """Whether a byte of data/ changed."""
    replaced: int
    """Drawn images that are there no more: photographs, or another drawing, came in their place."""
    data_digest: str
    """SHA-256 over paths, contents and listings of data/; equal data, equal digest."""

    @property
    def taken(self) -> int:
        """New images."""
        return len(self.intake.taken)

    @property
    def already_there(self) -> int:
        """Images of the source that data/ held already."""
        return len(self.intake.already_there)

    @property
    def quarantined(self) -> int:
        """Entries of the source in quarantine.csv."""
        return len(self.intake.quarantined)

    @property
    def title(self) -> str:
        """A heading for the table."""
        kind = "synthetic: drawn, not photographed" if self.synthetic else "photographs"
        done = "data/ has changed" if self.changed else "nothing new, data/ is as it was"
        gone = f", in the place of {self.replaced:,} drawn images" if self.replaced else ""
        return f"{self.source} ({kind}): {done}{gone}"

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """The reasons that occurred, in their order of declaration."""
        found = {entry.reason for entry in self.intake.quarantined}
        return tuple(reason for reason in Reason if reason in found)

    @property
    def headings(self) -> tuple[str, ...]:
        """Columns of :meth:`rows`."""
        return ("", "taken", "already there", *(reason.replace("_", " ") for reason in self.reasons), "now in data/")

    def rows(self) -> list[tuple[str, ...]]:
        """One row a cell type, one for files under no cell type where there are any, and the sum."""
        taken = Counter(image.cell_type for image in self.intake.taken)
        there = Counter(image.cell_type for image in self.intake.already_there)
        held = Counter(image.cell_type for image in self.holdings.images)
        refused = Counter((_label(entry), entry.reason) for entry in self.intake.quarantined)
        rows = []
        for cell in (*CELL_TYPES, None):
            faults = [refused[cell, reason] for reason in self.reasons]
            if cell is not None:
                rows.append((cell.value, taken[cell], there[cell], *faults, held[cell]))
            elif any(faults):
                rows.append(("in no class folder", 0, 0, *faults, 0))
        rows.append(("all", *(sum(column) for column in list(zip(*rows, strict=True))[1:])))
        return [tuple(f"{value:,}" if isinstance(value, int) else str(value) for value in row) for row in rows]


def import_images(
    source: str, s: Settings, p: Params, *, checksum: str | None = None, replace: bool = False
) -> ImportReport:
    """Bring the images of a source into data/, beside those it holds.

    An image that data/ holds already, by its bytes, is left alone; a new one whose name is taken gets a piece of its
    digest into its name; one that data/ holds under another label is quarantined, the held one stays. Real images
    replace a synthetic set as a whole, and the other way round only with ``replace``. Killed at any moment, data/ is as
    before or as after, and the same call comes to the same end.

    Args:
        source: a folder per class, a zip of one, its http(s) URL, ``synthetic`` or ``pbc``.
        s: places.
        p: what ``synthetic`` draws.
        checksum: SHA-256 of the archive, required for a URL.
        replace: start from nothing instead of adding.

    Raises:
        SourceError: the source is absent or not what was promised, another import runs, the disk is full, or nothing
            could be taken that might replace what is there.
        DataError: data/ holds what no import wrote.
    """
    with _staged(s) as staging:
        before = NOTHING if replace else read_holdings(staging.data)
        if source == SYNTHETIC and before.images and not before.info.synthetic:
            raise SourceError(
                f"data/ holds {len(before.images)} real images, and drawn ones are never mixed with them. "
                "Import with --replace to put the synthetic set in their place."
            )
        with opened(
            source,
            p.synthetic,
            checksum=checksum,
            downloads=s.state / "downloads",
            scratch=staging.folder / "drawn",
            data=staging.data,
        ) as found:
            # A synthetic set is drawn as a whole: neither real images nor another drawing are added to one. What came
            # to it by labels stays with it.
            base = before if not before.info.synthetic else before.labelled if found.synthetic else NOTHING
            return _bring(found, before, base, staging, p, replace=replace)


def import_labelled(found: Source, statements: Iterable[Statement], s: Settings, p: Params) -> ImportReport:
    """Bring in answered pictures that people have labelled, under the same rules as :func:`import_images`.

    They are added to what is there, to a synthetic set as well, which stays one: they were answered by a model of it.

    Args:
        found: named by one of :data:`~bloodyspy.dataset.holdings.LABELS`.
        statements: who said what of which picture; kept of those that are taken.
        s: places.
        p: what sizes are allowed.

    Raises:
        SourceError, DataError: as :func:`import_images`.
    """
    with _staged(s) as staging:
        before = read_holdings(staging.data)
        if not before.images:
            raise SourceError(f"{s.data} holds no images that labelled ones could be added to. Import some first.")
        found = dataclasses.replace(found, synthetic=before.info.synthetic)
        return _bring(found, before, before, staging, p, statements=statements)


@contextmanager
def _staged(s: Settings) -> Iterator[Staging]:
    """The work folder of the one import that runs."""
    staging = Staging(s.data.resolve())  # data/ may be a link to a larger disk
    try:
        s.state.mkdir(parents=True, exist_ok=True)
        with FileLock(s.state / "import.lock", timeout=LOCK_WAIT_S):
            staging.begin()
            try:
                yield staging
            finally:
                staging.discard()
    except Timeout as exc:
        raise SourceError(
            f"Another import is running; waited {LOCK_WAIT_S:.0f} s for it. Try again when it ends."
        ) from exc
    except OSError as exc:
        raise SourceError(
            f"The import could not be written ({exc}). data/ is as it was; make room and try again."
        ) from exc


def _bring(
    found: Source,
    before: Holdings,
    base: Holdings,
    staging: Staging,
    p: Params,
    *,
    replace: bool = False,
    statements: Iterable[Statement] = (),
) -> ImportReport:
    _refuse_too_much(found, staging)
    intake = take_in(found, base, staging.incoming, p.validation)
    after = _merged(base, found, intake, statements)
    if not after.images:
        _refuse_nothing(found, intake, staging)
    changed = replace or after != before
    if changed:
        _write(after, base, staging)
    replaced = len(before.images) - len(base.images)
    return ImportReport(found.name, found.synthetic, intake, after, changed, replaced, digest_of_holdings(after))


def _refuse_too_much(source: Source, staging: Staging) -> None:
    needed, free = sum(file.size for file in source.files), shutil.disk_usage(staging.folder).free
    if needed > free:
        raise SourceError(
            f"{source.name} holds {needed / 1e9:.1f} GB and only {free / 1e9:.1f} GB are free beside data/. "
            "Make room, or let data/ be a link to a larger disk. data/ is as it was."
        )


def _refuse_nothing(source: Source, intake: Intake, staging: Staging) -> None:
    """An import that takes nothing never replaces what is there."""
    if staging.data.exists() and any(staging.data.iterdir()):
        counts = Counter(entry.reason for entry in intake.quarantined)
        told = ", ".join(f"{count} {reason}" for reason, count in counts.most_common()) or "it is empty"
        raise SourceError(
            f"{source.name} has no image that could be taken ({told}). data/ is as it was. "
            "Sort the images into one folder per cell type and import again."
        )


def _merged(base: Holdings, source: Source, intake: Intake, statements: Iterable[Statement]) -> Holdings:
    images = tuple(sorted((*base.images, *intake.taken)))
    quarantine = tuple(sorted({*base.quarantine, *intake.quarantined}))
    names = list(dict.fromkeys((*(known.name for known in base.info.sources), source.name)))
    accounts = {known.name: known for known in base.info.sources}
    taken = Counter(image.source for image in images)
    refused = Counter(entry.source for entry in quarantine)
    seen = len(intake.taken) + len(intake.already_there) + len(intake.quarantined)
    sources = tuple(
        SourceInfo(
            name=name,
            images=seen if name == source.name else accounts[name].images,
            taken=taken[name],
            quarantined=refused[name],
        )
        for name in names
    )
    new = {image.sha256 for image in intake.taken}
    labels = tuple(sorted({*base.labels, *(row for row in statements if row.sha256 in new)}))
    return Holdings(DatasetInfo(synthetic=source.synthetic, sources=sources), images, quarantine, labels)


def _write(after: Holdings, base: Holdings, staging: Staging) -> None:
    """Build the new tree and put it in the place of data/."""
    kept = {image.path for image in base.images}
    for cell in sorted({image.cell_type for image in after.images}):
        (staging.tree / cell).mkdir()
    for image in after.images:
        place = staging.tree / image.path
        if image.path in kept:
            link(staging.data / image.path, place)
        else:
            (staging.incoming / image.sha256).rename(place)
    for name, content in listings(after).items():
        (staging.tree / name).write_bytes(content)
        (staging.tree / name).chmod(0o444)
    staging.commit()


def _label(entry: Quarantined) -> CellType | None:
    return cell_type_of_folder(entry.folder)
