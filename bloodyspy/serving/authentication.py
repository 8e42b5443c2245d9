"""Whether a password or a key is right. The users file is read again when it changes."""

import functools
import hmac
import logging
import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from argon2.exceptions import InvalidHashError, VerificationError

from bloodyspy.errors import UsersUnavailable
from bloodyspy.serving.accounts import HASHER, KEY, PASSWORD_LENGTH, UsersFile, digest, read_users
from bloodyspy.serving.roles import Role

logger = logging.getLogger(__name__)

REMEMBERED = 1024
"""Verified credentials kept as keyed digests, so that argon2's tens of milliseconds are paid once, not per request."""

# Verified for keys and names that do not exist, so that they take as long to refuse as those that do.
_NO_KEY = digest(secrets.token_hex())


@functools.cache
def _nobody() -> str:
    """The hash of no password. Making it takes as long as a sign-in, so it is not made when a process starts."""
    return HASHER.hash(secrets.token_hex())


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks."""

    name: str
    role: Role
    """The user's, or the key's where it has less."""


class Users:
    """The users of this process. Safe to call from several threads."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._file = UsersFile()
        self._key = secrets.token_bytes()
        self._verified: OrderedDict[bytes, Caller] = OrderedDict()

    def check(self) -> None:
        """Whether anybody could sign in.

        Raises:
            UsersUnavailable: there is no usable users file.
        """
        self._read_again()

    def remembered(self, name: str, password: str) -> Caller | None:
        """Who it is, if these very credentials were verified since the file last changed. Takes microseconds.

        Raises:
            UsersUnavailable: there is no usable users file.
        """
        self._read_again()
        mark = self._digest(name, password)
        with self._lock:
            caller = self._verified.get(mark)
            if caller is not None:
                self._verified.move_to_end(mark)
            return caller

    def verify(self, name: str, password: str) -> Caller | None:
        """Who it is, if the password is the user's. Takes argon2's time, also for a name that does not exist.

        Raises:
            UsersUnavailable: there is no usable users file.
        """
        self._read_again()
        nobody = _nobody()  # whoever comes first waits for it: a name that exists, too
        with self._lock:
            user, stamp = self._file.users.get(name), self._stamp
        if len(password) >= PASSWORD_LENGTH.stop:
            return None
        try:
            HASHER.verify(user.password if user else nobody, password)
        except VerificationError:
            return None
        except InvalidHashError as exc:
            raise UsersUnavailable(
                f"The password hash of {name!r} in {self._path} is broken. Run `bloodyspy users add {name} --replace`."
            ) from exc
        if user is None:
            return None
        caller = Caller(name, user.role)
        with self._lock:
            if stamp == self._stamp:  # else the file changed meanwhile: what was verified may hold no more
                self._verified[self._digest(name, password)] = caller
                while len(self._verified) > REMEMBERED:
                    self._verified.popitem(last=False)
        return caller

    def by_key(self, given: str) -> Caller | None:
        """Who it is, if the key is one that is neither revoked nor expired. Takes microseconds.

        Raises:
            UsersUnavailable: there is no usable users file.
        """
        self._read_again()
        parts = KEY.fullmatch(given)
        if parts is None:
            return None
        with self._lock:
            key = self._file.keys.get(parts[1])
            user = self._file.users.get(key.user) if key else None
        right = hmac.compare_digest(key.sha256 if key else _NO_KEY, digest(parts[2]))
        if not right or key is None or user is None or datetime.now(UTC) >= key.expires:
            return None
        return Caller(key.user, Role.least(key.role, user.role))

    def _digest(self, name: str, password: str) -> bytes:
        return hmac.digest(self._key, f"{name}\0{password}".encode("utf-8", "surrogatepass"), "sha256")

    def _read_again(self) -> None:
        """Read the file if it is not the one that was read last."""
        if self._path is None:
            raise UsersUnavailable(
                "This service knows no users, so nobody can sign in. Name a file in BLOODYSPY_USERS_FILE, "
                "write it with `bloodyspy users add NAME`, and start the service again."
            )
        try:
            status = self._path.stat()
            stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        except OSError:
            stamp = None
        with self._lock:
            if stamp is not None and stamp == self._stamp:
                return
            self._stamp, self._file = None, UsersFile()
            self._verified.clear()
            file = read_users(self._path)
            if not file.users:
                raise UsersUnavailable(f"The users file {self._path} names nobody. Run `bloodyspy users add NAME`.")
            self._file, self._stamp = file, stamp
            logger.info("%d user(s) and %d key(s) in %s", len(file.users), len(file.keys), self._path)
