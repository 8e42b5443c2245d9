"""git: whether a commit is known, what it said, what changed since, and notes that anchor the audit log."""

import subprocess
from pathlib import Path

from bloodyspy.errors import VersioningError

NOTES = "refs/notes/bloodyspy-audit"
"""Pushed to another machine (``git push origin refs/notes/bloodyspy-audit``), it is out of reach of who writes here."""


def is_known(root: Path, commit: str) -> bool:
    """Whether the repository has a commit."""
    return _git(root, "cat-file", "-e", f"{commit}^{{commit}}").returncode == 0


def file_at(root: Path, commit: str, path: str) -> str | None:
    """A file's text as it was in a commit; None where the commit has none of that name."""
    shown = _git(root, "show", f"{commit}:{path}")
    return shown.stdout if shown.returncode == 0 else None


def between(root: Path, old: str, new: str) -> list[str]:
    """The commits that ``new`` has and ``old`` has not, newest first, a line each.

    Raises:
        VersioningError: git does not know one of them.
    """
    return _lines(root, "log", "--oneline", "--no-decorate", "--no-color", f"{old}..{new}")


def changed(root: Path, old: str, new: str) -> list[str]:
    """The files that differ between two commits, as ``git diff --stat`` tells them.

    Raises:
        VersioningError: git does not know one of them.
    """
    return _lines(root, "diff", "--stat=100", "--no-color", "--no-ext-diff", old, new)


def add_note(root: Path, line: str) -> str:
    """Append a line to the note of the checked-out commit.

    Returns:
        The commit.

    Raises:
        VersioningError: there is no commit, or git cannot write.
    """
    head = _git(root, "rev-parse", "HEAD")
    done = _git(root, "notes", f"--ref={NOTES}", "append", "-m", line, "HEAD") if head.returncode == 0 else head
    if done.returncode != 0:
        raise VersioningError(f"git cannot keep a note in {root}: {done.stderr.strip()} Commit something there first.")
    return head.stdout.strip()


def notes(root: Path) -> list[tuple[str, str]]:
    """Every line of every note, with the commit that it is on.

    Raises:
        VersioningError: there is no repository, or a note cannot be read.
    """
    if not _said(root, "for-each-ref", NOTES).strip():
        return []
    commits = [line.split()[1] for line in _said(root, "notes", f"--ref={NOTES}", "list").splitlines()]
    shown = [(commit, _said(root, "notes", f"--ref={NOTES}", "show", commit)) for commit in commits]
    return [(commit, line) for commit, text in shown for line in text.splitlines() if line.strip()]


def _said(root: Path, *arguments: str) -> str:
    done = _git(root, *arguments)
    if done.returncode != 0:
        raise VersioningError(f"`git {' '.join(arguments)}` in {root} failed: {done.stderr.strip()}")
    return done.stdout


def _lines(root: Path, *arguments: str) -> list[str]:
    done = _git(root, *arguments)
    if done.returncode != 0:
        raise VersioningError(f"git {arguments[0]} failed in {root}: {done.stderr.strip()} Fetch what is missing.")
    return done.stdout.splitlines()


def _git(root: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, errors="replace", timeout=60, check=False
        )
    except (OSError, subprocess.SubprocessError) as exc:
        raise VersioningError(f"git cannot be run in {root}: {exc}. Install it.") from exc
