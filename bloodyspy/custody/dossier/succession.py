"""What changed from the champion before a version to that version: its making, its data, its scores, its code."""

from collections.abc import Iterator, Sequence

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from bloodyspy.adapters import commits, registry
from bloodyspy.cells import CellType
from bloodyspy.errors import ArtefactInvalid, BloodySpyError
from bloodyspy.evaluation.model_card.previous import Previous
from bloodyspy.evaluation.origin import PARTS, Data
from bloodyspy.evaluation.scores import Scores
from bloodyspy.model.artifact import DATA, METRICS, TRAINING, Artefact
from bloodyspy.model.provenance import DIRTY, UNKNOWN
from bloodyspy.promotion.audit import Entry
from bloodyspy.promotion.events import Cause, Decided, Released
from bloodyspy.settings import Settings


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Measured(_Frozen):
    """What an artefact's own files say of it."""

    candidate: JsonValue
    """The candidate's params."""
    data: Data
    scores: Scores


class Changed(_Frozen):
    """A param that is another; null where a side has none of that name."""

    name: str
    this: JsonValue
    before: JsonValue


class Counted(_Frozen):
    """Images of a type in a part, where they are more or fewer."""

    part: str
    cell_type: CellType
    this: int
    before: int


class Code(_Frozen):
    """What git knows between the two commits."""

    commits: tuple[str, ...]
    files: tuple[str, ...]
    """Of ``git diff --stat``; the last is the sum."""


class Succession(_Frozen):
    """A version beside the champion before it."""

    version: int = Field(ge=1)
    """The champion before."""
    previous: Previous | None
    """Its identity and scores; None where its artefact cannot be read, as are the next three."""
    params: tuple[Changed, ...] | None
    data: tuple[Counted, ...] | None
    code: Code | None
    """None where git does not know both commits, too."""
    gaps: tuple[str, ...]
    """What cannot be told, and why, a sentence each."""


def champion_before(number: int, entries: Sequence[Entry]) -> int | None:
    """The version that answered before a version was promoted; for one that never was, the one it was compared with.

    None where nobody answered yet, or nobody ever decided about it.
    """
    events = [entry.event for entry in reversed(entries)]
    for event in events:
        if isinstance(event, Released) and event.version == number and event.cause is Cause.PROMOTION:
            return event.previous
    return next((event.champion for event in events if isinstance(event, Decided) and event.version == number), None)


def measured(artefact: Artefact) -> Measured:
    """Read what an artefact says of itself.

    Raises:
        ArtefactInvalid: its files are of an earlier format.
    """
    path = artefact.path
    try:
        return Measured(
            candidate=_Training.model_validate_json((path / TRAINING).read_bytes()).candidate,
            data=Data.model_validate_json((path / DATA).read_bytes()),
            scores=Scores.model_validate_json((path / METRICS).read_bytes()),
        )
    except ValidationError as exc:
        fault = f"{exc.title} is of another format ({exc.error_count()} faults)"
        raise ArtefactInvalid(path, fault) from exc


def since(before: int, artefact: Artefact, this: Measured, s: Settings) -> Succession:
    """Hold a version's artefact against that of the champion before it."""
    try:
        other = Artefact.open(registry.artefact_of(before, s))
        theirs = measured(other)
    except BloodySpyError as exc:
        gap = f"The artefact of version {before} cannot be read, so nothing is compared with it: {exc}"
        return Succession(version=before, previous=None, params=None, data=None, code=None, gaps=(gap,))
    code, gaps = _code(artefact, other, s)
    return Succession(
        version=before,
        previous=Previous.of(before, other, theirs.scores),
        params=tuple(_params(this.candidate, theirs.candidate)),
        data=tuple(_data(this.data, theirs.data)),
        code=code,
        gaps=tuple(gaps),
    )


class _Training(BaseModel):
    """Of ``training.json`` only this: the rest is Keras' business, and reading it would load that."""

    candidate: JsonValue


def _params(this: JsonValue, before: JsonValue) -> Iterator[Changed]:
    ours, theirs = dict(_leaves(this)), dict(_leaves(before))
    for name in sorted(ours.keys() | theirs.keys()):
        if ours.get(name) != theirs.get(name):
            yield Changed(name=name, this=ours.get(name), before=theirs.get(name))


def _leaves(setting: JsonValue, name: str = "") -> Iterator[tuple[str, JsonValue]]:
    if not isinstance(setting, dict):
        yield name, setting
        return
    for key, value in setting.items():
        yield from _leaves(value, f"{name}.{key}" if name else key)


def _data(this: Data, before: Data) -> Iterator[Counted]:
    for part in PARTS:
        ours, theirs = this.sizes.get(part, {}), before.sizes.get(part, {})
        for cell in CellType:
            if ours.get(cell, 0) != theirs.get(cell, 0):
                yield Counted(part=part, cell_type=cell, this=ours.get(cell, 0), before=theirs.get(cell, 0))


def _code(artefact: Artefact, other: Artefact, s: Settings) -> tuple[Code | None, list[str]]:
    named = dict.fromkeys((artefact.spec.git_commit, other.spec.git_commit))
    gaps = [
        f"Files differed from the commit {commit.removesuffix(DIRTY)} when a version was trained; in what, nobody kept."
        for commit in named
        if commit.endswith(DIRTY)
    ]
    new, old = (one.spec.git_commit.removesuffix(DIRTY) for one in (artefact, other))
    strangers = [commit for commit in dict.fromkeys((new, old)) if not commits.is_known(s.root, commit)]
    if not strangers:
        told = Code(commits=tuple(commits.between(s.root, old, new)), files=tuple(commits.changed(s.root, old, new)))
        return told, gaps
    for commit in strangers:
        why = "A commit was not recorded" if commit == UNKNOWN else f"git does not know the commit {commit} here"
        gaps.append(f"{why}, so the code is not compared.")
    return None, gaps
