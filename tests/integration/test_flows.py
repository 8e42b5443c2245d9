"""The flows as functions with no server: promotion on a real registry and store, data on a real DVC."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import coloured
import pytest
import yaml
from filelock import FileLock

from bloodyspy.adapters import registry, versioning
from bloodyspy.errors import ArtefactInvalid, DataMissing, PromotionError, RegistryError, VersioningError
from bloodyspy.model.artifact import SPEC, seal
from bloodyspy.model.release import read_release
from bloodyspy.promotion import release
from bloodyspy.promotion.decision import Decision
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


@pytest.fixture(scope="module")
def flows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flows]:
    before = dict(os.environ)
    os.environ["BLOODYSPY_STATE"] = str(tmp_path_factory.mktemp("prefect"))
    from pipelines.check_drift import check_drift
    from pipelines.promote import promote
    from pipelines.version_data import version_data

    os.environ.pop("BLOODYSPY_STATE")
    yield Flows(version_data, promote, check_drift)
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
    assert release.recorded(registry.version(s, 4).tags) == third.decision
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
    spec.write_text(spec.read_text(encoding="utf-8").replace('"format": 2', '"format": 1'), encoding="utf-8")
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
import os, signal
from bloodyspy.adapters import packaging
def build(version, settings):
    os.kill(os.getpid(), signal.SIGKILL)
packaging.build = build
from pipelines.promote import promote
promote()
"""


def test_a_kill_between_alias_and_bento_is_made_good_by_the_same_command(s: Settings, flows: Flows) -> None:
    coloured.candidate(s, "good")
    process = subprocess.Popen([sys.executable, "-c", KILLED], cwd=s.root, start_new_session=True)
    try:
        assert process.wait(180) == -signal.SIGKILL
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # Prefect's ephemeral server outlives it
    champion = registry.champion(s)
    assert champion is not None
    assert champion.number == 1
    assert not s.release.exists()

    done = flows.promote()
    assert done.was_champion
    assert decided(done).promoted
    assert done.bento == "bloodyspy:v1"
    assert s.bentoml_home is not None
    assert (s.bentoml_home / "bentos" / "bloodyspy" / "v1" / "bento.yaml").is_file()
    assert read_release(s.release).version == 1


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
