"""``bloodyspy dossier`` on a project with all the evidence, and on versions that lack some of it."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from html import unescape
from pathlib import Path

import coloured
import pytest
from audited import make_project
from cyclonedx.validation.json import JsonStrictValidator
from sourced import faults, read

from bloodyspy.adapters import commits, registry
from bloodyspy.adapters.bill_of_materials import SCHEMA
from bloodyspy.adapters.evaluation_log import log_evaluation
from bloodyspy.custody.dossier.content import LOCK, Dossier, Service, gather
from bloodyspy.custody.dossier.page import FILES
from bloodyspy.custody.dossier.writing import write
from bloodyspy.errors import ArtefactInvalid, DossierError, VersioningError
from bloodyspy.evaluation.scores import Scores
from bloodyspy.model import artifact
from bloodyspy.model.provenance import git_commit
from bloodyspy.params import load_params
from bloodyspy.promotion import approval, trail
from bloodyspy.promotion.audit import read_line
from bloodyspy.promotion.events import Approved
from bloodyspy.promotion.evidence import contend
from bloodyspy.promotion.gate import decide
from bloodyspy.promotion.release import DECISION, annotation
from bloodyspy.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")

ROOT = Path(__file__).parents[2]
SCRIPT = "<script>alert(1)</script> **bold** `code`"
STRANGER = "f" * 40


@pytest.fixture(scope="module")
def s(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Version 1 answered, 2 answers; 3 was refused, of other code, params and data, and 5, of code nobody committed.

    Nobody decided about 4, of a commit that nobody knows.
    """
    root = tmp_path_factory.mktemp("project")
    shutil.copy(ROOT / LOCK, root)
    settings = make_project(root)
    (decision_of_2,) = [e.event for e in trail.entries(settings) if e.event.kind == "decision" and e.event.version == 2]
    trail.record(
        Approved(
            version=2,
            artefact_digest=decision_of_2.artefact_digest,
            decision_digest=decision_of_2.decision_digest,
            approved=True,
            approver=SCRIPT,
            reason=SCRIPT,
        ),
        settings,
    )
    lock = (root / LOCK).read_text()
    (root / LOCK).write_text(lock.replace("numpy==2.", "numpy==9."))
    (root / "network.py").write_text("layers = 3\n")
    git(root, "add", LOCK, "network.py")
    git(root, "commit", "--quiet", "-m", f"another network {SCRIPT}")
    refuse(other_candidate(settings, git_commit(root)), settings)
    other_candidate(settings, f"{STRANGER}-dirty")
    (root / LOCK).write_text(lock.replace("numpy==2.", "numpy==8."))
    assert git_commit(root).endswith("-dirty")
    refuse(other_candidate(settings, git_commit(root)), settings)
    return settings


def git(root: Path, *words: str) -> str:
    command = ["git", "-c", "user.name=Anna", "-c", "user.email=anna@example.org", *words]
    return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout


def other_candidate(s: Settings, commit: str) -> int:
    """Register a bad model that says it is of another network, other params and more pictures."""
    made = coloured.candidate(s, "bad", git_commit=commit)
    (made.path / artifact.NETWORK).write_text(f"another network, of {commit}")
    training = json.loads((made.path / artifact.TRAINING).read_text())
    training["candidate"]["augmentation"] = {"turns": True, "blur": 0.25, "noise": None, SCRIPT: SCRIPT}
    (made.path / artifact.TRAINING).write_text(json.dumps(training))
    data = json.loads((made.path / artifact.DATA).read_text())
    data["sizes"]["train"]["monocyte"] += 7
    (made.path / artifact.DATA).write_text(json.dumps(data))
    sealed = artifact.seal(made.path)
    log_evaluation(sealed, s, load_params(s.root / "params.yaml"))
    return registry.register(sealed, s)


def refuse(number: int, s: Settings) -> None:
    p = load_params(s.root / "params.yaml")
    new, old = (contend(n, registry.artefact_of(n, s), s, p) for n in (number, 2))
    decision = decide(new, old, p.promotion)
    assert not decision.promoted
    registry.annotate(number, s, tags=annotation(decision))
    trail.record(approval.decided(decision, registry.version(s, number).artefact_digest), s)


@pytest.fixture(scope="module")
def written(s: Settings) -> dict[int, Path]:
    return {number: write(number, s.state / "dossiers" / f"v{number}", s).parent for number in range(1, 6)}


def page_of(folder: Path) -> str:
    return (folder / "index.html").read_text(encoding="utf-8")


def words_of(folder: Path) -> str:
    """What a reader sees, whatever markup stands in between."""
    return " ".join(unescape(re.sub(r"<[^>]*>", "", page_of(folder).partition("</style>")[2])).split())


def dossier_of(folder: Path) -> Dossier:
    return Dossier.model_validate_json((folder / "dossier.json").read_bytes())


def test_a_folder_has_all_its_files_and_their_digests(s: Settings, written: dict[int, Path]) -> None:
    present = {number: {path.name for path in folder.iterdir()} for number, folder in written.items()}
    assert present[1] == present[2] == present[3] == present[5] == set(FILES)
    assert set(FILES) - present[4] == {"decision.json"}
    for number, folder in written.items():
        digests = json.loads((folder / "digests.json").read_bytes())
        assert digests.keys() == present[number] - {"digests.json"}
        for name, digest in digests.items():
            assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name
        artefact = registry.artefact_of(number, s)
        for card in ("card.html", "card.md"):
            assert (folder / card).read_bytes() == (artefact / card).read_bytes()


@pytest.mark.parametrize("number", range(1, 6))
def test_every_number_on_the_page_stands_in_the_dossier(written: dict[int, Path], number: int) -> None:
    folder = written[number]
    html = page_of(folder)
    links = {f"loaded from elsewhere: {name}" for name in FILES if name != "index.html" and (folder / name).is_file()}
    assert set(faults(folder, html)) == links
    assert len(read(html).shown) > 100


def test_the_trail_is_the_lines_of_the_log(s: Settings, written: dict[int, Path]) -> None:
    kept = s.audit_log.read_text().splitlines()
    lines = (written[2] / "trail.jsonl").read_text().splitlines()
    assert set(lines) < set(kept)
    assert all(read_line(line)[0] is None for line in lines)
    told = [json.loads(line)["event"]["kind"] for line in lines]
    its_own = ["data version", "training", "decision", "release begun", "release", "approval"]
    assert [kind for kind in told if kind != "look"] == its_own
    assert "look" in told
    first = [json.loads(line)["event"] for line in (written[1] / "trail.jsonl").read_text().splitlines()]
    releases = [event for event in first if event["kind"] == "release"]
    assert [event["version"] for event in releases] == [1, 2], "what ended its service is of its trail too"
    third = [json.loads(line)["event"] for line in (written[3] / "trail.jsonl").read_text().splitlines()]
    assert [event["kind"] for event in third] == ["look", "decision"]
    assert third[0]["version"] == 3
    dossier = dossier_of(written[2])
    head = json.loads(kept[-1])
    assert dossier.head is not None
    assert (dossier.head.number, dossier.head.hash) == (head["number"], head["hash"])
    assert [line.line for line in dossier.trail] == lines


def test_the_decision_is_the_one_that_was_recorded(s: Settings, written: dict[int, Path]) -> None:
    kept = json.loads(registry.version(s, 3).tags[DECISION])
    assert json.loads((written[3] / "decision.json").read_bytes()) == kept
    page = words_of(written[3])
    assert kept["summary"] in page
    assert all(criterion["sentence"] in page for criterion in kept["criteria"])
    assert page.count("not met") >= sum(not criterion["passed"] for criterion in kept["criteria"]) > 0
    assert "by the policy" in page
    assert f"It is entry {dossier_of(written[3]).decision_entry} of the audit log" in page


def test_a_decision_that_the_log_does_not_have_is_said(s: Settings) -> None:
    kept = registry.version(s, 3).tags[DECISION]
    try:
        registry.annotate(3, s, tags={DECISION: kept.replace('"refused"', '"promoted"', 1)})
        assert gather(3, s).decision_entry is None
        page = words_of(write(3, s.state / "edited", s).parent)
    finally:
        registry.annotate(3, s, tags={DECISION: kept})
    assert "The audit log has no such decision about this version" in page


def test_services_are_told_apart(written: dict[int, Path]) -> None:
    found = [dossier_of(written[number]).service for number in (1, 2, 3)]
    assert found == [Service.BEFORE, Service.NOW, Service.NEVER]


def test_the_bill_is_of_the_version_s_own_lock(s: Settings, written: dict[int, Path]) -> None:
    bills = {}
    for number, folder in written.items():
        text = (folder / "sbom.cdx.json").read_text()
        assert JsonStrictValidator(SCHEMA).validate_str(text) is None
        bills[number] = json.loads(text)
    root = bills[2]["metadata"]["component"]
    digest = registry.version(s, 2).artefact_digest
    assert (root["type"], root["version"]) == ("machine-learning-model", "2")
    assert root["hashes"] == [{"alg": "SHA-256", "content": digest}]
    components = {found["purl"]: found for found in bills[2]["components"]}
    lock = (ROOT / LOCK).read_text()
    blocks = re.findall(r"^([\w.-]+)==(\S+)[^\n]*\n((?: +--hash[^\n]*\n)+)", lock, flags=re.MULTILINE)
    # a package may stand there twice, for different versions of Python
    assert components.keys() == {f"pkg:pypi/{name}@{version}" for name, version, _ in blocks}
    for name, version, hashes in blocks:
        found = components[f"pkg:pypi/{name}@{version}"]
        assert found["name"] == name
        assert {h["content"] for h in found["hashes"]} == set(re.findall(r"sha256:(\w{64})", hashes))
    # the lock was changed before version 3, and again before version 5, uncommitted
    numpys = [next(c["version"] for c in bill["components"] if c["name"] == "numpy")[0] for bill in bills.values()]
    assert numpys == ["2", "2", "9", "8", "8"]
    certain = [dossier_of(folder).dependencies.certain for folder in written.values()]
    assert certain == [True, True, True, False, False]


def test_what_changed_since_the_champion_before(s: Settings, written: dict[int, Path]) -> None:
    found = dossier_of(written[3]).since
    assert found is not None
    assert found.previous is not None
    assert found.version == found.previous.version == 2
    scores = Scores.model_validate_json((registry.artefact_of(2, s) / "metrics.json").read_bytes())
    assert found.previous.accuracy == scores.test.accuracy
    assert found.params is not None
    assert {change.name: (change.before, change.this) for change in found.params} == {
        "augmentation.blur": (0.5, 0.25),
        f"augmentation.{SCRIPT}": (None, SCRIPT),
    }
    assert found.data is not None
    assert [(c.part, c.cell_type, c.this - c.before) for c in found.data] == [("train", "monocyte", 7)]
    assert found.code is not None
    assert [line.partition(" ")[2] for line in found.code.commits] == [f"another network {SCRIPT}"]
    assert any("network.py" in line for line in found.code.files)
    page = words_of(written[3])
    assert f"Data version {'d' * 32}, before {found.previous.data_version}." in page
    for said in ("augmentation.blur 0.25 0.5", "network.py", "balanced accuracy", "train, monocyte"):
        assert said.replace(" ", "") in page.replace(" ", ""), said
    assert dossier_of(written[2]).since == gather(2, s).since
    assert "The code of both commits is the same" in words_of(written[2])


def test_what_is_missing_is_a_sentence(s: Settings, written: dict[int, Path]) -> None:
    assert dossier_of(written[1]).since is None
    assert "Nobody answered before this version." in words_of(written[1])
    page = words_of(written[4])
    for said in (
        "Nobody decided about this version",
        "git does not know that commit here",
        f"{LOCK} as it is here now, because git does not know the commit {STRANGER} here",
        "It was neither released nor held against a champion",
        "it never answered",
    ):
        assert said in page, said


def test_code_that_nobody_committed_is_a_sentence(s: Settings, written: dict[int, Path]) -> None:
    found, page = dossier_of(written[5]), words_of(written[5])
    commit = found.spec.git_commit.removesuffix("-dirty")
    assert f"as it is here now, because files differed from the commit {commit}" in page
    assert found.since is not None
    assert found.since.code is not None
    (gap,) = found.since.gaps
    assert f"Files differed from the commit {commit} when a version was trained" in gap
    assert gap in page
    for ask in (commits.between, commits.changed):
        with pytest.raises(VersioningError, match="Fetch what is missing"):
            ask(s.root, STRANGER, commit)


def test_a_champion_that_cannot_be_read_is_a_sentence(s: Settings) -> None:
    place = registry.artefact_of(2, s) / artifact.METRICS
    kept = place.read_bytes()
    try:
        place.write_bytes(kept + b" ")
        page = words_of(write(3, s.state / "without", s).parent)
        with pytest.raises(ArtefactInvalid, match=r"metrics\.json was altered"):
            write(2, s.state / "altered", s)
    finally:
        place.write_bytes(kept)
    assert "The artefact of version 2 cannot be read, so nothing is compared with it" in page
    assert not list(s.state.glob("*altered*"))


def test_a_lock_that_is_nowhere_is_a_sentence(s: Settings) -> None:
    lock = s.root / LOCK
    aside = lock.rename(s.root / "aside")
    try:
        folder = write(4, s.state / "lockless", s).parent
    finally:
        aside.rename(lock)
    assert "Not known: git does not know the commit" in words_of(folder)
    assert not (folder / "sbom.cdx.json").exists()
    assert "sbom" not in words_of(folder)


def test_other_people_s_words_become_no_markup(written: dict[int, Path]) -> None:
    for number, place in ((2, "trail"), (3, "params and commits")):
        html = page_of(written[number])
        assert "<script" not in html, place
        assert "&lt;script&gt;alert(1)&lt;/script&gt; **bold** `code`" in html, place
        assert "<script" not in (written[number] / "way.svg").read_text(), place


def test_two_dossiers_of_one_state_differ_by_their_time_alone(s: Settings, tmp_path: Path) -> None:
    first, second = (write(2, tmp_path / name, s).parent for name in ("first", "second"))
    times = [dossier_of(folder).made.isoformat() for folder in (first, second)]
    for name in FILES:
        if name == "digests.json":
            continue
        told = [
            (folder / name).read_text().replace(time.replace("+00:00", ""), "then")
            for folder, time in zip((first, second), times, strict=True)
        ]
        assert told[0] == told[1], name


def test_what_is_there_is_replaced_only_when_asked(s: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "v1"
    write(1, folder, s)
    with pytest.raises(DossierError, match="Replace it with --replace"):
        write(2, folder, s)
    assert dossier_of(folder).version == 1
    killed = tmp_path / ".v1.building"
    killed.mkdir()
    (killed / "index.html").write_text("half of it")
    write(2, folder, s, replace=True)
    assert dossier_of(folder).version == 2
    assert [path.name for path in tmp_path.iterdir()] == ["v1"]


def test_a_folder_of_other_things_is_left_alone(s: Settings, tmp_path: Path) -> None:
    thesis = tmp_path / "thesis.txt"
    thesis.write_text("four years")
    with pytest.raises(DossierError, match="left alone"):
        write(1, tmp_path, s, replace=True)
    assert thesis.read_text() == "four years"
    with pytest.raises(DossierError, match="no folder"):
        write(1, thesis, s, replace=True)
    with pytest.raises(DossierError, match="no folder"):
        write(1, thesis / "below", s)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert write(1, empty, s).is_file()


def test_the_command(s: Settings, tmp_path: Path) -> None:
    def run(*words: str, expected: int = 0) -> str:
        command = [sys.executable, "-m", "bloodyspy.cli", "dossier", *words]
        done = subprocess.run(command, cwd=s.root, capture_output=True, text=True, timeout=120)
        assert done.returncode == expected, done.stdout + done.stderr
        return done.stdout + done.stderr

    assert str(tmp_path / "two" / "index.html") in run("2", "--to", str(tmp_path / "two"))
    assert "--replace" in run("2", "--to", str(tmp_path / "two"), expected=1)
    assert "no version 7" in run("7", expected=1)
    assert not (s.state / "dossiers" / "v7").exists()
