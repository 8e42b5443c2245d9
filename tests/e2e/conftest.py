"""One fresh clone, made ready by the README's first command, for every end-to-end test."""

import subprocess
import sys
from pathlib import Path

import pytest
from story import Clone, environment

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    folder = tmp_path_factory.mktemp("story") / "BloodySpy"
    subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
    done = subprocess.run(
        ["make", "lifecycle", f"PYTHON={sys.base_prefix}/bin/python3"],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=2400,
    )
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
    return Clone(folder, done.stdout)
