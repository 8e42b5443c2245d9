"""Replacing data/ as a whole: at any moment it is the old one or the new one."""

import ctypes
import errno
import logging
import os
import shutil
import uuid
from pathlib import Path

logger = logging.getLogger(__name__)

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # linux/fs.h


class Staging:
    """The work folder of an import, beside data/ on the same file system. Only who holds the import lock has one."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self._leftovers = f".{data.name}-importing-*"
        self.folder = data.with_name(f".{data.name}-importing-{uuid.uuid4().hex[:12]}")
        self.incoming = self.folder / "incoming"  # new images, named by their digest
        self.tree = self.folder / "tree"  # data/ as it shall be
        self._replaced = data.with_name(f".{data.name}-replaced")

    def begin(self) -> None:
        """Clean up after an import that was killed, and make the folders."""
        if self._replaced.exists():
            if not self.data.exists():
                logger.warning("An import was killed while it replaced %s; taking the old one back.", self.data)
                self._replaced.rename(self.data)
            else:
                shutil.rmtree(self._replaced)
        for leftover in self.data.parent.glob(self._leftovers):
            # A process that drew pictures for the dead import may still be writing there; the next import tries again.
            shutil.rmtree(leftover, ignore_errors=True)
        self.incoming.mkdir(parents=True)
        self.tree.mkdir()

    def commit(self) -> None:
        """Put the tree in the place of data/."""
        if not self.data.exists():
            self.tree.rename(self.data)
        elif not _exchange(self.tree, self.data):
            # File systems without an exchange: between the two renames there is no data/, and `begin` repairs that.
            self.data.rename(self._replaced)
            self.tree.rename(self.data)
            shutil.rmtree(self._replaced)

    def discard(self) -> None:
        """Remove the work folder, with what it holds."""
        shutil.rmtree(self.folder, ignore_errors=True)


def link(held: Path, place: Path) -> None:
    """Make ``place`` the same read-only file as ``held``, without copying where the file system can."""
    try:
        place.hardlink_to(held)
    except OSError as exc:
        if exc.errno not in (errno.EPERM, errno.EXDEV, errno.EMLINK, errno.EOPNOTSUPP):
            raise
        shutil.copyfile(held, place)
    place.chmod(0o444)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step; False where kernel or file system cannot."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    if renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
        return False
    raise OSError(code, os.strerror(code), str(other))
