"""The users file: who may use the service, by which password or key, and as what. `bloodyspy users` and `keys` write.

It is JSON, readable by its owner only: ``{"format": 2, "users": {name: {"password", "role"}}, "keys": {id: {"name",
"user", "role", "sha256", "created", "expires"}}}``. Format 1 knew neither roles nor keys: its users may classify. Of a
password the file has the argon2 hash; of a key the SHA-256, which is enough: nobody guesses 256 random bits.
"""

import fcntl
import hashlib
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from argon2 import PasswordHasher
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from bloodyspy import whole_file
from bloodyspy.errors import ServiceError, UsersUnavailable
from bloodyspy.serving.roles import Role

NAME_RULE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
PASSWORD_LENGTH = range(8, 1025)
"""Characters; the upper end keeps anybody from making the hash slow with a megabyte."""

KEY = re.compile(r"bsk_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
"""A key as it is sent: its id and its secret. Scanners for leaked secrets find it by its first letters."""

MAX_DAYS = 3650

HASHER = PasswordHasher()


class User(BaseModel):
    """One user."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    password: str = Field(description="argon2 hash, in its usual $argon2id$... spelling")
    role: Role = Role.CLASSIFY


class Key(BaseModel):
    """One key of a user, for programs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="what it is for")
    user: str
    role: Role = Field(description="at most; never more than its user's")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="of the secret")
    created: AwareDatetime
    expires: AwareDatetime


class UsersFile(BaseModel):
    """The whole file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1, 2] = 2
    users: dict[str, User] = {}
    keys: dict[str, Key] = {}


def read_users(path: Path) -> UsersFile:
    """The users and keys in a file.

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


def add_user(path: Path, name: str, password: str, role: Role | None = None, *, replace: bool = False) -> bool:
    """Add a user, or with ``replace`` give an existing one another password. The file is exchanged in one step.

    Args:
        path: of the file; it is made where it is not there.
        name: of the user.
        password: in clear.
        role: default ``classify``, or what the user had.
        replace: whether the user may be there.

    Returns:
        Whether the user is new.

    Raises:
        ServiceError: the name or the password breaks the rules, the name is taken, or the file cannot be written.
    """
    _check_name(name, "a user")
    if len(password) not in PASSWORD_LENGTH:
        raise ServiceError(f"A password has {PASSWORD_LENGTH.start} to {PASSWORD_LENGTH.stop - 1} characters.")
    with _changing(path, make=True) as file:
        known = file.users.get(name)
        if known and not replace:
            raise ServiceError(f"There is a user {name!r} already. Say --replace to give them another password.")
        kept = known.role if known else Role.CLASSIFY
        file.users[name] = User(password=HASHER.hash(password), role=role or kept)
    return known is None


def remove_user(path: Path, name: str) -> list[str]:
    """Remove a user with their keys.

    Returns:
        The ids of those keys.

    Raises:
        ServiceError: there is no such user, or the file cannot be written.
    """
    with _changing(path) as file:
        del file.users[_known(file, name)]
        revoked = [identity for identity, key in file.keys.items() if key.user == name]
        for identity in revoked:
            del file.keys[identity]
    return revoked


def set_role(path: Path, name: str, role: Role) -> None:
    """Give a user another role; their keys go down with it, for a key never gives more than its user has.

    Raises:
        ServiceError: there is no such user, or the file cannot be written.
    """
    with _changing(path) as file:
        file.users[name] = file.users[_known(file, name)].model_copy(update={"role": role})


def add_key(path: Path, name: str, user: str, role: Role, days: int) -> tuple[str, Key, str]:
    """Make a key for a user.

    Args:
        path: of the file.
        name: what the key is for; no other key has it.
        user: whose key it is.
        role: what it may do.
        days: until it expires, 1 to :data:`MAX_DAYS`.

    Returns:
        Its id, what is kept of it, and the key itself, which is kept nowhere.

    Raises:
        ServiceError: name, role or days break the rules, there is no such user, or the file cannot be written.
    """
    _check_name(name, "a key")
    if not 1 <= days <= MAX_DAYS:
        raise ServiceError(f"A key is good for 1 to {MAX_DAYS} days, not {days}.")
    with _changing(path) as file:
        owner = file.users[_known(file, user)]
        if any(key.name == name for key in file.keys.values()):
            raise ServiceError(
                f"There is a key {name!r} already. Take another name, or `bloodyspy keys revoke {name}`."
            )
        if not owner.role.includes(role):
            raise ServiceError(
                f"{user} has the role `{owner.role}`, so a key of theirs cannot have `{role}`. "
                f"Take a smaller --role, or `bloodyspy users role {user} {role}` first."
            )
        identity, secret, now = secrets.token_hex(6), secrets.token_urlsafe(32), datetime.now(UTC)
        expires = now + timedelta(days=days)
        key = Key(name=name, user=user, role=role, sha256=digest(secret), created=now, expires=expires)
        file.keys[identity] = key
    return identity, key, f"bsk_{identity}_{secret}"


def revoke_key(path: Path, asked: str) -> tuple[str, Key]:
    """Remove a key, named by its name or its id.

    Raises:
        ServiceError: there is no such key, or the file cannot be written.
    """
    with _changing(path) as file:
        for identity, key in file.keys.items():
            if asked in (identity, key.name):
                del file.keys[identity]
                return identity, key
        raise ServiceError(f"There is no key {asked!r}. `bloodyspy keys list` names those there are.")


def digest(secret: str) -> str:
    """SHA-256 of a key's secret, hex."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _check_name(name: str, whose: str) -> None:
    if not NAME_RULE.fullmatch(name):
        raise ServiceError(
            f"{name!r} cannot be {whose}'s name. Take 1 to 64 letters, digits, dots, dashes, underscores or @, "
            "beginning with a letter or a digit."
        )


def _known(file: UsersFile, name: str) -> str:
    if name not in file.users:
        raise ServiceError(f"There is no user {name!r}. `bloodyspy users list` names those there are.")
    return name


@contextmanager
def _changing(path: Path, *, make: bool = False) -> Iterator[UsersFile]:
    """The file's content, to be changed; it is written when the block ends well, and nobody else writes meanwhile."""
    try:
        if make:
            path.parent.mkdir(parents=True, exist_ok=True)
        elif not path.exists():
            read_users(path)  # says so
        with path.with_name(f".{path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            found = read_users(path) if path.exists() or not make else UsersFile()
            file = UsersFile(users=dict(found.users), keys=dict(found.keys))
            yield file
            whole_file.replace(path, (file.model_dump_json(indent=2) + "\n").encode())
    except OSError as exc:
        raise ServiceError(f"The users file {path} cannot be written: {exc}.") from exc
