"""What every test may use: a project folder of its own, its params, the real images where they are."""

import os
import shutil
import signal
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).parents[1]

# Tools write to the home folder unless told otherwise; their threads must not fight over two cores.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("OMP_NUM_THREADS", "2")
# Readline tells these to the workers that run the tests, and then no test says how wide the terminal of a command is.
for name in ("COLUMNS", "LINES"):
    os.environ.pop(name, None)
# Started in the background by a shell, the tests would ignore interrupts, and so would every command they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says nothing on a shared machine.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

from bloodyspy.params import Params, load_params  # noqa: E402  (the environment comes first)
from bloodyspy.settings import Settings, load_settings  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def _homes(tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.mktemp("homes")
    for name in (
        "KERAS_HOME",
        "MPLCONFIGDIR",
        "PREFECT_HOME",
        "BENTOML_HOME",
        "DVC_SITE_CACHE_DIR",
        "DVC_GLOBAL_CONFIG_DIR",
    ):
        os.environ[name] = str(home / name.lower())


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with ``pbc`` and ``other-labs``; named by BLOODYSPY_TEST_DATA, by default beside the checkout."""
    place = Path(os.environ.get("BLOODYSPY_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not (place / "pbc").is_dir():
        pytest.skip(f"no real images: {place}/pbc is absent (set BLOODYSPY_TEST_DATA)")
    return place.resolve()


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of an empty project in tmp_path, with the committed params.yaml; the working directory is there."""
    project = tmp_path / "project"
    project.mkdir()
    shutil.copy(ROOT / "params.yaml", project)
    for name in list(os.environ):
        if name.startswith("BLOODYSPY_") and name != "BLOODYSPY_TEST_DATA":
            monkeypatch.delenv(name)
    monkeypatch.setenv("BLOODYSPY_ROOT", str(project))
    monkeypatch.chdir(project)
    return load_settings()


@pytest.fixture
def params() -> Params:
    """The committed params.yaml."""
    return load_params(ROOT / "params.yaml")
