"""The door of the service: who asks, whether they may, and whether not too often. Before a byte of the body is read."""

import asyncio
import base64
import binascii
import math
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

from fastapi import Depends, HTTPException, Request
from fastapi.openapi.models import HTTPBase, HTTPBearer
from fastapi.security import HTTPAuthorizationCredentials, HTTPBasicCredentials
from fastapi.security.base import SecurityBase
from fastapi.security.utils import get_authorization_scheme_param

from bloodyspy.serving.authentication import Caller, Users
from bloodyspy.serving.roles import Role
from bloodyspy.serving.throttle import Buckets, SignIns, network
from bloodyspy.settings import Settings

WAITING = 256
"""Sign-ins that may wait for their turn, argon2's tens of milliseconds each; more are sent away."""

_REALM = {"WWW-Authenticate": 'Basic realm="BloodySpy", charset="UTF-8", Bearer realm="BloodySpy"'}


class Door:
    """Lets callers in. One for each process, used by its event loop."""

    def __init__(self, settings: Settings, doorman: ThreadPoolExecutor) -> None:
        """``doorman`` checks passwords in one thread: guessing them does not slow the classifying down."""
        self._users, self._doorman = Users(settings.users_file), doorman
        self._sign_ins = SignIns()
        self._by_user = Buckets(settings.requests_per_user)
        self._by_address = Buckets(settings.requests_per_address)
        self._turn, self._waiting = asyncio.Lock(), 0

    def check(self) -> None:
        """Whether anybody could be let in.

        Raises:
            UsersUnavailable: there is no usable users file.
        """
        self._users.check()

    async def admit(self, address: str, basic: HTTPBasicCredentials | None, key: str | None) -> Caller:
        """Who asks, by what they brought.

        Raises:
            HTTPException: 401 with no or with wrong credentials, 429 too often.
            UsersUnavailable: nobody can sign in.
        """
        _wait(self._by_address.take(address), "There were too many requests from this address")
        if basic is not None:
            caller = await self._by_password(address, basic.username, basic.password)
        else:
            caller = self._by_key(address, key)
        _wait(self._by_user.take(caller.name), "This user sent too many requests")
        return caller

    def _by_key(self, address: str, key: str | None) -> Caller:
        caller = self._users.by_key(key or "")  # a right key is let in whatever was tried from its address
        if caller is not None:
            return caller
        if key is None:
            raise HTTPException(401, "Sign in with a name and a password (HTTP Basic), or with a key.", headers=_REALM)
        _wait(self._sign_ins.wait_at(address), "There were too many failed sign-ins from this address")
        self._sign_ins.failed_at(address)
        raise HTTPException(401, "This key is wrong, was revoked, or has expired.", headers=_REALM)

    async def _by_password(self, address: str, name: str, password: str) -> Caller:
        if caller := self._users.remembered(name, password):  # whom nobody can lock out
            return caller
        self._stand_off(name, address)
        if self._waiting >= WAITING:
            _wait(1, "Too many people sign in at the moment")
        self._waiting += 1
        try:
            # One after the other, and each asks again when it is their turn: a thousand guesses at once are a thousand
            # guesses in a row, and a thousand requests of somebody who has just come are one look at the password.
            async with self._turn:
                if caller := self._users.remembered(name, password):
                    return caller
                self._stand_off(name, address)
                loop = asyncio.get_running_loop()
                caller = await loop.run_in_executor(self._doorman, self._users.verify, name, password)
                if caller is None:
                    self._sign_ins.failed(name, address)
                    raise HTTPException(401, "The name or the password is wrong.", headers=_REALM)
                self._sign_ins.succeeded(name, address)
                return caller
        finally:
            self._waiting -= 1

    def _stand_off(self, name: str, address: str) -> None:
        _wait(self._sign_ins.wait(name, address), "There were too many failed sign-ins of this name or address")


class _Basic(SecurityBase):
    """HTTP Basic that reads UTF-8, as the realm promises (RFC 7617); FastAPI's own reads ASCII only."""

    def __init__(self) -> None:
        self.model = HTTPBase(scheme="basic", description="A user of the file that BLOODYSPY_USERS_FILE names.")
        self.scheme_name = "HTTPBasic"

    async def __call__(self, request: Request) -> HTTPBasicCredentials | None:
        scheme, encoded = get_authorization_scheme_param(request.headers.get("Authorization"))
        if scheme.lower() != "basic":
            return None
        try:
            name, separator, password = base64.b64decode(encoded, validate=True).decode("utf-8").partition(":")
        except (binascii.Error, ValueError):
            return None
        return HTTPBasicCredentials(username=name, password=password) if separator else None


class _Bearer(SecurityBase):
    def __init__(self) -> None:
        self.model = HTTPBearer(bearerFormat="bsk_<id>_<secret>", description="A key of `bloodyspy keys add`.")
        self.scheme_name = "HTTPBearer"

    async def __call__(self, request: Request) -> HTTPAuthorizationCredentials | None:
        scheme, key = get_authorization_scheme_param(request.headers.get("Authorization"))
        return HTTPAuthorizationCredentials(scheme=scheme, credentials=key) if scheme.lower() == "bearer" else None


async def signed_in(
    request: Request,
    basic: Annotated[HTTPBasicCredentials | None, Depends(_Basic())],
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_Bearer())],
) -> Caller:
    """Who asks; any user or key will do.

    Raises:
        HTTPException: 401, 429; from :meth:`Door.admit`.
        UsersUnavailable: nobody can sign in.
    """
    door: Door = request.app.state.door
    address = network(request.client.host) if request.client else ""
    caller = await door.admit(address, basic, bearer.credentials if bearer else None)
    request.state.user = caller.name  # for the access log, which makes a pseudonym of it
    return caller


def needs(role: Role) -> Callable[[Caller], Awaitable[Caller]]:
    """A dependency: who asks has at least this role.

    Raises:
        HTTPException: 403; and those of :func:`signed_in`.
    """

    async def allowed(caller: Annotated[Caller, Depends(signed_in)]) -> Caller:
        if not caller.role.includes(role):
            raise HTTPException(
                403,
                f"This needs the role `{role}`; you have `{caller.role}`. Ask whoever runs the service for it "
                f"(`bloodyspy users role NAME {role}`, or a key that was made with `--role {role}`).",
            )
        return caller

    return allowed


def _wait(seconds: float, why: str) -> None:
    if seconds > 0:
        whole = max(1, math.ceil(seconds))
        raise HTTPException(429, f"{why}. Try again in {whole} s.", headers={"Retry-After": str(whole)})
