"""The flows as functions with no server: promotion on a real registry and store, data on a real DVC."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import coloured
import pytest
import yaml
from filelock import FileLock

from bloodyspy.adapters import registry, versioning
from bloodyspy.custody import releasing
from bloodyspy.custody.shadowing import shadow
from bloodyspy.errors import (
    ArtefactInvalid,
    DataMissing,
    PromotionError,
    RegistryError,
    ServiceError,
    VersioningError,
)
from bloodyspy.model.artifact import SPEC, Artefact, seal
from bloodyspy.model.classifier import Classifier
from bloodyspy.model.release import read_release
from bloodyspy.promotion import release, trail
from bloodyspy.promotion.approval import digest_of
from bloodyspy.promotion.audit import chained
from bloodyspy.promotion.decision import Decision
from bloodyspy.promotion.events import Approved, Released
from bloodyspy.promotion.history import answered, open_release
from bloodyspy.serving.observation_log import ObservationLog
from bloodyspy.settings import Settings, load_settings

if TYPE_CHECKING:
    from monitoring.history import Check
    from pipelines.promote import Promotion

ROOT = Path(__file__).parents[2]

pytestmark = [
    # Prefect's ephemeral server is a child that ends with this process, its client's sockets with the interpreter
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    # BentoML's own use of pathspec, when its packaging is first imported
    pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@dataclass(frozen=True)
class Flows:
    """Imported late: Prefect reads its places when it is imported, and they are the session's."""

    version_data: Callable[..., str]
    promote: Callable[[], "Promotion"]
    check_drift: Callable[..., "Check"]
    rollback: Callable[..., Released]


@pytest.fixture(scope="module")
def flows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flows]:
    before = dict(os.environ)
    os.environ["BLOODYSPY_STATE"] = str(tmp_path_factory.mktemp("prefect"))
    from pipelines.check_drift import check_drift
    from pipelines.promote import promote
    from pipelines.release import rollback
    from pipelines.version_data import version_data

    os.environ.pop("BLOODYSPY_STATE")
    yield Flows(version_data, promote, check_drift, rollback)
    from prefect.server.api.server import SubprocessASGIServer

    SubprocessASGIServer().stop()
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def s(settings: Settings, store: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A project of coloured pictures with a registered model of its own."""
    for name, value in coloured.share(store).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("BLOODYSPY_REGISTERED_MODEL", request.node.name)
    made = load_settings()
    coloured.lay_out(made)
    return made


def test_a_champion_is_named_held_and_replaced(s: Settings, flows: Flows) -> None:
    with pytest.raises(RegistryError, match="no champion"):
        flows.check_drift()

    coloured.candidate(s, "bad")
    refused = flows.promote()
    assert [c.name for c in decided(refused).failed[:1]] == ["accuracy"]
    assert (refused.champion, refused.bento) == (None, None)
    assert not s.release.exists()
    assert registry.version(s, 1).tags["outcome"] == "refused"
    assert "is below the floor" in registry.version(s, 1).description
    assert registry.challenger(s) is None

    coloured.candidate(s, "middling")
    first = flows.promote()
    assert decided(first).promoted
    assert decided(first).champion is None
    assert (first.challenger, first.champion, first.bento) == (2, 2, "bloodyspy:v2")
    assert read_release(s.release).version == 2
    told = s.release.read_bytes()

    again = flows.promote()
    assert again.was_champion
    assert again.decision == first.decision
    assert s.release.read_bytes() == told

    coloured.candidate(s, "good")
    second = flows.promote()
    assert decided(second).promoted
    assert (decided(second).champion, decided(second).images) == (2, 160)
    assert decided(second).synthetic
    gain = next(c for c in decided(second).criteria if c.name == "not worse in balanced accuracy")
    assert gain.value == pytest.approx(3 / 160)
    assert (second.champion, second.bento) == (3, "bloodyspy:v3")
    assert read_release(s.release).version == 3

    coloured.candidate(s, "middling")
    third = flows.promote()
    assert [c.name for c in decided(third).failed] == ["not worse in balanced accuracy"]
    assert (third.challenger, third.champion) == (4, 3)
    assert release.recorded(registry.version(s, 4).tags, 4) == third.decision
    assert read_release(s.release).version == 3

    (s.state / "elsewhere" / "observations").mkdir(parents=True)
    check = flows.check_drift(s.state / "elsewhere")
    assert check.verdict.overall == "insufficient"
    assert check.page.is_file()
    assert check.folder.parent == s.state / "elsewhere" / "drift"


def test_a_champion_of_an_earlier_release_is_told_and_left_where_it_is(s: Settings, flows: Flows) -> None:
    coloured.candidate(s, "middling")
    flows.promote()
    spec = registry.artefact_of(1, s) / SPEC
    earlier = {**json.loads(spec.read_text(encoding="utf-8")), "format": 1}
    spec.write_text(json.dumps(earlier), encoding="utf-8")
    with pytest.raises(ArtefactInvalid, match="of another format"):
        seal(spec.parent)
    coloured.candidate(s, "good")
    with pytest.raises(PromotionError, match=r"version 1, .* of another format .* take the alias"):
        flows.promote()
    champion = registry.champion(s)
    assert champion is not None
    assert champion.number == 1


def decided(done: "Promotion") -> Decision:
    assert done.decision is not None
    return done.decision


KILLED = """
import os, signal, sys
from bloodyspy.adapters import packaging, registry
from bloodyspy.custody import releasing
from bloodyspy.custody.shadowing import shadow
module, name = {
    "build": (packaging, "build"), "begin": (releasing, "begin"), "crown": (registry, "set_champion"),
    "tell": (packaging, "tell"), "finish": (releasing, "finish"),
}[sys.argv[1]]
setattr(module, name, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
from pipelines.promote import promote
from pipelines.release import rollback
promote() if sys.argv[2] == "promote" else rollback("it is bad")
"""


def killed(s: Settings, step: str, flow: str) -> None:
    """Run a flow in a process of its own that is killed where a step would begin."""
    process = subprocess.Popen([sys.executable, "-c", KILLED, step, flow], cwd=s.root, start_new_session=True)
    try:
        assert process.wait(180) == -signal.SIGKILL
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # Prefect's ephemeral server outlives it


def test_a_release_that_is_killed_anywhere_is_finished_by_the_same_command(s: Settings, flows: Flows) -> None:
    coloured.candidate(s, "good")
    for step, alias, told in (
        ("build", None, None),
        ("begin", None, None),
        ("crown", None, None),
        ("tell", 1, None),
        ("finish", 1, 1),
    ):
        killed(s, step, "promote")
        champion = registry.champion(s)
        assert (champion.number if champion else None, read_release(s.release).version if told else None) == (
            alias,
            told,
        ), step
        assert not releasing.agrees(1, s)

    done = flows.promote()
    assert done.was_champion  # what was open was finished first
    assert decided(done).promoted
    assert done.bento == "bloodyspy:v1"
    assert s.bentoml_home is not None
    assert (s.bentoml_home / "bentos" / "bloodyspy" / "v1" / "bento.yaml").is_file()
    assert read_release(s.release).version == 1
    assert releasing.agrees(1, s)
    kinds = [entry.event.kind for entry in trail.entries(s) if entry.event.kind != "look"]
    assert kinds == ["decision", "release begun", "release"]


def test_a_rollback_that_is_killed_is_finished_and_goes_no_further(s: Settings, flows: Flows) -> None:
    for name in ("middling", "good"):
        coloured.candidate(s, name)
        flows.promote()
    killed(s, "finish", "rollback")
    assert read_release(s.release).version == 1
    done = flows.rollback("it is bad")
    assert (done.version, done.previous) == (1, 2)
    assert releasing.agrees(1, s)


def test_a_rollback_undoes_a_promotion_that_was_killed(s: Settings, flows: Flows) -> None:
    coloured.candidate(s, "middling")
    flows.promote()
    coloured.candidate(s, "good")
    killed(s, "finish", "promote")
    assert read_release(s.release).version == 2
    assert flows.rollback("that was one too many").version == 1
    assert releasing.agrees(1, s)
    assert trail.entries(s)[-1].event.kind == "release undone"


def test_an_open_release_that_cannot_be_finished_stands_in_nobody_s_way(s: Settings, flows: Flows) -> None:
    coloured.candidate(s, "middling")
    flows.promote()
    coloured.candidate(s, "good")
    killed(s, "tell", "promote")
    spec = registry.artefact_of(2, s) / SPEC
    spec.write_bytes(spec.read_bytes() + b" ")
    with pytest.raises(ArtefactInvalid, match="altered"):
        flows.promote()
    assert releasing.agrees(1, s)  # what was open is undone first


def test_without_a_log_the_champion_before_is_still_known(
    s: Settings, flows: Flows, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines import release as releases
    from pipelines.project import step

    coloured.candidate(s, "middling")
    flows.promote()
    s.audit_log.unlink()  # as after an upgrade from a release that had none
    coloured.candidate(s, "good")

    def fails(*_: object) -> None:
        raise ServiceError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(releases, "finish", step(fails, "fails"))
        with pytest.raises(ServiceError, match="disk is full"):
            flows.promote()
    champion = registry.champion(s)
    assert champion is not None
    assert (champion.number, read_release(s.release).version) == (1, 1)
    assert flows.promote().champion == 2
    assert flows.rollback("it is bad").version == 1


def test_nobody_gets_past_approval_by_moving_the_alias(s: Settings, flows: Flows) -> None:
    coloured.candidate(s, "middling")
    flows.promote()
    params = s.root / "params.yaml"
    params.write_text(params.read_text().replace("approval: automatic", "approval: required"))
    registry.set_champion(registry.register(coloured.candidate(s, "bad"), s), s)
    with pytest.raises(PromotionError, match=r"moved to version 2 by hand, .* nobody approved it"):
        flows.promote()
    assert read_release(s.release).version == 1


def test_the_approved_decision_about_another_version_lets_nobody_past(s: Settings, flows: Flows) -> None:
    from pipelines.approval import Answer, answer

    for name in ("middling", "good"):
        coloured.candidate(s, name)
        flows.promote()
    params = s.root / "params.yaml"
    params.write_text(params.read_text().replace("approval: automatic", "approval: required"))
    decision = release.recorded(registry.version(s, 2).tags, 2)
    with pytest.raises(PromotionError, match="released since version 2 was decided about"):
        answer(2, Answer(approver="Dr. Rot", reason="seen the card"), s)
    assert decision is not None
    approved = Approved(
        version=2,
        artefact_digest=registry.version(s, 2).artefact_digest,
        decision_digest=digest_of(decision),
        approved=True,
        approver="Dr. Rot",
        reason="seen the card",
    )
    trail.record(approved, s)
    bad = registry.register(coloured.candidate(s, "bad"), s)
    told = registry.version(s, 2).tags["decision"]
    registry.annotate(bad, s, tags={"decision": told})
    with pytest.raises(PromotionError, match=rf"version {bad} is the decision about version 2: somebody copied it"):
        flows.promote()
    registry.set_champion(bad, s)  # nor with the alias moved and the copy's number put right
    registry.annotate(bad, s, tags={"decision": told.replace('"challenger":2', f'"challenger":{bad}')})
    with pytest.raises(PromotionError, match=rf"moved to version {bad} by hand, .* nobody approved it"):
        flows.promote()
    assert read_release(s.release).version == 2


def test_a_release_that_fails_is_undone(s: Settings, flows: Flows, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines import release as releases
    from pipelines.project import step

    coloured.candidate(s, "middling")
    flows.promote()
    coloured.candidate(s, "good")

    def fails(*_: object) -> None:
        raise ServiceError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(releases, "finish", step(fails, "fails"))
        with pytest.raises(ServiceError, match="disk is full"):
            flows.promote()
    assert releasing.agrees(1, s)
    assert [entry.event.kind for entry in trail.entries(s)][-2:] == ["release begun", "release undone"]
    assert flows.promote().champion == 2
    assert releasing.agrees(2, s)


def test_what_cannot_be_undone_stays_open_and_is_finished_later(s: Settings, flows: Flows) -> None:
    coloured.candidate(s, "middling")
    flows.promote()
    coloured.candidate(s, "good")
    told = s.release.read_bytes()
    s.release.unlink()
    s.release.mkdir()  # neither the new release nor the old one can be told
    with pytest.raises(ServiceError, match="cannot be written"):
        flows.promote()
    assert open_release(trail.entries(s)) is not None
    s.release.rmdir()
    s.release.write_bytes(told)
    assert flows.promote().champion == 2
    assert releasing.agrees(2, s)


def test_a_rollback_lets_the_version_before_answer_again(s: Settings, flows: Flows) -> None:
    with pytest.raises(PromotionError, match="Nothing was released"):
        flows.rollback("why not")
    for name in ("middling", "good"):
        coloured.candidate(s, name)
        flows.promote()
    done = flows.rollback("platelets are called monocytes")
    assert (done.version, done.previous, done.cause) == (1, 2, "rollback")
    assert done.seconds > 0
    assert releasing.agrees(1, s)
    with pytest.raises(PromotionError, match="the first that answered"):
        flows.rollback("further")
    with pytest.raises(PromotionError, match="answers already"):
        flows.rollback("again", 1)
    with pytest.raises(PromotionError, match=r"Version 7 never answered.* until now: 1, 2"):
        flows.rollback("forward", 7)

    refused = flows.promote()  # the best candidate is the one that was rolled back
    assert [c.name for c in decided(refused).failed] == ["not rolled back"]
    assert "platelets are called monocytes" in decided(refused).summary
    assert releasing.agrees(1, s)

    assert flows.rollback("it was the microscope", 2).version == 2
    assert releasing.agrees(2, s)
    assert flows.promote().was_champion
    answered_then = answered(trail.entries(s), done_at(s, 1))
    assert answered_then is not None
    assert (answered_then.release.version, answered_then.until is not None) == (1, True)
    assert any("Decided: Version 1 was promoted" in line for line in answered_then.lines())


def test_a_clock_that_was_ahead_stops_no_rollback(s: Settings, flows: Flows) -> None:
    for name in ("middling", "good"):
        coloured.candidate(s, name)
        flows.promote()
    last = trail.entries(s)[-1]
    ahead = chained(last.event, last, "anna", datetime.now(UTC) + timedelta(hours=1))
    with s.audit_log.open("a", encoding="utf-8") as stream:
        stream.write(f"{ahead.line}\n")
    done = flows.rollback("platelets are called monocytes")
    assert (done.version, done.seconds) == (1, 0)
    assert releasing.agrees(1, s)


def done_at(s: Settings, version: int) -> datetime:
    """When a version was last released."""
    return max(e.time for e in trail.entries(s) if isinstance(e.event, Released) and e.event.version == version)


def test_what_the_shadow_said_is_evidence_and_ends_with_the_promotion(s: Settings, flows: Flows) -> None:
    coloured.candidate(s, "middling")
    flows.promote()
    coloured.candidate(s, "good")
    assert shadow(None, s) == 2
    assert read_release(s.shadow).version == 2
    with pytest.raises(PromotionError, match="it is heard"):
        shadow(1, s)
    pictures = [path.read_bytes() for path in sorted(s.data.glob("*/*.png"))]
    assert s.observations is not None
    for version, folder in ((1, s.observations), (2, s.shadow_observations)):
        classifier, log = Classifier(artefact_of(version, s)), ObservationLog(folder)
        for number, picture in enumerate(pictures):
            log.append([classifier.observe(picture)], f"request-{number:04}", version)
    done = flows.promote()
    told = next(c for c in decided(done).criteria if c.name == "agreement in the shadow")
    assert told.value == pytest.approx(189 / 192)  # the three odd basophils
    assert (done.champion, s.shadow.exists()) == (2, False)


def artefact_of(version: int, s: Settings) -> Artefact:
    return Artefact.open(registry.artefact_of(version, s))


@pytest.mark.parametrize("answer", ["approve", "reject"])
def test_a_promotion_waits_for_a_person(
    s: Settings, flows: Flows, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    from pipelines import approval

    monkeypatch.setattr(approval, "LOOK_EVERY", 1)
    params = s.root / "params.yaml"
    params.write_text(params.read_text().replace("approval: automatic", "approval: required"))
    coloured.candidate(s, "good")
    said: list[str] = []

    def answers() -> None:
        give_up = time.monotonic() + 120
        while time.monotonic() < give_up and not waiting(s):
            time.sleep(0.5)
        words = ["--reason", "seen the card", "--by", "Dr. Rot", *(["--reject"] if answer == "reject" else [])]
        command = [sys.executable, "-m", "bloodyspy.cli", "approve", "1", *words]
        said.append(subprocess.run(command, cwd=s.root, capture_output=True, text=True, timeout=120).stdout)

    person = threading.Thread(target=answers)
    person.start()
    done = flows.promote()
    person.join()
    assert "The flow run that waits was told." in said[0]
    assert done.approval is not None
    assert (done.approval.approver, done.approval.reason) == ("Dr. Rot", "seen the card")
    assert [e.event for e in trail.entries(s) if e.event.kind == "approval"] == [done.approval]
    if answer == "approve":
        assert releasing.agrees(1, s)
        found = answered(trail.entries(s), datetime.now(UTC))
        assert found is not None
        assert "Dr. Rot approved version 1: seen the card" in found.release.reason
    else:
        assert (done.champion, registry.champion(s), registry.challenger(s)) == (None, None, None)
        again = flows.promote()  # nobody is asked twice about the same decision
        assert (again.approval, again.champion) == (done.approval, None)


def waiting(s: Settings) -> bool:
    return any(version.tags.get("waiting_flow_run") for version in registry.versions(s))


def test_nobody_can_approve_what_the_gate_refused(s: Settings, flows: Flows) -> None:
    from pipelines.approval import Answer, answer

    coloured.candidate(s, "bad")
    flows.promote()
    with pytest.raises(PromotionError, match="refused version 1, and nobody can approve that"):
        answer(1, Answer(approver="Dr. Rot", reason="it is urgent"), s)
    with pytest.raises(RegistryError, match="no version 2"):
        answer(2, Answer(approver="Dr. Rot", reason="it is urgent"), s)


def test_a_killed_promotion_is_finished_even_when_another_candidate_is_refused_next(s: Settings, flows: Flows) -> None:
    good = coloured.candidate(s, "good")
    number = registry.register(good, s)
    registry.set_champion(number, s)  # and nothing was built
    coloured.candidate(s, "middling")
    done = flows.promote()
    assert not decided(done).promoted
    assert (done.champion, done.bento) == (1, "bloodyspy:v1")
    assert read_release(s.release).version == 1


def test_promotions_wait_for_each_other(s: Settings, flows: Flows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "PATIENCE", 0.1)
    s.state.mkdir(exist_ok=True)
    with FileLock(s.state / "promotion.lock"), pytest.raises(PromotionError, match="Another promotion is running"):
        flows.promote()


@pytest.fixture
def versioned(settings: Settings) -> Settings:
    """An empty DVC project that draws few cells."""
    subprocess.run(["git", "init", "--quiet", settings.root], check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet"], cwd=settings.root, check=True)
    shutil.copy(ROOT / ".dvc" / "config", settings.root / ".dvc" / "config")
    shutil.copy(ROOT / ".dvcignore", settings.root)
    place = settings.root / "params.yaml"
    content: dict[str, Any] = yaml.safe_load(place.read_text())
    content["synthetic"]["per_class"] = 3
    place.write_text(yaml.safe_dump(content))
    return settings


def test_a_fresh_clone_draws_the_data_that_was_committed(versioned: Settings, flows: Flows) -> None:
    s = versioned
    with pytest.raises(DataMissing, match=r"data\.dvc"):
        flows.version_data()
    version = flows.version_data("synthetic")
    committed = (s.root / "data.dvc").read_bytes()
    for lost in (s.data, s.root / ".dvc" / "cache", s.root / "var"):
        subprocess.run(["rm", "-rf", lost], check=True)
    assert flows.version_data() == version
    assert versioning.is_clean(s)
    assert (s.root / "data.dvc").read_bytes() == committed

    shutil.rmtree(s.data)
    assert flows.version_data() == version  # from the remote, which has it now
    assert versioning.is_clean(s)


def test_photographs_that_are_nowhere_are_not_replaced_by_drawings(versioned: Settings, flows: Flows) -> None:
    s = versioned
    outs = [{"md5": "0" * 32 + ".dir", "size": 1, "nfiles": 1, "hash": "md5", "path": "data"}]
    (s.root / "data.dvc").write_text(yaml.safe_dump({"outs": outs, "meta": {"sources": ["pbc"]}}))
    with pytest.raises(VersioningError, match="does not hold what"):
        flows.version_data()
    assert not s.data.exists()
