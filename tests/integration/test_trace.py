"""``bloodyspy trace``, ``live`` and ``audit`` on a project with all the evidence."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from audited import make_project

from bloodyspy.adapters import packaging, registry
from bloodyspy.custody.picture import save
from bloodyspy.custody.tracing import Trace, trace
from bloodyspy.dataset.manifest import read_manifest
from bloodyspy.errors import RegistryError
from bloodyspy.model.classifier import Classifier
from bloodyspy.promotion import trail
from bloodyspy.promotion.history import answered
from bloodyspy.serving.observation_log import ObservationLog
from bloodyspy.settings import Settings
from bloodyspy.store import streams

pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")

REQUEST = "smear-2026-0042"


@pytest.fixture(scope="module")
def s(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = make_project(tmp_path_factory.mktemp("project"))
    assert settings.observations is not None
    classifier = Classifier(packaging.stored(2, settings))
    pictures = sorted((settings.data / "platelet").glob("*.png"))[:2]
    log = ObservationLog(settings.observations)
    for number, path in enumerate(pictures):
        log.append([classifier.observe(path.read_bytes())], REQUEST, 2, picture=number)
    return settings


def joints(found: Trace) -> list[str]:
    return [step.joint for step in found.steps]


def test_a_request_is_walked_to_its_files(s: Settings) -> None:
    found = trace(REQUEST, s)
    assert joints(found) == [*("prediction", "version", "decision", "release", "run", "dvc.lock", "manifest", "files")]
    facts = {step.joint: step.facts for step in found.steps}
    assert facts["prediction"]["picture 2"].startswith("64 x 70 pixels: platelet ")
    assert facts["version"]["artefact"] == registry.version(s, 2).artefact_digest
    assert facts["version"]["alias"] == "champion"
    assert facts["manifest"]["sources"]
    assert facts["files"]["files"] == "193"
    faults = {step.joint: step.fault for step in found.steps if step.fault}
    assert "it names no such output" in faults["dvc.lock"]  # this project's graph makes no model


def test_a_request_is_found_in_the_store_when_its_log_is_gone(s: Settings) -> None:
    before = trace(REQUEST, s)
    assert streams.live(s).collect().rows == 2
    assert s.observations is not None
    away = s.observations.with_name("away")
    s.observations.rename(away)
    try:
        assert trace(REQUEST, s) == before
    finally:
        away.rename(s.observations)


def test_a_version_is_walked_without_a_prediction(s: Settings) -> None:
    found = trace("1", s)
    assert joints(found)[:3] == ["version", "decision", "release"]
    assert "Version 1 was promoted" in found.steps[1].name
    assert found.steps[1].facts["by"] == "anna"


def test_a_picture_is_walked_up_to_the_versions_made_of_it(s: Settings) -> None:
    row = read_manifest(s.manifest).iloc[0]
    by_path, by_digest = trace(row["path"], s), trace(row["sha256"], s)
    assert by_path.steps == by_digest.steps == trace(str(s.data / row["path"]), s).steps
    assert joints(by_path)[:3] == ["files", "manifest", "dvc.lock"]
    assert by_path.steps[0].facts["part"] == row["part"]


def test_what_is_nothing_of_these_is_told(s: Settings) -> None:
    with pytest.raises(RegistryError, match="neither the number of a version, nor a picture"):
        trace("nobody-0001", s)
    with pytest.raises(RegistryError, match="no version 7"):
        trace("7", s)


@pytest.mark.parametrize("name", ["way.png", "way.svg"])
def test_a_trace_is_drawn(s: Settings, tmp_path: Path, name: str) -> None:
    save(trace(REQUEST, s), tmp_path / name)
    content = (tmp_path / name).read_bytes()
    assert content.startswith(b"\x89PNG") or b"<svg" in content
    assert len(content) > 10_000


def test_who_answered_when(s: Settings) -> None:
    entries = trail.entries(s)
    released = [entry for entry in entries if entry.event.kind == "release"]
    assert answered(entries, entries[0].time) is None
    first, second = answered(entries, released[0].time), answered(entries, datetime.now(UTC))
    assert first is not None
    assert second is not None
    assert (first.release.version, first.until, second.release.version, second.until) == (1, released[1], 2, None)


def test_the_commands_tell_the_same(s: Settings, tmp_path: Path) -> None:
    def run(*words: str, expected: int = 0) -> str:
        command = [sys.executable, "-m", "bloodyspy.cli", *words]
        done = subprocess.run(command, cwd=s.root, capture_output=True, text=True, timeout=120)
        assert done.returncode == expected, done.stdout + done.stderr
        return done.stdout

    told = json.loads(run("trace", REQUEST, "--json", "--picture", str(tmp_path / "way.png")))
    assert told == json.loads(trace(REQUEST, s).model_dump_json())
    assert (tmp_path / "way.png").is_file()
    assert "Version 2 answered from" in run("live")
    assert "nothing was released yet" in run("live", "--at", "2020-01-01", expected=3)
    lines = run("audit", "--json").splitlines()
    assert lines == [entry.line for entry in trail.entries(s)]
    assert "Version 2 was promoted" in " ".join(run("audit").split())
    assert "holds" in run("verify")
    s.audit_log.write_bytes(s.audit_log.read_bytes().replace(b"anna", b"anne", 1))
    assert "audit.jsonl, line 1" in run("verify", expected=1)
