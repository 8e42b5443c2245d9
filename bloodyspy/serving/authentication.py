"""Who may use the service: a file of argon2 hashes, written by ``bloodyspy users add`` and read again when it changes.

The file is JSON, ``{"format": 1, "users": {name: {"password": argon2 hash}}}``, readable by its owner only.
"""

import fcntl
import hmac
import logging
import os
import re
import secrets
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bloodyspy.errors import ServiceError, UsersUnavailable

logger = logging.getLogger(__name__)

NAME_RULE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
PASSWORD_LENGTH = range(8, 1025)
"""Characters; the upper end keeps anybody from making the hash slow with a megabyte."""

REMEMBERED = 1024
"""Verified credentials kept as keyed digests, so that argon2's tens of milliseconds are paid once, not per request."""

_HASHER = PasswordHasher()

# Verified for names that do not exist, so that they take as long to refuse as names that do.
_NOBODY = _HASHER.hash(secrets.token_hex())


class User(BaseModel):
    """One user."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    password: str = Field(description="argon2 hash, in its usual $argon2id$... spelling")


class UsersFile(BaseModel):
    """The whole file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    users: dict[str, User] = {}


def read_users(path: Path) -> UsersFile:
    """The users in a file.

    Raises:
        UsersUnavailable: there is no such file, or it is broken; the message says what to do.
    """
    try:
        return UsersFile.model_validate_json(path.read_bytes())
    except FileNotFoundError as exc:
        raise UsersUnavailable(
            f"The users file {path} is not there. Write it with `bloodyspy users add NAME`."
        ) from exc
    except (OSError, ValidationError) as exc:
        reason = exc if isinstance(exc, OSError) else f"{exc.error_count()} fault(s), first at {exc.errors()[0]['loc']}"
        raise UsersUnavailable(
            f"The users file {path} cannot be read: {reason}. Mend it, or remove it and run `bloodyspy users add NAME`."
        ) from exc


def add_user(path: Path, name: str, password: str, *, replace: bool = False) -> bool:
    """Add a user, or with ``replace`` give an existing one another password. The file is exchanged in one step.

    Returns:
        Whether the user is new.

    Raises:
        ServiceError: the name or the password breaks the rules, the name is taken, or the file cannot be written.
    """
    if not NAME_RULE.fullmatch(name):
        raise ServiceError(
            f"{name!r} cannot be a user's name. Take 1 to 64 letters, digits, dots, dashes, underscores or @, "
            "beginning with a letter or a digit."
        )
    if len(password) not in PASSWORD_LENGTH:
        raise ServiceError(f"A password has {PASSWORD_LENGTH.start} to {PASSWORD_LENGTH.stop - 1} characters.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _one_writer(path):
            users = dict(read_users(path).users) if path.exists() else {}
            known = name in users
            if known and not replace:
                raise ServiceError(f"There is a user {name!r} already. Say --replace to give them another password.")
            users[name] = User(password=_HASHER.hash(password))
            _write(path, UsersFile(users=users))
    except OSError as exc:
        raise ServiceError(f"The users file {path} cannot be written: {exc}.") from exc
    return not known


@contextmanager
def _one_writer(path: Path) -> Iterator[None]:
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write(path: Path, users: UsersFile) -> None:
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)  # mkstemp gives 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(users.model_dump_json(indent=2) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


class Users:
    """The users of this process. Safe to call from several threads."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._users: dict[str, User] = {}
        self._key = secrets.token_bytes()
        self._verified: OrderedDict[bytes, None] = OrderedDict()

    def check(self) -> None:
        """Whether anybody could sign in.

        Raises:
            UsersUnavailable: there is no usable users file.
        """
        self._read_again()

    def remembered(self, name: str, password: str) -> bool:
        """Whether these very credentials were verified since the file last changed. Takes microseconds.

        Raises:
            UsersUnavailable: there is no usable users file.
        """
        self._read_again()
        digest = self._digest(name, password)
        with self._lock:
            if digest not in self._verified:
                return False
            self._verified.move_to_end(digest)
            return True

    def verify(self, name: str, password: str) -> bool:
        """Whether the password is the user's. Takes argon2's time, also for a name that does not exist.

        Raises:
            UsersUnavailable: there is no usable users file.
        """
        self._read_again()
        with self._lock:
            user, stamp = self._users.get(name), self._stamp
        if len(password) >= PASSWORD_LENGTH.stop:
            return False
        try:
            right = _HASHER.verify(user.password if user else _NOBODY, password) and user is not None
        except VerificationError:
            return False
        except InvalidHashError as exc:
            raise UsersUnavailable(
                f"The password hash of {name!r} in {self._path} is broken. Run `bloodyspy users add {name} --replace`."
            ) from exc
        with self._lock:
            if right and stamp == self._stamp:  # else the file changed meanwhile: what was verified may hold no more
                self._verified[self._digest(name, password)] = None
                while len(self._verified) > REMEMBERED:
                    self._verified.popitem(last=False)
        return right

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
            self._stamp, self._users = None, {}
            self._verified.clear()
            users = read_users(self._path).users
            if not users:
                raise UsersUnavailable(f"The users file {self._path} names nobody. Run `bloodyspy users add NAME`.")
            self._users, self._stamp = users, stamp
            logger.info("%d user(s) in %s", len(self._users), self._path)
