"""The audit log's entries, and the chain that holds them together. Pure: where they are kept is :mod:`.trail`.

An entry is one line of JSON. It names the SHA-256 of the line before it, so that no line can be changed, taken out or
put in without changing every line after it. What a chain proves, and what it does not: ``docs/audit.md``.
"""

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PrivateAttr

from bloodyspy.promotion.decision import Outcome

NOTHING = "0" * 64
"""What the first entry names as the one before it."""

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256, hex."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Why(StrEnum):
    """What the sealed part was opened for."""

    EVALUATION = "evaluation"
    """A fit was measured for its card."""
    PROMOTION = "promotion"
    """The gate compared two versions."""
    REHEARSAL = "rehearsal"
    """The lifecycle sent its pictures to the service."""


class DataVersioned(_Frozen):
    """``data/`` got a version."""

    kind: Literal["data version"] = "data version"
    data_version: str
    sources: tuple[str, ...]
    images: int = Field(ge=0)
    synthetic: bool

    @property
    def words(self) -> str:
        """For people."""
        drawn = " synthetic" if self.synthetic else ""
        return f"data version {self.data_version[:12]}: {self.images:,}{drawn} images of {', '.join(self.sources)}"


class Trained(_Frozen):
    """A candidate was fitted."""

    kind: Literal["training"] = "training"
    candidate: str
    run_id: str
    network: Digest
    """Of the network's file."""
    git_commit: str
    data_version: str
    manifest_digest: Digest

    @property
    def words(self) -> str:
        """For people."""
        return f"{self.candidate} was trained (run {self.run_id[:8]}) on data version {self.data_version[:12]}"


class Looked(_Frozen):
    """The sealed part was opened and a network scored on it."""

    kind: Literal["look"] = "look"
    why: Why
    network: Digest
    """Of the network's file: two looks with the same network on the same images tell the same."""
    candidate: str
    run_id: str
    version: int | None
    """None for a fit that is not registered."""
    test_digest: Digest
    """Identity of the sealed images."""
    images: int = Field(ge=1)

    @property
    def words(self) -> str:
        """For people."""
        which = f"version {self.version}" if self.version else f"{self.candidate} (run {self.run_id[:8]})"
        return f"{which} was scored on the {self.images:,} sealed images {self.test_digest[:12]} ({self.why})"


class Decided(_Frozen):
    """The gate decided about a challenger."""

    kind: Literal["decision"] = "decision"
    version: int
    artefact_digest: Digest
    champion: int | None
    outcome: Outcome
    test_digest: Digest
    decision_digest: Digest
    """Of the decision's JSON, which stands on the version."""
    summary: str

    @property
    def words(self) -> str:
        """For people."""
        return self.summary


class Approved(_Frozen):
    """A person let a promotion happen, or did not."""

    kind: Literal["approval"] = "approval"
    version: int
    artefact_digest: Digest
    decision_digest: Digest
    """The decision that the person was shown: an approval holds for no other one."""
    approved: bool
    approver: str = Field(min_length=1)
    reason: str = Field(min_length=1)

    @property
    def words(self) -> str:
        """For people."""
        return f"{self.approver} {'approved' if self.approved else 'rejected'} version {self.version}: {self.reason}"


class Cause(StrEnum):
    """Why a version is to answer."""

    PROMOTION = "promotion"
    ROLLBACK = "rollback"


class ReleaseBegun(_Frozen):
    """From here on a release is finished, or undone; whoever comes next does it where this one was killed."""

    kind: Literal["release begun"] = "release begun"
    cause: Cause
    version: int
    artefact_digest: Digest
    previous: int | None
    """The version that answered until now."""
    reason: str

    @property
    def words(self) -> str:
        """For people."""
        return f"{self.cause} to version {self.version} was begun; until now {_named(self.previous)} answers"


class Released(_Frozen):
    """Alias, bento and the service's release file name one version."""

    kind: Literal["release"] = "release"
    cause: Cause
    version: int
    artefact_digest: Digest
    run_id: str
    previous: int | None
    reason: str
    golden: Digest
    """Of ``golden.json``, whose answers were given again before the switch."""
    files: dict[str, Digest]
    """Of the packed model and its bento: path in BentoML's home to SHA-256."""
    seconds: float = Field(ge=0)
    """From the begin to here, killed runs and all."""

    @property
    def words(self) -> str:
        """For people."""
        return (
            f"{self.cause} to version {self.version} in place of {_named(self.previous)} ({self.seconds:.1f} s): "
            f"{self.reason}"
        )


class ReleaseUndone(_Frozen):
    """A begun release could not be finished; everything names the version before it again."""

    kind: Literal["release undone"] = "release undone"
    version: int
    previous: int | None
    reason: str

    @property
    def words(self) -> str:
        """For people."""
        return f"the release of version {self.version} was undone, {_named(self.previous)} goes on: {self.reason}"


class UserChanged(_Frozen):
    """Somebody may use the service, or may with another password."""

    kind: Literal["user"] = "user"
    name: str
    change: Literal["added", "new password"]

    @property
    def words(self) -> str:
        """For people."""
        return f"user {self.name}: {self.change}"


class Mended(_Frozen):
    """The log's last line was cut off, by a kill or a power failure; it was put aside before it was acknowledged."""

    kind: Literal["mended"] = "mended"
    kept_in: str
    """Name of the file beside the log that has the fragment."""
    bytes: int = Field(ge=1)
    sha256: Digest

    @property
    def words(self) -> str:
        """For people."""
        return f"a line that a kill cut off after {self.bytes} bytes was moved to {self.kept_in}"


Event = Annotated[
    DataVersioned
    | Trained
    | Looked
    | Decided
    | Approved
    | ReleaseBegun
    | Released
    | ReleaseUndone
    | UserChanged
    | Mended,
    Field(discriminator="kind"),
]


class Entry(_Frozen):
    """One line of the audit log."""

    number: int = Field(ge=1)
    time: AwareDatetime
    """UTC; never before the entry before it."""
    by: str
    """Who says so: the account and the machine that wrote it, or what BLOODYSPY_ACTOR claims."""
    event: Event
    previous: Digest
    """:attr:`hash` of the entry before."""
    hash: Digest
    """SHA-256 over the rest of the line."""
    _line: str = PrivateAttr("")

    @property
    def line(self) -> str:
        """The entry as it is kept, to the byte, without the end of the line; a later release might write another."""
        return self._line


def chained(event: Event, before: Entry | None, by: str, now: datetime) -> Entry:
    """The entry that comes after ``before`` (None for the first)."""
    fields = {
        "number": 1 if before is None else before.number + 1,
        "time": max(now.astimezone(UTC), before.time) if before else now.astimezone(UTC),
        "by": by,
        "event": event,
        "previous": NOTHING if before is None else before.hash,
    }
    unhashed = Entry.model_validate({**fields, "hash": NOTHING}).model_dump(mode="json", exclude={"hash"})
    _, entry = read_line(_canonical({**unhashed, "hash": _hash(unhashed)}))
    assert entry is not None  # it was an entry a line ago
    return entry


class Fault(_Frozen):
    """Something that is not as it was recorded."""

    where: str
    """What was changed: a file, a line, a version."""
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


def read_chain(lines: Iterable[str], name: str) -> tuple[list[Entry], list[Fault]]:
    """Read a log's lines and check each: that it is written as it was, and follows the one before.

    Args:
        lines: without the ends of lines.
        name: of the log, for the faults.

    Returns:
        The entries that can be read, and what is wrong, each fault with its line.
    """
    entries: list[Entry] = []
    faults: list[Fault] = []
    before: Entry | None = None
    broken = False
    for number, line in enumerate(lines, start=1):
        fault, entry = read_line(line)
        if entry is not None and fault is None and not broken:
            # After a fault the next line is held against nothing, so that one change is one fault.
            fault = _gap(entry, before)
        if fault is not None:
            faults.append(Fault(where=f"{name}, line {number}", what=fault))
        broken, before = fault is not None, entry
        if entry is not None:
            entries.append(entry)
    return entries, faults


def read_line(line: str) -> tuple[str | None, Entry | None]:
    """What is wrong with a line by itself, None where nothing is, and the entry, None where it is none."""
    # The line's own JSON is hashed, not the entry: a later release may know more fields than the line has.
    try:
        entry = Entry.model_validate_json(line)
        fields = json.loads(line)
        stated = fields.pop("hash")
        whole = line == _canonical({**fields, "hash": stated}) and stated == _hash(fields)
    except ValueError:  # no JSON, no entry, or a number that JSON does not have
        return "it is no entry: it was changed, or lines were joined.", None
    entry._line = line
    return (None if whole else "it was changed after it was written: its hash is another one."), entry


def _gap(entry: Entry, before: Entry | None) -> str | None:
    number, digest = (1, NOTHING) if before is None else (before.number + 1, before.hash)
    if entry.number != number or entry.previous != digest:
        return "it does not follow the line before it: a line was taken out, put in, or written anew."
    if before is not None and entry.time < before.time:
        return "it is older than the line before it."
    return None


def _hash(fields: dict[str, object]) -> str:
    return hashlib.sha256(_canonical(fields).encode()).hexdigest()


def _canonical(fields: dict[str, object]) -> str:
    """JSON with sorted keys, ASCII, no spaces: the same fields give the same bytes."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def _named(version: int | None) -> str:
    return "nobody" if version is None else f"version {version}"
