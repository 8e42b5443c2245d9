"""``bloodyspy verify`` on a real repository, data set, registry and store."""

import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from audited import make_project

from bloodyspy.adapters import registry, versioning
from bloodyspy.custody import releasing
from bloodyspy.custody.anchor import anchor
from bloodyspy.custody.verification import verify
from bloodyspy.errors import AuditError, PromotionError
from bloodyspy.model.provenance import git_commit
from bloodyspy.promotion import trail
from bloodyspy.promotion.events import Cause, Decided, Released
from bloodyspy.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")


@pytest.fixture(scope="module")
def s(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return make_project(tmp_path_factory.mktemp("project"))


def faults(s: Settings) -> list[str]:
    return [str(fault) for checked in verify(s) for fault in checked.faults]


@contextmanager
def changed(path: Path, content: bytes) -> Iterator[None]:
    """The file with other bytes; a hard link of it elsewhere keeps its own."""
    before, mode = path.read_bytes(), path.stat().st_mode
    path.unlink()
    path.write_bytes(content)
    yield
    path.write_bytes(before)
    path.chmod(mode)


def test_nothing_touched_holds(s: Settings) -> None:
    found = verify(s)
    assert [fault for checked in found for fault in checked.faults] == []
    held = {checked.joint: checked.held for checked in found}
    assert held["data"].startswith("193 files of data/ against data.dvc")
    assert held["data"].endswith("192 pictures against the manifest")
    assert held["versions"].startswith("2 versions")
    assert "2 models and bentos" in held["bentos"]
    assert held["stages"] == "2 outputs of build/ against dvc.lock"
    assert "commit" in held["run and code"]


def _bytes_of(s: Settings) -> dict[str, list[Path]]:
    assert s.bentoml_home is not None
    artefacts = [registry.artefact_of(number, s) for number in (1, 2)]
    stored = [path for kind in ("models", "bentos") for path in (s.bentoml_home / kind).rglob("*") if path.is_file()]
    return {
        "the audit log": [s.audit_log],
        "an image": sorted(s.data.rglob("*.png")),
        "an artefact": sorted(path for place in artefacts for path in place.iterdir() if path.is_file()),
        "a bento": sorted(path for path in stored if path.name != "latest" and "__pycache__" not in path.parts),
        "an output of the graph": [s.manifest, s.build / "list" / "again"],
        "the release file": [s.release],
    }


@pytest.mark.parametrize(
    ("what", "times"),
    [
        ("the audit log", 12),
        ("an image", 6),
        ("an artefact", 12),
        ("a bento", 12),
        ("an output of the graph", 2),
        ("the release file", 4),
    ],
)
def test_one_flipped_bit_is_found_and_its_file_is_named(s: Settings, what: str, times: int) -> None:
    draw = random.Random(what)
    files = [path for path in _bytes_of(s)[what] if path.stat().st_size]
    for _ in range(times):
        path = draw.choice(files)
        content = bytearray(path.read_bytes())
        at, bit = draw.randrange(len(content)), draw.randrange(8)
        content[at] ^= 1 << bit
        with changed(path, bytes(content)):
            found = faults(s)
        assert found, f"bit {bit} of byte {at} of {path} was flipped and nothing was found"
        assert any(path.name in fault for fault in found), f"{path} was changed, but it says {found}"
        if what == "the audit log":
            line = bytes(content)[:at].count(b"\n") + 1
            assert any(f"{path.name}, line {line}" in fault for fault in found)
    assert faults(s) == []


def test_the_release_file_s_path_counts(s: Settings) -> None:
    with changed(s.release, s.release.read_bytes().replace(b"models/bloodyspy/v2", b"models/bloodyspy/v1")):
        assert any("release.json" in fault for fault in faults(s))


def test_evidence_that_was_taken_away_is_a_fault(s: Settings) -> None:
    lock = s.root / "dvc.lock"
    content = lock.read_bytes()
    lock.unlink()
    assert any("dvc.lock: it is not there" in fault for fault in faults(s))
    lock.write_bytes(content)
    assert faults(s) == []


def test_a_picture_that_was_exchanged_and_added_again_is_found(s: Settings) -> None:
    pointer = (s.root / "data.dvc").read_bytes()
    pictures = sorted(s.data.rglob("*.png"))
    with changed(pictures[0], pictures[-1].read_bytes()):
        versioning.add_data(s)
        (found,) = faults(s)
        assert "data.dvc: the audit log does not know the data version" in found
    versioning.add_data(s)
    assert (s.root / "data.dvc").read_bytes() == pointer
    assert faults(s) == []


def test_an_altered_bento_is_not_released_again(s: Settings) -> None:
    assert s.bentoml_home is not None
    code = s.bentoml_home / "bentos" / "bloodyspy" / "v1" / "src" / "bloodyspy" / "cells.py"
    releasing.check_packed(1, s)
    with changed(code, code.read_bytes() + b"\n"):
        with pytest.raises(PromotionError, match=r"not those that were released, .*cells\.py for one"):
            releasing.check_packed(1, s)
        (found,) = faults(s)
        assert "cells.py: it is changed since the release" in found
    link = code.parent / "door"
    link.symlink_to("/tmp", target_is_directory=True)
    (found,) = faults(s)
    assert "door: it is new since the release" in found
    link.unlink()
    releasing.check_packed(1, s)


def test_a_new_file_and_a_missing_one_are_found(s: Settings) -> None:
    assert s.bentoml_home is not None
    code = s.bentoml_home / "bentos" / "bloodyspy" / "v2" / "src" / "bloodyspy" / "serving" / "door.py"
    code.write_text("print('hello')")
    (found,) = faults(s)
    assert "door.py: it is new since the release" in found
    code.unlink()
    picture = next(s.data.rglob("*.png"))
    content = picture.read_bytes()
    picture.unlink()
    (found,) = faults(s)
    assert f"{picture}: it is missing" in found
    picture.write_bytes(content)
    assert faults(s) == []


def test_an_alias_and_a_decision_changed_in_the_registry_are_found(s: Settings) -> None:
    registry.set_champion(1, s)
    (found,) = faults(s)
    assert found == "alias champion: it names version 1, but version 2 was released."
    registry.set_champion(2, s)
    told = registry.version(s, 2).tags["decision"]
    registry.annotate(2, s, tags={"decision": told.replace('"promoted"', '"refused"', 1)})
    (found,) = faults(s)
    assert found == "version 2, tag decision: it is not the decision that was recorded."
    registry.annotate(2, s, tags={"decision": told})
    assert faults(s) == []


def test_a_version_that_is_another_artefact_than_was_decided_about_is_found(s: Settings) -> None:
    whole = s.audit_log.read_bytes()
    released = [entry.event for entry in trail.entries(s) if isinstance(entry.event, Released)][-1]
    trail.record(released.model_copy(update={"artefact_digest": "f" * 64}), s)
    trail.record(released, s)  # even where the last entry names the right one
    assert "version 2: its tag names another artefact than the audit log." in faults(s)
    s.audit_log.write_bytes(whole)
    assert faults(s) == []


def test_a_decision_that_nobody_recorded_is_found(s: Settings) -> None:
    whole = s.audit_log.read_bytes()
    events = [entry.event for entry in trail.entries(s)]
    s.audit_log.unlink()
    for event in events:
        if not isinstance(event, Decided) or event.version != 2:
            trail.record(event, s)
    assert "version 2, tag decision: it is not the decision that was recorded." in faults(s)
    s.audit_log.write_bytes(whole)
    assert faults(s) == []


def test_an_open_release_is_found(s: Settings) -> None:
    whole = s.audit_log.read_bytes()
    begun = releasing.begin(1, Cause.ROLLBACK, "a drill", s)
    (found,) = faults(s)
    assert f"entry {begun.number}" in found
    assert "finishes it or undoes it" in found
    releasing.undo(begun, "the drill is over", s)
    assert faults(s) == []
    s.audit_log.write_bytes(whole)


def test_an_anchor_shows_that_the_end_was_cut_off_or_written_anew(s: Settings) -> None:
    whole = s.audit_log.read_bytes()
    kept, commit = anchor(s)
    assert commit == git_commit(s.root)
    assert kept.number == len(whole.splitlines())
    assert faults(s) == []
    releasing.undo(releasing.begin(1, Cause.ROLLBACK, "a drill", s), "over", s)
    assert faults(s) == []  # what comes later does not disturb it
    lines = whole.splitlines(keepends=True)
    s.audit_log.write_bytes(b"".join(lines[:-1]))
    found = faults(s)
    assert any("has no such entry now: its end was cut off" in fault for fault in found)
    trail.record(trail.entries(s)[0].event, s)
    assert any("it was written anew" in fault for fault in faults(s))
    s.audit_log.write_bytes(whole)
    subprocess.run(["git", "update-ref", "-d", "refs/notes/bloodyspy-audit"], cwd=s.root, check=True)
    assert faults(s) == []


def test_an_empty_log_cannot_be_anchored(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="empty"):
        anchor(Settings(root=tmp_path))
