"""A project of its own for what is measured on real images: a clone of this commit under var/, the images imported.

It runs the real stages (`dvc repro`) with its own params.yaml, and goes on where it was broken off.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import yaml

from bloodyspy.settings import Settings

IMAGES = Path(os.environ.get("BLOODYSPY_TEST_DATA", "../shared/data"))
"""Folder of real images, as the tests know it: ``pbc/<class>/``, ``other-labs/<name>/<class>/``."""

Changes = dict[str, object]


def laboratory(
    name: str,
    candidates: dict[str, Changes],
    external: tuple[str, ...] = (),
    inputs: dict[str, dict[str, int]] | None = None,
    trained_in: str | None = None,
) -> Settings:
    """Clone, import and declare.

    Args:
        name: of the folder under var/benchmarks.
        candidates: by name, what differs from the candidate of params.yaml that ``base`` names.
        external: folders below ``other-labs`` that the evaluation measures as well.
        inputs: declared beside those of params.yaml.
        trained_in: another laboratory whose trainings are used, where it is there: its DVC cache, and copies of its
            MLflow database and audit log as they were when this one was first laid out.

    Returns:
        Settings of the clone.
    """
    here, root = Path.cwd(), Path.cwd() / "var" / "benchmarks" / name
    images = real_images()
    s = cloned(root)
    committed(here)
    if trained_in is not None and (cache := root.with_name(trained_in) / ".dvc" / "cache").is_dir():
        _run(root, "dvc", "cache", "dir", "--local", str(cache))
        _copy_memory(Settings(root=root.with_name(trained_in)), s)
    others = {one: str(images / "other-labs" / one) for one in external}
    declare(s, candidates, inputs, evaluation={"external": others})
    if not (root / "data" / "dataset.json").exists():
        _run(root, "bloodyspy", "data", "import", str(images / "pbc"), "--replace", shown=True)
    _run(root, "dvc", "add", "--quiet", "data")
    return s


def real_images() -> Path:
    """The folder of :data:`IMAGES`; without it nothing is measured."""
    images = IMAGES.resolve()
    if not (images / "pbc").is_dir():
        sys.exit(
            f"There are no real images at {images / 'pbc'}: set BLOODYSPY_TEST_DATA to the folder that holds pbc/."
        )
    return images


def cloned(root: Path, here: Path | None = None) -> Settings:
    """This commit in a folder; what runs there is the clone's own code.

    Args:
        root: the folder; where a clone is there already, it goes to this commit, and its files are as committed.
        here: the checkout; by default the working directory.
    """
    here = here or Path.cwd()
    if not (root / ".git").is_dir():
        _run(here, "git", "clone", "--quiet", str(here), str(root))
    _run(root, "git", "fetch", "--quiet", "origin", commit(here, short=False))
    _run(root, "git", "reset", "--quiet", "--hard", "FETCH_HEAD")
    return Settings(root=root)


def committed(here: Path) -> None:
    """End where what is measured is no commit."""
    if changed := _run(
        here, "git", "status", "--porcelain", "bloodyspy", "benchmarks", "dvc.yaml", "params.yaml"
    ).strip():
        sys.exit(f"A number belongs to a commit: commit this first.\n{changed}")


def declare(
    s: Settings,
    candidates: dict[str, Changes],
    inputs: dict[str, dict[str, int]] | None = None,
    **sections: Changes,
) -> None:
    """Rewrite the laboratory's params.yaml.

    Args:
        s: of the laboratory.
        candidates, inputs: as :func:`laboratory` takes them.
        sections: what differs in other sections, by their keys.
    """
    params = s.root / "params.yaml"
    content = yaml.safe_load(params.read_text(encoding="utf-8"))
    known = content["candidates"]
    content["candidates"] = {
        one: {**known[str(changes["base"])], **{key: value for key, value in changes.items() if key != "base"}}
        for one, changes in candidates.items()
    }
    content["tuning"] = {}
    used = {str(candidate["input"]) for candidate in content["candidates"].values()}
    declared = {**content["inputs"], **(inputs or {})}
    content["inputs"] = {one: spec for one, spec in declared.items() if one in used}
    params.write_text(yaml.safe_dump(_changed(content, sections), sort_keys=False), encoding="utf-8")


def repro(settings: Settings, *stages: str) -> None:
    """``dvc repro`` of some stages, its output on the terminal."""
    _run(settings.root, "dvc", "repro", *stages, shown=True)


def command(settings: Settings, *words: str, given: str | None = None, **environment: str) -> str:
    """A command of the platform in the laboratory, with the laboratory's own code; what it printed.

    Args:
        settings: of the laboratory.
        words: of the command.
        given: to its standard input.
        environment: variables beside this process's own.
    """
    return _run(settings.root, *words, given=given, **environment)


def commit(root: Path, *, short: bool = True) -> str:
    """The commit that is measured."""
    return _run(root, "git", "rev-parse", *(["--short"] if short else []), "HEAD").strip()


def _copy_memory(known: Settings, here: Settings) -> None:
    source, copy = (s.state / "mlflow.db" for s in (known, here))
    if not source.exists() or copy.exists():
        return
    copy.parent.mkdir(parents=True, exist_ok=True)
    if known.audit_log.exists():
        shutil.copyfile(known.audit_log, here.audit_log)
    with closing(sqlite3.connect(source)) as runs, closing(sqlite3.connect(copy)) as copied:
        runs.backup(copied)


def _changed(known: Changes, changes: Changes) -> Changes:
    inside = {
        key: _changed(old, value) if isinstance(old := known.get(key), dict) and isinstance(value, dict) else value
        for key, value in changes.items()
    }
    return {**known, **inside}


def _run(root: Path, *command: str, shown: bool = False, given: str | None = None, **environment: str) -> str:
    # The package is installed from the working tree, which goes on changing: what runs here is the clone's own.
    own = {**os.environ, "PYTHONPATH": str(root), **environment}
    told = None if shown else subprocess.PIPE
    done = subprocess.run(command, cwd=root, env=own, stdout=told, input=given, text=True)
    if done.returncode:
        sys.exit(f"`{' '.join(command)}` in {root} failed: what is measured stands or falls with it.")
    return done.stdout or ""
