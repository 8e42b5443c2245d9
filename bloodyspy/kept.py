"""Kept images: files named by the SHA-256 of the picture, and an index of what they belong to.

``<folder>/<two digits>/<sha256>`` is the picture as it was sent, ``….aesgcm`` the same enciphered (AES-256-GCM: a nonce
of 12 bytes, then text and tag; the name is authenticated with it). ``<folder>/index.db`` (SQLite) has a row for each
time one was kept. Whoever changes files holds the index's write lock: no process removes what another counts on.
"""

import base64
import binascii
import hashlib
import json
import os
import re
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bloodyspy import whole_file
from bloodyspy.errors import KeepingError
from bloodyspy.settings import Settings

_KEY_BYTES, _NONCE_BYTES = 32, 12
_ENCIPHERED = ".aesgcm"
_IMAGE = re.compile(rf"[0-9a-f]{{64}}(?:{_ENCIPHERED})?")
_BUSY = 30.0  # seconds to wait for another process's lock
_ABANDONED = 3600.0  # seconds after which a temporary file is nobody's any more
_TABLE = """
CREATE TABLE IF NOT EXISTS kept (
    number INTEGER PRIMARY KEY, time TEXT NOT NULL, specimen TEXT NOT NULL, request_id TEXT NOT NULL,
    picture INTEGER NOT NULL, action TEXT NOT NULL, sha256 TEXT);
CREATE INDEX IF NOT EXISTS kept_specimen ON kept (specimen);
CREATE INDEX IF NOT EXISTS kept_sha256 ON kept (sha256);
CREATE INDEX IF NOT EXISTS kept_time ON kept (time);
CREATE INDEX IF NOT EXISTS kept_request ON kept (request_id);
"""


@dataclass(frozen=True, slots=True)
class Kept:
    """A picture to keep, and what the index is to say of it."""

    payload: bytes
    specimen: str
    """Empty where none was named."""
    request_id: str
    picture: int
    """Its place among the pictures of the request, from 0."""
    action: str


@dataclass(frozen=True, slots=True)
class Picture:
    """What the index says of a picture whose image may still be there."""

    request_id: str
    picture: int
    specimen: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Removed:
    """What was removed."""

    images: int
    """Files."""
    rows: int
    """Of the index: blanked by an erasure, deleted when they are too old."""


def read_key(path: Path) -> bytes:
    """The key in a file: 32 random bytes in base64, as ``openssl rand -base64 32`` prints them.

    Raises:
        KeepingError: there is none; no message has any of its bytes.
    """
    try:
        key = base64.b64decode(path.read_bytes().strip(), validate=True)
    except (OSError, binascii.Error) as exc:
        reason = exc if isinstance(exc, OSError) else "it is no base64"
        raise KeepingError(f"There is no key in {path}: {reason}. `openssl rand -base64 32` makes one.") from None
    if len(key) != _KEY_BYTES:
        raise KeepingError(
            f"The key in {path} has {len(key)} bytes, not {_KEY_BYTES}. `openssl rand -base64 32` makes one."
        )
    return key


class Store:
    """The images and their index. May be used by several processes at once."""

    def __init__(self, folder: Path, key: bytes | None = None) -> None:
        """Nothing is read or written yet; with a ``key`` what is kept from now on is enciphered."""
        self._folder, self._cipher = folder, AESGCM(key) if key else None

    @property
    def exists(self) -> bool:
        """Whether anything was ever kept here."""
        return self._index.exists()

    def keep(self, several: Sequence[Kept]) -> None:
        """Keep pictures; all of them or, where anything fails, no row of them.

        Raises:
            KeepingError: the disk is full, or the folder cannot be written.
        """
        with self._changing() as index:
            now = datetime.now(UTC).isoformat(timespec="microseconds")
            for one in several:
                digest = hashlib.sha256(one.payload).hexdigest()
                self._write(digest, one.payload)
                row = (now, one.specimen, one.request_id, one.picture, one.action, digest)
                index.execute(
                    "INSERT INTO kept (time, specimen, request_id, picture, action, sha256) VALUES (?, ?, ?, ?, ?, ?)",
                    row,
                )

    def read(self, digest: str) -> bytes:
        """The picture with this SHA-256.

        Raises:
            KeepingError: it is not kept, is damaged, or another key would be needed.
        """
        plain = self._place(digest)
        try:
            if plain.exists():
                payload = plain.read_bytes()
            else:
                payload = self._decipher(digest, plain.with_name(digest + _ENCIPHERED).read_bytes())
        except OSError as exc:
            raise KeepingError(f"The image {digest} cannot be read: {exc}.") from exc
        if hashlib.sha256(payload).hexdigest() != digest:
            raise KeepingError(f"The image {digest} was altered. Restore it from a copy, or erase it.")
        return payload

    def find(self, request_ids: Iterable[str]) -> dict[tuple[str, int], str]:
        """SHA-256 of what is kept of these requests, by request and place of the picture in it.

        A request's id that was used again for other pictures says nothing, and is left out.

        Raises:
            KeepingError: the index cannot be read.
        """
        found: dict[tuple[str, int], set[str]] = {}
        asked = (
            "SELECT request_id, picture, sha256 FROM kept "
            "WHERE sha256 IS NOT NULL AND request_id IN (SELECT value FROM json_each(?))"
        )
        for request_id, picture, digest in self._rows(asked, json.dumps(list(request_ids))):
            found.setdefault((request_id, picture), set()).add(digest)
        return {key: digests.pop() for key, digests in found.items() if len(digests) == 1}

    def pictures(self, specimen: str | None = None) -> list[Picture]:
        """What is kept, of one specimen where it is named; nothing is changed.

        Raises:
            KeepingError: the index cannot be read.
        """
        asked = "SELECT DISTINCT request_id, picture, specimen, sha256 FROM kept WHERE sha256 IS NOT NULL"
        rows = self._rows(asked) if specimen is None else self._rows(f"{asked} AND specimen = ?", specimen)
        return [Picture(str(request), int(place), str(of), str(digest)) for request, place, of, digest in rows]

    def holds(self, digest: str) -> bool:
        """Whether the picture with this SHA-256 is kept."""
        return self._place(digest).exists() or self.enciphered(digest)

    def enciphered(self, digest: str) -> bool:
        """Whether it is kept enciphered."""
        return self._place(digest).with_name(digest + _ENCIPHERED).exists()

    def _rows(self, asked: str, *given: str) -> list[tuple[Any, ...]]:
        """Rows of the index, which is only read; none where nothing was ever kept."""
        if not self.exists:
            return []
        try:
            place = f"{self._index.absolute().as_uri()}?mode=ro"
            with closing(sqlite3.connect(place, uri=True, timeout=_BUSY)) as index:
                return index.execute(asked, given).fetchall()
        except sqlite3.Error as exc:
            raise KeepingError(f"The index of the kept images in {self._folder} cannot be read: {exc}.") from exc

    def erase(self, specimen: str) -> Removed:
        """Remove the images of a specimen, whatever else they were kept for, and blank it in the index.

        Raises:
            KeepingError: something could not be removed; the same command goes on where it was.
        """
        if not self.exists:
            return Removed(0, 0)
        with self._changing() as index:
            asked = "SELECT DISTINCT sha256 FROM kept WHERE specimen = ? AND sha256 IS NOT NULL"
            digests = [str(digest) for (digest,) in index.execute(asked, (specimen,))]
            images = sum(self._remove(digest) for digest in digests)
            index.executemany("UPDATE kept SET sha256 = NULL WHERE sha256 = ?", [(digest,) for digest in digests])
            rows = index.execute("UPDATE kept SET specimen = '' WHERE specimen = ?", (specimen,)).rowcount
        return Removed(images, rows)

    def expire(self, before: datetime) -> Removed:
        """Remove what was kept last before then, and what killed processes left lying.

        Raises:
            KeepingError: something could not be removed.
        """
        if not self.exists:
            return Removed(0, 0)
        images = 0
        with self._changing() as index:
            limit = before.astimezone(UTC).isoformat(timespec="microseconds")
            rows = index.execute("DELETE FROM kept WHERE time < ?", (limit,)).rowcount
            for folder in self._folder.glob("[0-9a-f][0-9a-f]"):
                for file in list(folder.iterdir()):
                    if _IMAGE.fullmatch(file.name):
                        digest = file.name.removesuffix(_ENCIPHERED)
                        if not index.execute("SELECT 1 FROM kept WHERE sha256 = ? LIMIT 1", (digest,)).fetchone():
                            file.unlink()
                            images += 1
                    elif file.stat().st_mtime < time.time() - _ABANDONED:
                        file.unlink()
        return Removed(images, rows)

    @property
    def _index(self) -> Path:
        return self._folder / "index.db"

    def _place(self, digest: str) -> Path:
        return self._folder / digest[:2] / digest

    def _write(self, digest: str, payload: bytes) -> None:
        plain = self._place(digest)
        enciphered = plain.with_name(digest + _ENCIPHERED)
        if plain.exists() or enciphered.exists():
            return
        plain.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        place, content = plain, payload
        if self._cipher:
            nonce = os.urandom(_NONCE_BYTES)
            place, content = enciphered, nonce + self._cipher.encrypt(nonce, payload, digest.encode())
        whole_file.replace(place, content)

    def _decipher(self, digest: str, content: bytes) -> bytes:
        if self._cipher is None:
            raise KeepingError(f"The image {digest} is enciphered. Name the key's file in BLOODYSPY_KEEPING_KEY_FILE.")
        try:
            return self._cipher.decrypt(content[:_NONCE_BYTES], content[_NONCE_BYTES:], digest.encode())
        except (InvalidTag, ValueError):
            raise KeepingError(
                f"The image {digest} cannot be deciphered: it was altered, or another key was used. "
                "Name that key's file in BLOODYSPY_KEEPING_KEY_FILE."
            ) from None

    def _remove(self, digest: str) -> bool:
        plain = self._place(digest)
        there = [file for file in (plain, plain.with_name(digest + _ENCIPHERED)) if file.exists()]
        for file in there:
            file.unlink()
        return bool(there)

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """The index, locked for this process; what was done to it holds if the block ends well."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._index, timeout=_BUSY, isolation_level=None)) as index:
                index.execute("PRAGMA secure_delete = ON")  # what is blanked is overwritten
                index.executescript(_TABLE)
                index.execute("BEGIN IMMEDIATE")
                try:
                    yield index
                except BaseException:
                    index.execute("ROLLBACK")
                    raise
                index.execute("COMMIT")
        except (OSError, sqlite3.Error) as exc:
            raise KeepingError(f"The kept images in {self._folder} cannot be changed: {exc}.") from exc


def store_of(settings: Settings) -> Store:
    """Where this project keeps images.

    Raises:
        KeepingError: the file that is named for the key has none.
    """
    key = read_key(settings.keeping_key_file) if settings.keeping_key_file else None
    return Store(settings.kept_images, key)
