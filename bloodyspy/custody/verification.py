"""``bloodyspy verify``: whether everything still is what was recorded, joint by joint.

data/ · data.dvc · manifest · dvc.lock · git · run · version · artefact · bento · release file · audit log.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from bloodyspy.adapters import commits, packaging, registry, versioning
from bloodyspy.custody import anchor
from bloodyspy.dataset.manifest import read_manifest
from bloodyspy.dataset.parallel import in_threads
from bloodyspy.dataset.version import data_version
from bloodyspy.errors import ArtefactInvalid, BloodySpyError, ModelUnavailable, RegistryError
from bloodyspy.model.artifact import DIGESTS, NETWORK, Artefact, read_digests, sha256
from bloodyspy.model.provenance import DIRTY
from bloodyspy.model.release import read_release
from bloodyspy.promotion import trail
from bloodyspy.promotion.audit import Entry, Fault
from bloodyspy.promotion.events import DataVersioned, Decided, Event, Released, Trained
from bloodyspy.promotion.history import live, open_release
from bloodyspy.promotion.release import DECISION
from bloodyspy.settings import Settings


class Checked(BaseModel):
    """One joint, and what is wrong there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    joint: str
    held: str
    """What was held against what, in words."""
    faults: tuple[Fault, ...] = ()


def verify(s: Settings) -> list[Checked]:
    """Check every joint. What cannot be checked is a fault: nothing is taken on trust."""
    found, faults = trail.checked(s)
    checked = [Checked(joint="audit log", held=f"{len(found)} entries of {trail.place(s)}", faults=tuple(faults))]
    checks: tuple[tuple[str, Callable[[Settings, Sequence[Entry]], tuple[str, list[Fault]]]], ...] = (
        ("anchors", _anchors),
        ("release", _release),
        ("versions", _versions),
        ("bentos", _bentos),
        ("run and code", _origin),
        ("data", _data),
        ("stages", _stages),
    )
    for joint, check in checks:
        try:
            held, wrong = check(s, found)
        except (BloodySpyError, OSError) as exc:
            held, wrong = "it could not be checked", [Fault(where=joint, what=str(exc))]
        checked.append(Checked(joint=joint, held=held, faults=tuple(wrong)))
    return checked


def _anchors(s: Settings, entries: Sequence[Entry]) -> tuple[str, list[Fault]]:
    found, faults = anchor.anchors(s)
    return f"{len(found)} git notes against the audit log", faults + anchor.compared(found, list(entries))


def _release(s: Settings, entries: Sequence[Entry]) -> tuple[str, list[Fault]]:
    found, champion, faults = live(entries), registry.champion(s), []
    if (still := open_release(entries)) is not None:
        what = f"{still[1].words}. `python -m pipelines promote` finishes it or undoes it."
        faults.append(Fault(where=f"audit log, entry {still[0].number}", what=what))
    if found is None:
        if champion is not None:
            faults.append(Fault(where="alias champion", what=f"it names version {champion.number}: never released."))
        return "nothing was released yet", faults
    number, digest = found[1].version, found[1].artefact_digest
    if champion is None or champion.number != number:
        named = f"version {champion.number}" if champion else "nobody"
        faults.append(Fault(where="alias champion", what=f"it names {named}, but version {number} was released."))
    try:
        told = read_release(s.release)
    except ModelUnavailable:
        faults.append(Fault(where=str(s.release), what="it is not there: a service that starts now has no model."))
    else:
        if told != packaging.release_of(number, s) or told.digest != digest:
            faults.append(Fault(where=str(s.release), what=f"it does not tell the release of version {number}."))
    return f"alias and release file against the release of version {number}", faults


def _versions(s: Settings, entries: Sequence[Entry]) -> tuple[str, list[Fault]]:
    events = [entry.event for entry in entries]
    faults: list[Fault] = []
    numbers = sorted({event.version for event in events if isinstance(event, Decided | Released)})
    for number in numbers:
        faults += _version(number, events, s)
    return f"{len(numbers)} versions in the registry, their decisions and every byte of their artefacts", faults


def _version(number: int, events: Sequence[Event], s: Settings) -> Iterator[Fault]:
    where = f"version {number}"
    recorded = [e for e in events if isinstance(e, Decided | Released) and e.version == number]
    try:
        found = registry.version(s, number)
    except RegistryError as exc:
        yield Fault(where=where, what=str(exc))
        return
    if any(found.artefact_digest != event.artefact_digest for event in recorded):
        yield Fault(where=where, what="its tag names another artefact than the audit log.")
    decisions = [e for e in recorded if isinstance(e, Decided)]
    told = found.tags.get(DECISION)
    if (_sha256_of(told) if told else None) != (decisions[-1].decision_digest if decisions else None):
        yield Fault(where=f"{where}, tag {DECISION}", what="it is not the decision that was recorded.")
    try:
        registry.artefact_of(number, s)
    except ArtefactInvalid as exc:
        yield Fault(where=f"{where}, {exc.path}", what=_altered(exc, recorded[-1].artefact_digest))
    except BloodySpyError as exc:
        yield Fault(where=where, what=str(exc))


def _altered(exc: ArtefactInvalid, recorded: str) -> str:
    """A table of digests that was changed itself accuses other files."""
    table = exc.path / DIGESTS
    if table.is_file() and sha256(table) != recorded:
        return f"{DIGESTS} was altered after assembly"
    return exc.fault


def _bentos(s: Settings, entries: Sequence[Entry]) -> tuple[str, list[Fault]]:
    """Of the version that answers, and of every other that was released as far as it is kept."""
    stands, faults = live(entries), []
    assert s.bentoml_home is not None  # Settings fills it in
    kept = 0
    newest = {entry.event.version: entry.event for entry in entries if isinstance(entry.event, Released)}
    for number, released in newest.items():
        lives = stands is not None and stands[1].version == number
        if not lives and not any((s.bentoml_home / path).exists() for path in released.files):
            continue
        kept += 1
        found = packaging.files(number, s)
        for path in sorted(found.keys() | released.files.keys()):
            if found.get(path) != released.files.get(path):
                what = "missing" if path not in found else "new" if path not in released.files else "changed"
                faults.append(Fault(where=str(s.bentoml_home / path), what=f"it is {what} since the release."))
    return f"every file of {kept} models and bentos against their release", faults


def _origin(s: Settings, entries: Sequence[Entry]) -> tuple[str, list[Fault]]:
    found = live(entries)
    if found is None:
        return "nothing was released yet", []
    artefact = Artefact.open(registry.artefact_of(found[1].version, s))
    spec, faults = artefact.spec, []
    where = f"version {found[1].version}"
    trained = [e.event for e in entries if isinstance(e.event, Trained) and e.event.run_id == spec.run_id]
    if not trained:
        faults.append(Fault(where=where, what=f"the audit log has no training that was the run {spec.run_id}."))
    if not registry.has_run(spec.run_id, s):
        faults.append(Fault(where=where, what=f"MLflow does not know the run {spec.run_id} that made it."))
    if spec.run_id != registry.version(s, found[1].version).run_id:
        faults.append(Fault(where=where, what=f"it is registered for another run than {spec.run_id}, which made it."))
    if trained and trained[-1].network != read_digests(artefact.path)[NETWORK]:
        faults.append(Fault(where=where, what="its network is not the one that its run ended with."))
    commit = spec.git_commit.removesuffix(DIRTY)
    if not commits.is_known(s.root, commit):
        faults.append(Fault(where=where, what=f"git does not know the commit {spec.git_commit} that made it."))
    held = f"run {spec.run_id[:8]}, commit {spec.git_commit[:12]}{DIRTY if spec.git_commit.endswith(DIRTY) else ''}"
    return f"version {found[1].version} against its training: {held}", faults


def _data(s: Settings, entries: Sequence[Entry]) -> tuple[str, list[Fault]]:
    version = data_version(s.root)
    listed = versioning.listing(s, f"{version}.dir")
    faults = _differences(s.data, listed)
    told = {e.event.data_version for e in entries if isinstance(e.event, DataVersioned | Trained)}
    if version not in told:
        what = f"the audit log does not know the data version {version}: `python -m pipelines version-data` records it."
        faults.append(Fault(where=str(s.root / "data.dvc"), what=what))
    held = f"{len(listed)} files of data/ against data.dvc ({version[:12]})"
    if versioning.locked(s).deps.get("data") == f"{version}.dir" and s.manifest.is_file():
        rows = read_manifest(s.manifest)
        known = dict(zip(rows["path"], rows["sha256"], strict=True))
        pictures = [path for path in known if (s.data / path).is_file()]
        digests = in_threads(lambda path: sha256(s.data / path), pictures, "Hashing pictures")
        faults += [
            Fault(where=str(s.data / path), what="it is not the picture that the manifest lists.")
            for path, digest in zip(pictures, digests, strict=True)
            if digest != known[path]
        ]
        held += f", {len(pictures)} pictures against the manifest"
    else:
        held += "; the manifest is of another version, `dvc repro` makes it anew"
    return held, list({fault.where: fault for fault in faults}.values())


def _stages(s: Settings, _: Sequence[Entry]) -> tuple[str, list[Fault]]:
    outs, faults = versioning.locked(s).outs, []
    if not outs:
        faults.append(Fault(where=str(s.root / "dvc.lock"), what="it is not there: nothing says what the graph made."))
    for path, digest in outs.items():
        place = s.root / path
        if digest.endswith(".dir"):
            faults += _differences(place, versioning.listing(s, digest))
        elif not place.is_file():
            faults.append(Fault(where=str(place), what="it is missing: `dvc repro` or `dvc checkout` brings it back."))
        elif versioning.md5(place) != digest:
            faults.append(Fault(where=str(place), what="it is not what dvc.lock names."))
    return f"{len(outs)} outputs of build/ against dvc.lock", faults


def _differences(folder: Path, listed: dict[str, str]) -> list[Fault]:
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() or path.is_symlink()}
    common = sorted(name for name in there & listed.keys() if (folder / name).is_file())
    digests = in_threads(lambda name: versioning.md5(folder / name), common, f"Hashing {folder.name}")
    wrong = {name: "it was changed." for name, digest in zip(common, digests, strict=True) if digest != listed[name]}
    wrong |= dict.fromkeys(listed.keys() - there, "it is missing.")
    wrong |= dict.fromkeys(there - listed.keys(), "it is not listed: it came in by another door.")
    return [Fault(where=str(folder / name), what=what) for name, what in sorted(wrong.items())]


def _sha256_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
