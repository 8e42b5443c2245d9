"""DVC, by its command line in the same environment. What it prints is logged line by line, so progress can be seen."""

import fcntl
import hashlib
import json
import logging
import os
import re
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import yaml

from bloodyspy import leash
from bloodyspy.dataset.version import data_version, read_dataset
from bloodyspy.errors import DataMissing, VersioningError
from bloodyspy.settings import Settings

logger = logging.getLogger(__name__)

SYNTHETIC = "synthetic"
BUSY_PATIENCE = 30.0  # seconds: a DVC command whose holder was killed needs up to five to end

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_RAN = re.compile(r"^Running stage '([^']+)'")
_RESTORED = re.compile(r"^Stage '([^']+)' is cached")
_UNCHANGED = re.compile(r"^Stage '([^']+)' didn't change")
_BUSY = "it is being blocked by"
_NOWHERE = "do not exist neither locally nor on remote"


@dataclass(frozen=True, slots=True)
class Reproduction:
    """What ``dvc repro`` did, stage by stage."""

    ran: tuple[str, ...]
    restored: tuple[str, ...]
    """Not run: the same inputs had been seen before, the outputs came from the cache."""
    unchanged: tuple[str, ...]


def add_data(s: Settings, expected: str | None = None) -> str:
    """Record ``data/`` in data.dvc, with the names of its sources; nothing changes where it is recorded already.

    Args:
        s: where things are.
        expected: the version that must come out; where another does, data.dvc stays as it was.

    Returns:
        The data version.

    Raises:
        DataMissing: there is no data/.
        VersioningError: DVC failed, or the version is not the expected one.
    """
    if not s.data.is_dir():
        raise DataMissing(s.data, "bloodyspy data import SOURCE")
    pointer = s.root / "data.dvc"
    before = pointer.read_bytes() if pointer.is_file() else b""
    _dvc(s, "add", "data")
    if expected is not None and (found := data_version(s.root)) != expected:
        pointer.write_bytes(before)
        _pulling(s).parent.mkdir(parents=True, exist_ok=True)
        _pulling(s).touch()  # the next run must not take what is in data/ now for what data.dvc names
        raise VersioningError(
            f"data/ was drawn anew and came out as {found}, but data.dvc names {expected}: `synthetic` in params.yaml "
            "is another one, or data.dvc names photographs. To keep the drawing, run `python -m pipelines version-data "
            "--data synthetic`; to have what data.dvc names, name the remote that holds it."
        )
    content = yaml.safe_load(pointer.read_text(encoding="utf-8"))
    sources = {"sources": [source.name for source in read_dataset(s.data).sources]}
    if content.get("meta") != sources:
        # DVC keeps `meta` as it is; whoever clones reads there whether the data can be drawn anew
        new = pointer.with_suffix(".dvc.new")
        new.write_text(yaml.safe_dump({**content, "meta": sources}, sort_keys=False), encoding="utf-8")
        new.replace(pointer)
        _dvc(s, "add", "data")
    _pulling(s).unlink(missing_ok=True)
    return _remember(s)


def is_complete(s: Settings) -> bool:
    """Whether ``data/`` is there, no pull of it was killed half-way, and git has not brought another data.dvc since."""
    recorded = _recorded(s)
    replaced = recorded.is_file() and recorded.read_text(encoding="ascii") != data_version(s.root)
    return s.data.is_dir() and not _pulling(s).exists() and not replaced


def pull_data(s: Settings) -> bool:
    """Bring ``data/`` as data.dvc names it from the cache or the remote; goes on where a killed pull stopped.

    Returns:
        Whether it is there now: False where neither holds it, as on a fresh clone.

    Raises:
        DataMissing: there is no data.dvc.
        VersioningError: DVC failed in another way.
    """
    if not (s.root / "data.dvc").is_file():
        raise DataMissing(s.root / "data.dvc", "bloodyspy data import SOURCE")
    if any(_NOWHERE in line for line in _dvc(s, "fetch", "data.dvc")):  # no error to DVC
        return False
    # Killed while files are laid out, data/ would look whole. Never --force: it takes away what was imported since.
    _pulling(s).parent.mkdir(parents=True, exist_ok=True)
    _pulling(s).touch()
    _dvc(s, "checkout", "data.dvc")
    _pulling(s).unlink()
    _remember(s)
    return True


def is_synthetic(s: Settings) -> bool:
    """Whether what data.dvc names can be drawn anew: its only source is the drawing."""
    content = yaml.safe_load((s.root / "data.dvc").read_text(encoding="utf-8"))
    return bool((content.get("meta") or {}).get("sources") == [SYNTHETIC])


def is_clean(s: Settings, target: str = "data.dvc") -> bool:
    """Whether the workspace agrees with a ``.dvc`` file or a stage (``dvc status``)."""
    return "".join(_dvc(s, "status", "--json", target, quiet=True)[-1:]).strip() == "{}"


@dataclass(frozen=True, slots=True)
class Locked:
    """``dvc.lock``: what the graph last read and wrote, path to MD5; that of a folder ends with ``.dir``."""

    deps: dict[str, str]
    outs: dict[str, str]


def locked(s: Settings) -> Locked:
    """What dvc.lock says; nothing where the graph was never run.

    Raises:
        VersioningError: it is not what DVC writes.
    """
    path = s.root / "dvc.lock"
    if not path.is_file():
        return Locked({}, {})
    try:
        stages = yaml.safe_load(path.read_text(encoding="utf-8"))["stages"].values()
        deps, outs = (
            {str(entry["path"]): str(entry["md5"]) for stage in stages for entry in stage.get(kind, ())}
            for kind in ("deps", "outs")
        )
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError, KeyError, TypeError) as exc:
        raise VersioningError(f"{path} is not what DVC writes ({exc!r}). Restore it, or run `dvc repro`.") from exc
    return Locked(deps, outs)


def listing(s: Settings, digest: str) -> dict[str, str]:
    """The files of a folder as DVC knows it, path below it to MD5, from the cache.

    Args:
        s: where things are.
        digest: of the folder, with its ``.dir``.

    Raises:
        VersioningError: the cache has no such list, or it was altered.
    """
    cache = s.root / _dvc(s, "cache", "dir", quiet=True)[-1] / "files" / "md5"
    path = cache / digest[:2] / digest[2:]
    try:
        content = path.read_bytes()
    except FileNotFoundError as exc:
        raise VersioningError(f"DVC's cache has no list of the files of {digest}. Bring it with `dvc fetch`.") from exc
    if f"{hashlib.md5(content, usedforsecurity=False).hexdigest()}.dir" != digest:
        raise VersioningError(f"{path}: DVC's list of files was altered. Remove it and bring it back: `dvc fetch`.")
    return {str(entry["relpath"]): str(entry["md5"]) for entry in json.loads(content)}


def md5(path: Path) -> str:
    """MD5 of a file's bytes, hex, as DVC keeps it. Who means harm can forge that: the manifest has SHA-256."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def push(s: Settings, target: str | None = None) -> None:
    """Send data and outputs to the default remote: one target, or everything.

    Raises:
        VersioningError: the remote cannot be reached or written to.
    """
    _dvc(s, "push", *([target] if target else []))


def reproduce(s: Settings, stages: tuple[str, ...] = ()) -> Reproduction:
    """Run what is out of date of the graph, or of some stages and what they depend on.

    Raises:
        VersioningError: a stage failed; the message ends with what it said.
    """
    lines = _dvc(s, "repro", *stages)
    return Reproduction(*(_stages(lines, pattern) for pattern in (_RAN, _RESTORED, _UNCHANGED)))


def _stages(lines: list[str], pattern: re.Pattern[str]) -> tuple[str, ...]:
    return tuple(found[1] for line in lines if (found := pattern.match(line)))


def _pulling(s: Settings) -> Path:
    return s.state / "pulling-data"


def _recorded(s: Settings) -> Path:
    """Holds the version that data/ and data.dvc last agreed on."""
    return s.state / "data-version"


def _remember(s: Settings) -> str:
    version = data_version(s.root)
    _recorded(s).parent.mkdir(parents=True, exist_ok=True)
    _recorded(s).write_text(version, encoding="ascii")
    return version


def _dvc(s: Settings, *arguments: str, quiet: bool = False) -> list[str]:
    """Run one DVC command; the lines of its output."""
    deadline = time.monotonic() + BUSY_PATIENCE
    while True:
        _clear_stale_locks(s.root / ".dvc" / "tmp")
        status, lines = _run(s.root, arguments, logging.DEBUG if quiet else logging.INFO)
        if status == 0:
            return lines
        if any(_BUSY in line for line in lines) and time.monotonic() < deadline:
            logger.warning("Another DVC command is at work here; trying again.")
            time.sleep(1)
            continue
        said = "\n".join(f"  {line}" for line in lines[-25:])
        raise VersioningError(
            f"`dvc {' '.join(arguments)}` failed with exit code {status}. Its last lines:\n{said}\n"
            "Put right what they name and run the same command again; what was done is not done twice."
        )


def _run(root: Path, arguments: tuple[str, ...], level: int) -> tuple[int, list[str]]:
    environment = {
        **os.environ,
        # stages call `bloodyspy` by name: it is found beside this interpreter even where the venv is not activated
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "PYTHONUNBUFFERED": "1",
        "BLOODYSPY_ROOT": str(root),
    }
    said: deque[str] = deque(maxlen=5000)
    with subprocess.Popen(
        leash.command(sys.executable, "-m", "dvc", "--wait-for-lock", *arguments),
        cwd=root,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as process:
        assert process.stdout is not None  # asked for above
        assert process.stdin is not None
        try:
            for raw in process.stdout:
                if line := _ANSI.sub("", raw).rstrip():
                    said.append(line)
                    logger.log(level, "%s", line)
        finally:
            process.stdin.close()  # on an interrupt this ends the command; after its end it does nothing
    return process.returncode, list(said)


def _clear_stale_locks(folder: Path) -> None:
    """Remove DVC's table of locked paths where a kill left it unreadable, or held by what is another process by now.

    DVC itself clears entries of processes that no longer exist. It cannot know that a number was given out again (usual
    after a container's restart), and it refuses for ever to read a table that was cut off while being written.
    """
    table = folder / "rwlock"
    if not table.is_file():
        return
    with (folder / "rwlock.lock").open("a") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)  # the lock that DVC itself takes to read or write the table
        try:
            content = json.loads(table.read_text(encoding="utf-8"))
            writers = list(content.get("write", {}).values())
            holders = {int(entry["pid"]) for entry in sum(content.get("read", {}).values(), writers) if entry}
        except (json.JSONDecodeError, AttributeError, KeyError, TypeError):
            holders = set()
            logger.warning("%s was cut off by a kill; it is written anew.", table)
            table.unlink()
        if holders and not any(_is_dvc(pid) for pid in holders):
            logger.warning("A DVC command was killed here; the lock that it left is removed.")
            table.unlink()


def _is_dvc(pid: int) -> bool:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False  # no such process, or none of ours
    return any(Path(os.fsdecode(word)).name == "dvc" for word in command)
