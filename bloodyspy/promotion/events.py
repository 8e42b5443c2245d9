"""What the audit log tells of: one frozen record a kind of event, each with its sentence for people."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from bloodyspy.promotion.decision import Outcome
from bloodyspy.promotion.loop_events import LoopBegun, LoopEnded, WatchEnded

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


class LabelsTaken(_Frozen):
    """Answered pictures that people have labelled came into a data version; its labels.csv says who said what."""

    kind: Literal["labels taken"] = "labels taken"
    data_version: str
    pictures: tuple[Digest, ...] = Field(min_length=1)
    """That no version before had by labels."""

    @property
    def words(self) -> str:
        """For people."""
        return f"{len(self.pictures):,} labelled picture(s) came into data version {self.data_version[:12]}"


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
    """Somebody may use the service, or may no more, or in another role, or with another password."""

    kind: Literal["user"] = "user"
    name: str
    change: Literal["added", "new password", "new role", "removed"]
    role: str | None = None
    """From now on. None where they have none, and in entries of releases that knew no roles."""

    @property
    def words(self) -> str:
        """For people."""
        return f"user {self.name}: {self.change}" + (f", {self.role}" if self.role else "")


class KeyChanged(_Frozen):
    """A key of a user was made, or holds no more."""

    kind: Literal["key"] = "key"
    id: str
    name: str
    user: str
    role: str
    expires: datetime
    change: Literal["added", "revoked"]

    @property
    def words(self) -> str:
        """For people."""
        until = f" until {self.expires:%Y-%m-%d}" if self.change == "added" else ""
        return f"key {self.name} ({self.id}) of {self.user}: {self.change}, {self.role}{until}"


class Erased(_Frozen):
    """What was kept of a specimen was removed. Nothing leads from its id to an answer any more."""

    kind: Literal["erasure"] = "erasure"
    specimen: str
    images: int = Field(ge=0)
    """Files that were removed."""
    rows: int = Field(ge=0)
    """Of the index, that named it."""
    observations: int = Field(default=0, ge=0)
    """Of the store, that named it."""
    lines: int = Field(default=0, ge=0)
    """Of the observation logs; most are the same observations."""
    smears: int = Field(default=0, ge=0)
    """Reports of smears that named it."""
    in_data: tuple[str, ...] = ()
    """Files of data/ that it does not reach: pictures of the specimen that were taken in with their labels."""

    @property
    def words(self) -> str:
        """For people."""
        return (
            f"specimen {self.specimen} was erased: {self.images} image(s) removed, {self.rows} row(s) of their index, "
            f"{self.observations} observation(s) and {self.lines} line(s) of logs blanked, "
            f"{self.smears} report(s) removed"
        )


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
    | LabelsTaken
    | Trained
    | Looked
    | Decided
    | Approved
    | ReleaseBegun
    | Released
    | ReleaseUndone
    | LoopBegun
    | LoopEnded
    | WatchEnded
    | UserChanged
    | KeyChanged
    | Erased
    | Mended,
    Field(discriminator="kind"),
]


def _named(version: int | None) -> str:
    return "nobody" if version is None else f"version {version}"
