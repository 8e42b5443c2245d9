"""What people agree on comes into data/, with who said it; an erasure is told what it does not reach there."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from filelock import FileLock, Timeout

from bloodyspy.cells import CellType
from bloodyspy.dataset.holdings import (
    AUDITED,
    LABELLED,
    LABELS,
    Holdings,
    Statement,
    read_holdings,
    read_labels,
    read_sources,
)
from bloodyspy.dataset.importing import ImportReport, import_labelled
from bloodyspy.dataset.sources import Source, SourceFile
from bloodyspy.errors import KeepingError, LabellingError, SourceError
from bloodyspy.images.media_type import kind_of
from bloodyspy.kept import Store, store_of
from bloodyspy.labelling.answers import answered, kept_images
from bloodyspy.labelling.audit import read_audit, replace
from bloodyspy.labelling.labels import Opinions
from bloodyspy.labelling.settling import standing
from bloodyspy.params import Params
from bloodyspy.promotion import trail
from bloodyspy.promotion.events import DataVersioned, LabelsTaken
from bloodyspy.settings import Settings
from bloodyspy.store import streams
from bloodyspy.store.windows import Wanted, window

LOCK_WAIT_S = 600.0


@dataclass(frozen=True, slots=True)
class Accepted:
    """An image that people agree on."""

    sha256: str
    label: CellType
    statements: tuple[Statement, ...]
    """Who said it, and also who said otherwise."""
    audited: bool
    """Whether the random audit drew it, under this name or another."""


def waiting(s: Settings, p: Params) -> int:
    """How many images wait to be taken into data/; raises as :func:`accepted`."""
    return len(accepted(s, p))


def accepted(s: Settings, p: Params) -> list[Accepted]:
    """Images that people agree on, that are kept, and that data/ neither holds nor has refused before.

    Where one image was answered in several requests and people called it different things, it is there under each
    name: bringing it in puts it into quarantine.

    Raises:
        LabellingError: the labels, or the audit's file, cannot be read.
        MonitoringError: the observations cannot be read.
        KeepingError: the index of the kept images cannot be read.
        DataError: data/ holds what no import wrote.
    """
    opinions, images = Opinions(s.labels).refresh(), kept_images(s)
    named = {key for key in opinions.pictures() if key in images}
    known = _known(read_holdings(s.data)) if named else set()
    if all(images[key] in known for key in named):
        return []
    rows: dict[tuple[str, CellType], list[Statement]] = defaultdict(list)
    audit, audited = read_audit(s.audit), set()
    since = datetime.now(UTC) - timedelta(days=s.keep_days + 1)
    for answer in answered(s, since).frame.to_dict("records"):
        if (digest := images.get(key := answer["key"])) is None or digest in known:
            continue
        drawn = audit is not None and audit.holds(key.request_id, key.picture, answer["time"])
        if drawn:
            audited.add(digest)
        said = opinions.of(key, answer["time"], blind=drawn) if key in named else []
        now = standing([one.label for one in said if one.label], p.labelling.readers)
        if isinstance(now.label, CellType):
            rows[digest, now.label] += [
                Statement(
                    *(digest, key.request_id, str(key.picture), str(answer["model_version"])),
                    *(str(answer["predicted"]), answer["time"].isoformat()),
                    *(one.reviewer, str(one.label), one.time.isoformat()),
                )
                for one in opinions.of(key, answer["time"])
            ]
    return [Accepted(digest, label, tuple(said), digest in audited) for (digest, label), said in sorted(rows.items())]


def _known(holdings: Holdings) -> set[str]:
    refused = {entry.sha256 for entry in holdings.quarantine if entry.source in LABELS}
    return refused | {image.sha256 for image in holdings.images}


@contextmanager
def taking(s: Settings, p: Params) -> Iterator[list[Accepted] | None]:
    """What there is to take in, for the one run that takes; None where there is nothing to do.

    A run that was killed after data/ had changed left a mark: the next one gets an empty list and gives that data a
    version. The mark goes when the block ends well.

    Raises:
        LabellingError: another run takes for more than ten minutes; and those of :func:`accepted`.
    """
    mark = s.labelling / "taking"
    try:
        s.labelling.mkdir(parents=True, exist_ok=True)
        with FileLock(s.labelling / "taking.lock", timeout=LOCK_WAIT_S):
            found = accepted(s, p)
            if found:
                replace(mark, b"")
            yield found if found or mark.exists() else None
            mark.unlink(missing_ok=True)
    except Timeout as exc:
        raise LabellingError("Another run takes labels into data/. Try again when it ends.") from exc


def bring_in(found: list[Accepted], s: Settings, p: Params) -> list[ImportReport]:
    """Add images to data/, with what people said of them: those of the audit, all or none, then all others or none.

    Raises:
        SourceError, DataError: from :func:`~bloodyspy.dataset.importing.import_labelled`; an image is gone meanwhile.
    """
    groups = (
        (AUDITED, [one for one in found if one.audited]),
        (LABELLED, [one for one in found if not one.audited]),
    )
    return [_import(name, group, s, p) for name, group in groups if group]


def _import(source: str, found: list[Accepted], s: Settings, p: Params) -> ImportReport:
    store = store_of(s)
    files = []
    for one in found:
        payload = _reader(store, one.sha256)()
        name = f"{one.label}/live-{one.sha256[:16]}{kind_of(payload).suffix}"
        files.append(SourceFile(name, len(payload), _reader(store, one.sha256)))
    ordered = tuple(sorted(files, key=lambda file: file.path))
    return import_labelled(Source(source, ordered), [row for one in found for row in one.statements], s, p)


def _reader(store: Store, digest: str) -> Callable[[], bytes]:
    def read() -> bytes:
        try:
            return store.read(digest)
        except KeepingError as exc:
            raise SourceError(f"A labelled image went away while it was taken in: {exc} Run the same again.") from exc

    return read


def record_taken(data_version: str, s: Settings) -> None:
    """Tell the audit log which images came into a data version by labels; nothing where it knows of all of them.

    Raises:
        AuditError: the log cannot be read or written.
        DataError: labels.csv is damaged.
    """
    told = {one for entry in trail.entries(s) if isinstance(entry.event, LabelsTaken) for one in entry.event.pictures}
    new = sorted({row.sha256 for row in read_labels(s.data)} - told)
    if new:
        trail.record(LabelsTaken(data_version=data_version, pictures=tuple(new)), s)


@dataclass(frozen=True, slots=True)
class Unreached:
    """What an erasure does not reach."""

    files: tuple[str, ...]
    """Of data/, relative to it."""
    versions: tuple[str, ...]
    """Data versions that have them."""


def unreached(specimen: str, s: Settings) -> Unreached:
    """Pictures of a specimen that came into data/ by labels. To be asked before the erasure: afterwards nobody knows.

    Raises:
        KeepingError, MonitoringError, AuditError, DataError: what would tell cannot be read.
    """
    rows = read_labels(s.data)
    if not rows:
        return Unreached((), ())
    kept = store_of(s).pictures(specimen)
    observed = window(streams.live(s).place, Wanted(specimen=specimen), columns=()).frame
    keys = {(one.request_id, str(one.picture)) for one in kept}
    keys |= set(zip(observed["request_id"], observed["picture"].astype(str), strict=True))
    digests = {one.sha256 for one in kept}
    of_it = {row.sha256 for row in rows if row.sha256 in digests or (row.request_id, row.picture) in keys}
    names = [name for name, source in read_sources(s.data).items() if source in LABELS]
    files = sorted(name for name in names if any(f"live-{digest[:16]}" in name for digest in of_it))
    versions: list[str] = []
    begun = False
    for entry in trail.entries(s) if of_it else ():
        if isinstance(entry.event, LabelsTaken) and not of_it.isdisjoint(entry.event.pictures):
            begun = True
        if begun and isinstance(entry.event, LabelsTaken | DataVersioned):
            versions.append(entry.event.data_version)
    return Unreached(tuple(files), tuple(dict.fromkeys(versions)))
