"""A folder, on this machine's disk or at any other address that fsspec knows."""

import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import fsspec
from filelock import FileLock, Timeout
from fsspec.implementations.local import LocalFileSystem

from bloodyspy.errors import MonitoringError

_PATIENCE = 600.0  # seconds that one waits for another
_ABANDONED = 3600.0  # seconds after which a file at another address, that no record names, is nobody's any more
_WRITING, _LOCK = ".writing", ".lock"


class Place:
    """Files of a folder by their names in it. A name is written once; what is there under it is whole."""

    def __init__(self, address: str) -> None:
        """Nothing is read or written yet.

        Raises:
            MonitoringError: there is no such kind of address, or a library for it is missing.
        """
        self.address = address
        try:
            self.files, root = fsspec.core.url_to_fs(address)
        except (ImportError, ValueError) as exc:
            raise MonitoringError(
                f"The store of observations cannot be at {address}: {exc}. Set BLOODYSPY_OBSERVATION_STORE to a folder "
                "or to an address such as s3://bucket/folder."
            ) from exc
        self._root = str(root).rstrip("/")
        self.local = Path(self._root) if isinstance(self.files, LocalFileSystem) else None
        """The folder, where it is on this machine."""

    def names(self, folder: str = "") -> list[str]:
        """Names of the files below a folder; none where it is not there."""
        self.files.invalidate_cache()
        found = self.files.find(f"{self._root}/{folder}".rstrip("/"))
        names = sorted(str(path)[len(self._root) + 1 :] for path in found)
        return [name for name in names if name != _LOCK and not name.startswith(_WRITING)]

    def url(self, name: str) -> str:
        """The file's whole address."""
        path = f"{self._root}/{name}"
        return path if self.local else str(self.files.unstrip_protocol(path))

    def read(self, name: str) -> bytes:
        """The file's bytes."""
        return bytes(self.files.cat_file(f"{self._root}/{name}"))

    def remove(self, names: list[str]) -> None:
        """Remove files; one that is gone already is none too many."""
        for name in names:
            try:
                self.files.rm_file(f"{self._root}/{name}")
            except FileNotFoundError:
                continue

    @contextmanager
    def new(self, name: str) -> Iterator[Path]:
        """A local file to fill. If the block ends well it is there under ``name``, whole and on the disk."""
        if self.local is None:
            with tempfile.TemporaryDirectory() as scratch:
                file = Path(scratch) / "part"
                yield file
                self.files.put_file(str(file), f"{self._root}/{name}")
            return
        with self._unfinished(self.local) as file:
            yield file
            _sync(file)
            _publish(self.local / name, file.replace)

    def create(self, name: str, content: bytes) -> bool:
        """Write a small file, on the disk when this returns; False where somebody else has taken the name."""
        if self.local is None:
            try:
                self.files.pipe_file(f"{self._root}/{name}", content, mode="create")
            except OSError:  # not every kind of place says FileExistsError
                if self.names(name.rpartition("/")[0]).count(name):
                    return False
                raise
            return True
        with self._unfinished(self.local) as file:
            file.write_bytes(content)
            _sync(file)
            try:
                _publish(self.local / name, lambda target: os.link(file, target))
            except FileExistsError:
                return False
        return True

    def sweep(self, named: set[str]) -> None:
        """Remove what killed processes have left: files that are not named. To be called by who holds the lock."""
        if self.local is not None:
            shutil.rmtree(self.local / _WRITING, ignore_errors=True)
            self.remove([name for name in self.names() if name not in named])
            return
        lost = [name for name in self.names() if name not in named]
        past = time.time() - _ABANDONED  # who writes it may be alive, on another machine
        self.remove([name for name in lost if self.files.modified(f"{self._root}/{name}").timestamp() < past])

    def lock(self) -> AbstractContextManager[object]:
        """Keeps others on this machine waiting while the store is changed; elsewhere the record's number decides.

        Raises:
            MonitoringError: another process has held it for ten minutes.
        """
        return nullcontext() if self.local is None else self._locked(self.local)

    @contextmanager
    def _locked(self, folder: Path) -> Iterator[None]:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(folder / _LOCK, timeout=_PATIENCE):
                yield
        except Timeout as exc:
            raise MonitoringError(
                f"Another process has been at work on the observations in {folder} for {_PATIENCE / 60:.0f} minutes. "
                "Try again when it is done."
            ) from exc

    @contextmanager
    def _unfinished(self, folder: Path) -> Iterator[Path]:
        file = folder / _WRITING / uuid.uuid4().hex
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield file
        finally:
            file.unlink(missing_ok=True)


def _publish(target: Path, move: Callable[[Path], object]) -> None:
    made = [folder for folder in (target.parent, *target.parent.parents) if not folder.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    move(target)
    for folder in {target.parent, *(one.parent for one in made)}:
        _sync(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
