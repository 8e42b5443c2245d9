"""One fresh clone, made ready by the README's first command, for every end-to-end test."""

import subprocess
import sys
from pathlib import Path

import pytest
from story import Clone, environment

ROOT = Path(__file__).parents[2]


def hurry(folder: Path) -> None:
    """Fewer pictures in the stress suite, by a commit of the clone's own: minutes of each evaluation, nothing else."""
    params = folder / "params.yaml"
    text = params.read_text(encoding="utf-8")
    fewer = text.replace("stress_per_class: 25", "stress_per_class: 5")
    assert fewer != text
    params.write_text(fewer, encoding="utf-8")
    subprocess.run(
        ["git", "commit", "--quiet", "--all", "--message", "Fewer pictures in the stress suite"],
        cwd=folder,
        env=environment(folder),
        check=True,
    )


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    folder = tmp_path_factory.mktemp("story") / "BloodySpy"
    subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
    hurry(folder)
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
