"""BentoML's stores: what is put there, twice or killed half-way, and a built bento that answers on its own."""

import json
import os
import signal
import subprocess
import sys
import sysconfig
import time
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import yaml
from handmade import make_artefact
from PIL import Image
from running import NAME, PASSWORD, ROOT, served

from bloodyspy.adapters import packaging
from bloodyspy.errors import ArtefactInvalid, ServiceError
from bloodyspy.model.artifact import Artefact
from bloodyspy.model.classifier import Classifier
from bloodyspy.model.release import read_release
from bloodyspy.serving.accounts import add_user
from bloodyspy.settings import Settings

# BentoML 1.4 asks pathspec for a pattern by its old name.
pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")


@pytest.fixture
def artefact(tmp_path: Path) -> Artefact:
    return make_artefact(tmp_path / "artefact", "a" * 32)


def home(settings: Settings) -> Path:
    assert settings.bentoml_home is not None
    return settings.bentoml_home


def test_the_artefact_is_stored_unchanged_and_once(settings: Settings, artefact: Artefact) -> None:
    assert packaging.store(artefact.path, 3, settings) == "bloodyspy:v3"
    stored = home(settings) / "models" / "bloodyspy" / "v3"
    for name in artefact.files:
        assert (stored / name).read_bytes() == (artefact.path / name).read_bytes()
    before = (stored / "model.yaml").stat().st_mtime_ns
    assert packaging.store(artefact.path, 3, settings) == "bloodyspy:v3"
    assert (stored / "model.yaml").stat().st_mtime_ns == before
    information = yaml.safe_load((stored / "model.yaml").read_text())
    assert information["metadata"] == {"version": 3, "run_id": "a" * 32, "digest": artefact.digest}
    listed = subprocess.run(
        [sys.executable, "-m", "bentoml", "models", "list", "--output", "json"],
        env={**os.environ, "BENTOML_HOME": str(home(settings))},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert [model["tag"] for model in json.loads(listed.stdout)] == ["bloodyspy:v3"]


def test_a_version_is_never_overwritten(settings: Settings, artefact: Artefact, tmp_path: Path) -> None:
    packaging.store(artefact.path, 1, settings)
    other = make_artefact(tmp_path / "other", "b" * 32, seed=1)
    with pytest.raises(ServiceError, match="bentoml models delete bloodyspy:v1"):
        packaging.store(other.path, 1, settings)
    assert Artefact.open(home(settings) / "models" / "bloodyspy" / "v1").digest == artefact.digest


@pytest.mark.parametrize("harm", ["missing", "cut", "empty"])
def test_what_was_damaged_in_the_store_is_stored_again(settings: Settings, artefact: Artefact, harm: str) -> None:
    packaging.store(artefact.path, 1, settings)
    stored = home(settings) / "models" / "bloodyspy" / "v1"
    if harm == "missing":
        (stored / "graph.onnx").unlink()
    elif harm == "cut":
        (stored / "graph.onnx").write_bytes(b"ONN")
    else:
        for path in stored.iterdir():
            path.unlink()
    packaging.store(artefact.path, 1, settings)
    assert Artefact.open(stored).digest == artefact.digest


def test_only_whole_artefacts_are_stored(settings: Settings, artefact: Artefact) -> None:
    (artefact.path / "card.md").write_text("# another card\n")
    with pytest.raises(ArtefactInvalid, match=r"card\.md"):
        packaging.store(artefact.path, 1, settings)


def test_only_what_is_stored_is_built_and_told(settings: Settings) -> None:
    for step in (packaging.build, packaging.tell):
        with pytest.raises(ServiceError, match="Store it first"):
            step(7, settings)
    assert not settings.release.exists()


def test_the_service_is_told(settings: Settings, artefact: Artefact) -> None:
    packaging.store(artefact.path, 4, settings)
    packaging.tell(4, settings)
    release = read_release(settings.release)
    assert (release.version, release.model, release.run_id) == (4, "bloodyspy:v4", "a" * 32)
    assert Artefact.open(home(settings) / release.path).digest == release.digest == artefact.digest
    assert [path.name for path in settings.state.iterdir() if path.is_file()] == ["release.json"]


def test_bentomls_own_words_are_passed_on(
    settings: Settings, artefact: Artefact, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    packaging.store(artefact.path, 1, settings)
    (tmp_path / "bentofile.yaml").write_text("service: no_such_module:Service\n")
    monkeypatch.setattr(packaging, "SOURCE", tmp_path)
    with pytest.raises(ServiceError, match="no_such_module"):
        packaging.build(1, settings)
    (tmp_path / "bentofile.yaml").unlink()
    with pytest.raises(ServiceError, match="checkout"):
        packaging.build(1, settings)
    assert not (home(settings) / "bentos" / "bloodyspy" / "v1").exists()


def picture() -> bytes:
    stream = BytesIO()
    Image.fromarray(np.full((90, 90, 3), (200, 150, 190), np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def whole(src: Path, packed: set[str], settings: Settings) -> str:
    """Import every packed module, with the packages of this environment; where they came from.

    Without the environment's .pth lines, which put the checkout's own modules before those that were packed.
    """
    names = sorted(name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in packed)
    program = (
        f"import importlib, sys; sys.path[:0] = [{str(src)!r}]; sys.path.append({sysconfig.get_path('purelib')!r}); "
        f"[importlib.import_module(name) for name in {names!r}]; print(importlib.import_module('bloodyspy').__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program],
        env={**os.environ, "BENTOML_HOME": str(home(settings)), "BLOODYSPY_ROOT": str(settings.root)},
        cwd=src.parent,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_a_killed_build_is_begun_again_and_the_bento_answers_on_its_own(
    settings: Settings, artefact: Artefact, tmp_path: Path
) -> None:
    packaging.store(artefact.path, 2, settings)
    bento = home(settings) / "bentos" / "bloodyspy" / "v2"
    program = "from bloodyspy.adapters import packaging, packaging as p; from bloodyspy.settings import load_settings; "
    for delay in (0.5, 1.5, 2.5):
        process = subprocess.Popen(
            [sys.executable, "-c", program + "p.build(2, load_settings())"],
            env={**os.environ, "BLOODYSPY_ROOT": str(settings.root)},
            cwd=ROOT,
            start_new_session=True,
        )
        time.sleep(delay)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert not bento.exists() or (bento / "bento.yaml").exists()
    assert packaging.build(2, settings) == "bloodyspy:v2"
    before = (bento / "bento.yaml").stat().st_mtime_ns
    assert packaging.build(2, settings) == "bloodyspy:v2"
    assert (bento / "bento.yaml").stat().st_mtime_ns == before
    assert not (home(settings) / "staging").exists()

    requirements = (bento / "env" / "python" / "requirements.txt").read_text()
    assert "--hash=sha256:" in requirements
    for foreign in ("tensorflow", "mlflow", "pandas", "dvc", "evidently", "prefect"):
        assert f"\n{foreign}" not in requirements
    packed = {path.relative_to(bento / "src").as_posix() for path in (bento / "src").rglob("*.py")}
    assert "bloodyspy/serving/service.py" in packed
    assert not [name for name in packed if name.startswith(("tests", "monitoring", "pipelines", "bloodyspy/adapters"))]
    assert whole(bento / "src", packed, settings) == str(bento / "src" / "bloodyspy" / "__init__.py")
    text = "\n".join(path.read_text() for path in bento.rglob("*") if path.suffix in (".yaml", ".json", ".txt"))
    assert str(ROOT) not in text
    assert str(tmp_path) not in text

    # Another release is told: the bento keeps to the model that was packed.
    other = make_artefact(tmp_path / "other", "b" * 32, seed=1)
    packaging.store(other.path, 3, settings)
    packaging.tell(3, settings)
    add_user(tmp_path / "users.json", NAME, PASSWORD)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {
        "BENTOML_HOME": str(home(settings)),
        "BLOODYSPY_ROOT": str(elsewhere),
        "BLOODYSPY_STATE": str(settings.state),
        "BLOODYSPY_USERS_FILE": str(tmp_path / "users.json"),
        "BLOODYSPY_OBSERVATIONS": str(elsewhere / "observations"),
    }
    with served(elsewhere / "log", environment, "bloodyspy:v2") as service, service.client() as client:
        answer = client.post("/v1/classify", files={"file": ("a.png", picture())}).json()
        assert answer["model_version"] == 2
        assert answer["run_id"] == "a" * 32
        expected = Classifier(artefact).observe(picture())
        assert tuple(answer["results"][0]["probabilities"].values()) == pytest.approx(expected.probabilities, abs=1e-7)
        assert client.get("/docs").status_code == 200
    (log,) = (elsewhere / "observations").glob("*/*.jsonl")
    (row,) = log.read_text().splitlines()
    assert json.loads(row)["model_version"] == 2
    assert not (bento / "src" / "monitoring").exists()


def test_a_bento_is_built_by_hand(settings: Settings, artefact: Artefact) -> None:
    packaging.store(artefact.path, 1, settings)
    done = subprocess.run(
        [sys.executable, "-m", "bentoml", "build", "--version", "mine"],
        cwd=ROOT,
        env={**os.environ, "BENTOML_HOME": str(home(settings))},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    bento = yaml.safe_load((home(settings) / "bentos" / "bloodyspy" / "mine" / "bento.yaml").read_text())
    assert [(model["tag"], model["alias"]) for model in bento["models"]] == [("bloodyspy:v1", "served")]
