"""``bloodyspy trace``: from a prediction, a version or a picture along the joints to the files it rests on."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from bloodyspy.adapters import commits, registry, versioning
from bloodyspy.cells import CELL_TYPES
from bloodyspy.dataset.manifest import digest, read_manifest
from bloodyspy.dataset.version import data_version
from bloodyspy.errors import BloodySpyError, RegistryError
from bloodyspy.evaluation.origin import Data
from bloodyspy.model.artifact import DATA, DIGESTS, Artefact
from bloodyspy.model.provenance import DIRTY
from bloodyspy.observation import PROBABILITIES
from bloodyspy.promotion import trail
from bloodyspy.promotion.audit import Entry
from bloodyspy.promotion.events import Approved, Decided, Released, Trained
from bloodyspy.settings import Settings
from bloodyspy.store import streams
from bloodyspy.store.windows import Wanted, window

_SHOWN = 8
"""Pictures of a request that are told one by one."""

_SHORTEST_REQUEST = 6
"""Characters of a request's id: fewer digits than that are a version's number."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


class Step(BaseModel):
    """One thing on the way, and what is known of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    joint: str
    """prediction, version, decision, release, run, dvc.lock, manifest, or files."""
    name: str
    facts: dict[str, str]
    fault: str | None = None
    """Why the way is not known from here on; None where it is."""


class Trace(BaseModel):
    """The way from what was asked about."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    asked: str
    steps: tuple[Step, ...]


@dataclass(slots=True)
class _Walk:
    s: Settings
    entries: list[Entry]
    steps: list[Step] = field(default_factory=list)

    def add(self, joint: str, name: str, facts: dict[str, object], fault: str | None = None) -> None:
        told = {key: str(value) for key, value in facts.items() if value is not None}
        self.steps.append(Step(joint=joint, name=name, facts=told, fault=fault))


def trace(asked: str, s: Settings) -> Trace:
    """Walk from a request's id, a version's number, or a picture: its path in data/ or its SHA-256.

    Raises:
        RegistryError: it is none of these.
        AuditError: the audit log cannot be read, or does not hold together.
    """
    walk = _Walk(s, trail.entries(s))
    if asked.isdecimal() and len(asked) < _SHORTEST_REQUEST:
        _version(walk, int(asked))
    elif (row := _picture(asked, s)) is not None:
        _from_picture(walk, row)
    elif found := list(_observed(asked, s)):
        _prediction(walk, asked, found)
    else:
        raise RegistryError(
            f"{asked!r} is neither the number of a version, nor a picture of {s.manifest} (its path or SHA-256), nor "
            f"the id of a request in {s.observations}."
        )
    return Trace(asked=asked, steps=tuple(walk.steps))


def _prediction(walk: _Walk, asked: str, rows: list[dict[str, object]]) -> None:
    facts: dict[str, object] = {"time": rows[0]["time"]}
    for row in rows[:_SHOWN]:
        shares = sorted(zip(CELL_TYPES, (_number(row[name]) for name in PROBABILITIES), strict=True), key=_share)
        facts[f"picture {int(_number(row.get('picture', 0))) + 1}"] = (
            f"{row['width']} x {row['height']} pixels: {', '.join(f'{cell} {share:.1%}' for cell, share in shares[:3])}"
        )
    if len(rows) > _SHOWN:
        facts["and"] = f"{len(rows) - _SHOWN:,} pictures more"
    walk.add("prediction", f"request {asked}", facts)
    numbers = sorted({int(_number(row["model_version"])) for row in rows})
    for number in numbers:
        _version(walk, number, run_id=str(rows[0]["run_id"]))


def _version(walk: _Walk, number: int, run_id: str | None = None) -> None:
    s = walk.s
    found = registry.version(s, number)
    wrong = None
    if run_id is not None and run_id != found.run_id:
        wrong = f"the observation names the run {run_id}, the registry {found.run_id}"
    facts: dict[str, object] = {
        "candidate": found.tags.get("candidate"),
        "artefact": found.artefact_digest,
        "registered": f"{found.created:%Y-%m-%d %H:%M:%S} UTC",
        "alias": ", ".join(found.aliases) or None,
    }
    walk.add("version", f"version {number}", facts, wrong)
    _decisions(walk, number)
    try:
        artefact = Artefact.open(registry.artefact_of(number, s))
    except BloodySpyError as exc:
        walk.add("run", found.run_id, {}, f"the artefact cannot be read: {exc}")
        return
    _run(walk, artefact)
    _locked(walk, artefact)
    _manifest(walk, artefact)
    _files(walk, artefact.spec.data_version)


def _decisions(walk: _Walk, number: int) -> None:
    for entry in walk.entries:
        event = entry.event
        if isinstance(event, Decided | Approved | Released) and event.version == number:
            facts = {"time": f"{entry.time:%Y-%m-%d %H:%M:%S} UTC", "by": entry.by, "entry": entry.number}
            walk.add(event.kind, event.words, dict(facts))
    if not any(isinstance(e.event, Decided) and e.event.version == number for e in walk.entries):
        walk.add("decision", "none", {}, f"the audit log has no decision about version {number}")


def _run(walk: _Walk, artefact: Artefact) -> None:
    spec = artefact.spec
    commit = spec.git_commit.removesuffix(DIRTY)
    fault = None
    if not commits.is_known(walk.s.root, commit):
        fault = f"git does not know the commit {commit}"
    elif spec.git_commit != commit:
        fault = "files that git tracks differed from the commit: the code is not known to the last line"
    told = [e for e in walk.entries if isinstance(e.event, Trained) and e.event.run_id == spec.run_id]
    facts: dict[str, object] = {
        "candidate": spec.candidate,
        "network": f"{spec.network}, {spec.parameters:,} weights",
        "commit": spec.git_commit,
        "trained": f"{told[-1].time:%Y-%m-%d %H:%M:%S} UTC by {told[-1].by}" if told else None,
    }
    walk.add("run", f"run {spec.run_id}", facts, fault)


def _locked(walk: _Walk, artefact: Artefact) -> None:
    spec, s = artefact.spec, walk.s
    out = f"build/models/{spec.candidate}"
    known = versioning.locked(s).outs.get(out)
    facts: dict[str, object] = {"stage": f"evaluate@{spec.candidate}", "output": out, "md5": known}
    if known is None:
        walk.add("dvc.lock", out, facts, "it names no such output: the graph was run elsewhere")
        return
    try:
        named = versioning.listing(s, known).get(DIGESTS)
    except BloodySpyError as exc:
        walk.add("dvc.lock", out, facts, str(exc))
        return
    if named != versioning.md5(artefact.path / DIGESTS):
        walk.add("dvc.lock", out, facts, "it names a newer model of this candidate by now; the artefact tells the rest")
        return
    walk.add("dvc.lock", out, facts)


def _manifest(walk: _Walk, artefact: Artefact) -> None:
    data = Data.model_validate_json((artefact.path / DATA).read_bytes())
    sizes = {part: sum(counts.values()) for part, counts in data.sizes.items()}
    facts: dict[str, object] = {
        "sha256": data.manifest_digest,
        "images": f"{data.images:,}: " + ", ".join(f"{n:,} {part}" for part, n in sizes.items() if n),
        "sources": ", ".join(source.name for source in data.sources),
    }
    s, fault = walk.s, None
    if not s.manifest.is_file() or digest(s.manifest) != data.manifest_digest:
        fault = "build/manifest.parquet is another one by now: check out the commit and `dvc repro validate`"
    walk.add("manifest", f"manifest {data.manifest_digest[:12]}", facts, fault)


def _files(walk: _Walk, version: str) -> None:
    s = walk.s
    facts: dict[str, object] = {"data.dvc": version}
    try:
        facts["files"] = f"{len(versioning.listing(s, f'{version}.dir')):,}"
    except BloodySpyError as exc:
        walk.add("files", "data/", facts, str(exc))
        return
    here = data_version(s.root)
    fault = None if here == version else f"data/ is at version {here[:12]} now: check out the commit and `dvc checkout`"
    walk.add("files", "data/", facts, fault)


def _picture(asked: str, s: Settings) -> dict[str, object] | None:
    if not s.manifest.is_file():
        return None
    rows = read_manifest(s.manifest)
    if _SHA256.fullmatch(asked):
        found = rows[rows["sha256"] == asked]
    else:
        path = Path(asked)
        inside = path.resolve().relative_to(s.data) if path.resolve().is_relative_to(s.data) else path
        found = rows[rows["path"] == inside.as_posix()]
    return None if found.empty else {str(key): value for key, value in found.iloc[0].items()}


def _from_picture(walk: _Walk, row: dict[str, object]) -> None:
    s = walk.s
    facts = {name: row[name] for name in ("sha256", "cell_type", "subtype", "source", "part", "format", "bytes")}
    walk.add("files", f"data/{row['path']}", facts)
    walk.add("manifest", f"manifest {digest(s.manifest)[:12]}", {"sha256": digest(s.manifest), "part": row["part"]})
    here = data_version(s.root)
    walk.add("dvc.lock", "data.dvc", {"data.dvc": here})
    role = {
        "train": "it was trained on",
        "validation": "choices were made on it",
        "calibration": "its thresholds were fitted on it",
        "test": "it was measured on it, sealed",
    }.get(str(row["part"]), "it was used for nothing")
    for found in reversed(registry.versions(s)):
        if found.tags.get("data_version") == here:
            walk.add("version", f"version {found.number}", {"run": found.run_id, "role of the picture": role})
            _decisions(walk, found.number)


def _observed(request_id: str, s: Settings) -> Iterator[dict[str, object]]:
    """Rows of a request in the observation log or else in the store, in the order of its pictures."""
    assert s.observations is not None  # Settings fills it in
    wanted = json.dumps(request_id).encode()
    rows: list[dict[str, object] | None] = []
    for path in sorted(s.observations.glob("????-??-??/*.jsonl")):
        with path.open("rb") as stream:
            rows += [_row(line) for line in stream if wanted in line]
    found = [row for row in rows if row is not None and row.get("request_id") == request_id]
    if not found:  # a log goes once all of it is in the store
        stored = window(streams.live(s).place, Wanted(request_id=request_id)).frame
        told = stored.assign(time=stored["time"].map(datetime.isoformat)).to_dict("records")
        found = [{str(name): value for name, value in row.items()} for row in told]
    yield from sorted(found, key=lambda row: _number(row.get("picture", 0)))


def _row(line: bytes) -> dict[str, object] | None:
    try:
        row = json.loads(line)
    except (json.JSONDecodeError, UnicodeDecodeError):
        return None  # cut off by a kill
    return row if isinstance(row, dict) else None


def _number(value: object) -> float:
    assert isinstance(value, int | float)
    return float(value)


def _share(pair: tuple[object, float]) -> float:
    return -pair[1]
