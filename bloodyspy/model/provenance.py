"""Which code made a model."""

import subprocess
from pathlib import Path

UNKNOWN, DIRTY = "unknown", "-dirty"


def git_commit(root: Path) -> str:
    """The checked-out commit, 40 hex digits.

    Followed by ``-dirty`` where tracked files differ from it (dvc.lock apart, which every run of the graph rewrites);
    ``unknown`` outside a git repository, in one without commits, or where git is not installed.
    """
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)dvc.lock")
    except (OSError, subprocess.SubprocessError):
        return UNKNOWN
    return commit + DIRTY if changed else commit


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()
