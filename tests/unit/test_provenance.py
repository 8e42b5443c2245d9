"""Which code made a model."""

import re
import subprocess
from pathlib import Path

import pytest

from bloodyspy.model.provenance import git_commit


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "A. Person")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "person@example.org")
    for name in ("code.py", "dvc.lock"):
        (tmp_path / name).write_text("first\n")
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "First"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    return tmp_path


def test_a_clean_checkout_is_told_by_its_commit(repository: Path) -> None:
    assert re.fullmatch(r"[0-9a-f]{40}", git_commit(repository))


def test_changed_code_is_told_but_not_the_lock_that_every_run_rewrites(repository: Path) -> None:
    clean = git_commit(repository)
    (repository / "dvc.lock").write_text("second\n")
    (repository / "untracked").write_text("new\n")
    assert git_commit(repository) == clean
    (repository / "code.py").write_text("second\n")
    assert git_commit(repository) == f"{clean}-dirty"


def test_outside_a_repository_the_commit_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_commit(tmp_path) == "unknown"


def test_without_git_the_commit_is_unknown(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(repository))
    assert git_commit(repository) == "unknown"
