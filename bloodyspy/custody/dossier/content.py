"""What a dossier tells: everything that is known of a version, gathered from where it is kept."""

import hashlib
from datetime import UTC, datetime
from enum import StrEnum
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from bloodyspy.adapters import commits, registry
from bloodyspy.adapters.bill_of_materials import Package, read_lock
from bloodyspy.adapters.registry import Version
from bloodyspy.custody.anchor import Anchor
from bloodyspy.custody.dossier.succession import Measured, Succession, champion_before, measured, since
from bloodyspy.custody.tracing import Trace, trace
from bloodyspy.model.artifact import NETWORK, Artefact, ModelSpec, read_digests
from bloodyspy.model.provenance import DIRTY, UNKNOWN
from bloodyspy.promotion import trail
from bloodyspy.promotion.audit import Entry
from bloodyspy.promotion.decision import Decision
from bloodyspy.promotion.events import (
    Approved,
    DataVersioned,
    Decided,
    Digest,
    Event,
    Looked,
    ReleaseBegun,
    Released,
    ReleaseUndone,
    Trained,
)
from bloodyspy.promotion.history import live
from bloodyspy.promotion.release import DECISION, recorded
from bloodyspy.settings import Settings

LOCK = "requirements-serving.lock"

DOSSIER = "dossier.json"
FACTS, SCORES = f"{DOSSIER}#", f"{DOSSIER}#/measured/scores"
"""Where the values on the page stand, as :class:`bloodyspy.evaluation.model_card.facts.Facts` names places."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Service(StrEnum):
    """Whether a version answers."""

    NOW = "it answers"
    BEFORE = "it answered, and does so no more"
    NEVER = "it never answered"


class Line(_Frozen):
    """An entry of the audit log."""

    number: int = Field(ge=1)
    time: AwareDatetime
    by: str
    words: str
    hash: Digest
    line: str
    """As it is kept."""

    @classmethod
    def of(cls, entry: Entry) -> "Line":
        """The entry, told."""
        return cls(
            number=entry.number,
            time=entry.time,
            by=entry.by,
            words=entry.event.words,
            hash=entry.hash,
            line=entry.line,
        )


class File(_Frozen):
    """A file of the artefact."""

    name: str
    sha256: Digest


class Dependencies(_Frozen):
    """What the version is served with."""

    packages: tuple[Package, ...]
    """None of them where no lock was found."""
    source: str
    """Which lock they were read from, in a sentence."""
    certain: bool
    """Whether that is the lock of the version's own commit."""


class Dossier(_Frozen):
    """``dossier.json``."""

    format: Literal[1] = 1
    made: AwareDatetime
    registered_model: str
    version: int = Field(ge=1)
    registered: AwareDatetime
    service: Service
    artefact_digest: Digest
    files: tuple[File, ...]
    """Of the artefact."""
    spec: ModelSpec
    measured: Measured
    decision: Decision | None
    """None where nobody decided about it."""
    decision_entry: int | None
    """The entry of the audit log that has this very decision; None where there is none."""
    head: Anchor | None
    """The newest entry of the audit log when the dossier was made; None where it is empty."""
    trail: tuple[Line, ...]
    """The entries about the version, oldest first."""
    since: Succession | None
    """None where there was no champion before it."""
    way: Trace
    commit_known: bool
    """Whether git has the commit that made it, here."""
    dependencies: Dependencies


def gather(number: int, s: Settings) -> Dossier:
    """All that is known of a version.

    Raises:
        RegistryError: there is no such version, or its artefact is another one than was registered.
        ArtefactInvalid, PreprocessMismatch: its artefact was altered, or is of an earlier format.
        AuditError: the audit log cannot be read, or does not hold together.
        PromotionError: its decision in the registry was edited.
        VersioningError: git cannot be run.
        DossierError: its lock cannot be read.
    """
    found = registry.version(s, number)
    artefact = Artefact.open(registry.artefact_of(number, s))
    this, digests = measured(artefact), read_digests(artefact.path)
    entries = trail.entries(s)
    told = [entry for entry in entries if _concerns(entry.event, number, artefact.spec, digests[NETWORK])]
    before = champion_before(number, entries)
    known = commits.is_known(s.root, artefact.spec.git_commit.removesuffix(DIRTY))
    return Dossier(
        made=datetime.now(UTC).replace(microsecond=0),
        registered_model=s.registered_model,
        version=number,
        registered=found.created,
        service=_service(number, entries),
        artefact_digest=artefact.digest,
        files=tuple(File(name=name, sha256=digest) for name, digest in sorted(digests.items())),
        spec=artefact.spec,
        measured=this,
        decision=recorded(found.tags, number),
        decision_entry=_decision_entry(found, entries),
        head=Anchor(number=entries[-1].number, hash=entries[-1].hash, time=entries[-1].time) if entries else None,
        trail=tuple(map(Line.of, told)),
        since=None if before is None else since(before, artefact, this, s),
        way=trace(str(number), s),
        commit_known=known,
        dependencies=_dependencies(artefact.spec.git_commit, s, known=known),
    )


def _concerns(event: Event, number: int, spec: ModelSpec, network: str) -> bool:
    match event:
        case DataVersioned():
            return event.data_version == spec.data_version
        case Trained():
            return event.run_id == spec.run_id
        case Looked():
            return event.network == network
        case Released():  # the one that ended its service, too
            return number in (event.version, event.previous)
        case Decided() | Approved() | ReleaseBegun() | ReleaseUndone():
            return event.version == number
        case _:
            return False


def _service(number: int, entries: list[Entry]) -> Service:
    found = live(entries)
    if found is not None and found[1].version == number:
        return Service.NOW
    ever = any(isinstance(entry.event, Released) and entry.event.version == number for entry in entries)
    return Service.BEFORE if ever else Service.NEVER


def _decision_entry(found: Version, entries: list[Entry]) -> int | None:
    text = found.tags.get(DECISION, "")
    digest = hashlib.sha256(text.encode()).hexdigest()
    for entry in reversed(entries):
        if isinstance(entry.event, Decided) and entry.event.version == found.number:
            return entry.number if entry.event.decision_digest == digest else None
    return None


def _dependencies(named: str, s: Settings, *, known: bool) -> Dependencies:
    commit = named.removesuffix(DIRTY)
    lock = commits.file_at(s.root, commit, LOCK) if known and commit == named else None
    if lock is not None:
        return Dependencies(packages=read_lock(lock), source=f"{LOCK} as it was in commit {commit}.", certain=True)
    if commit == UNKNOWN:
        why = "the commit that made the version was not recorded"
    elif not known:
        why = f"git does not know the commit {commit} here"
    elif commit != named:
        why = f"files differed from the commit {commit} when the model was trained"
    else:
        why = f"the commit {commit} has no {LOCK}"
    try:
        lock = (s.root / LOCK).read_text(encoding="utf-8")
    except FileNotFoundError:
        source = f"Not known: {why}, and there is no {LOCK} here either."
        return Dependencies(packages=(), source=source, certain=False)
    source = f"{LOCK} as it is here now, because {why}: what the version is served with may be another."
    return Dependencies(packages=read_lock(lock), source=source, certain=False)
