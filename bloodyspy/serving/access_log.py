"""The access log: one line of JSON for each request on stdout, without names, file names, bytes or query values.

Whoever runs the service keeps and rotates it (journald, the container engine). A line is one ``write``, so that lines
of several workers do not mix.
"""

import hashlib
import json
import os
import secrets
from collections import OrderedDict
from dataclasses import dataclass, fields
from operator import attrgetter
from pathlib import Path

from bloodyspy.errors import SettingsError

KEY_LENGTH = 16
"""Bytes of a key, at least."""

REMEMBERED = 1024
"""Pseudonyms kept, so that each is computed once."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One request."""

    time: str
    """When its head had come, ISO 8601, UTC."""
    request_id: str
    method: str
    route: str
    """The template, such as ``/v1/smears/{job}``; "other" for what is no route."""
    status: int
    """499 where the client went away first."""
    milliseconds: float
    received_bytes: int
    sent_bytes: int
    files: int
    user: str | None
    """Pseudonym."""
    model_version: int | None
    """That answered."""
    trace_id: str | None


_KEYS = tuple(field.name for field in fields(Entry))
_VALUES = attrgetter(*_KEYS)
_ENCODER = json.JSONEncoder(separators=(",", ":"))


class AccessLog:
    """Writes to a file descriptor."""

    def __init__(self, key: bytes, descriptor: int) -> None:
        self._key, self._descriptor = key, descriptor
        self._pseudonyms: OrderedDict[str, str] = OrderedDict()

    def pseudonym(self, user: str) -> str:
        """Keyed hash of a name: the same for the same key, and nobody without the key can try names."""
        if (known := self._pseudonyms.get(user)) is None:
            digest = hashlib.blake2s(user.encode("utf-8", "surrogatepass"), key=self._key, digest_size=8)
            known = self._pseudonyms[user] = digest.hexdigest()
            while len(self._pseudonyms) > REMEMBERED:
                self._pseudonyms.popitem(last=False)
        return known

    def write(self, entry: Entry) -> None:
        """Append the line.

        Raises:
            OSError: it could not be written, or not wholly.
        """
        line = _ENCODER.encode(dict(zip(_KEYS, _VALUES(entry), strict=True))).encode() + b"\n"
        if os.write(self._descriptor, line) != len(line):
            raise OSError("the line was cut")


def read_key(path: Path | None) -> bytes:
    """The key of the pseudonyms; a random one where no file is named, so that they hold until this process ends.

    Raises:
        SettingsError: the file cannot be read or holds too little.
    """
    if path is None:
        return secrets.token_bytes(32)
    try:
        key = path.read_bytes().strip()
    except OSError as exc:
        raise SettingsError(f"The key of BLOODYSPY_PSEUDONYM_KEY_FILE cannot be read: {exc}.") from exc
    if len(key) < KEY_LENGTH:
        raise SettingsError(
            f"{path} has {len(key)} bytes; a key for pseudonyms has {KEY_LENGTH} at least: `openssl rand -hex 32`"
        )
    return hashlib.blake2s(key).digest()
