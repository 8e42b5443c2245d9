"""The door with many at it at once."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fastapi import HTTPException
from fastapi.security import HTTPBasicCredentials

from bloodyspy.serving.access import Door
from bloodyspy.serving.accounts import add_key, add_user
from bloodyspy.serving.authentication import Caller
from bloodyspy.serving.roles import Role
from bloodyspy.serving.throttle import PAIR_FREE
from bloodyspy.settings import Settings

ANNA = HTTPBasicCredentials(username="anna", password="correct horse")
GUESS = HTTPBasicCredentials(username="anna", password="wrong horse")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("door") / "users.json"
    add_user(path, ANNA.username, ANNA.password)
    return path


@pytest.fixture
def doorman() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as doorman:
        yield doorman


def door(path: Path, doorman: ThreadPoolExecutor, per_user: int = 0, per_address: int = 0) -> Door:
    settings = Settings(root=path.parent, users_file=path, requests_per_user=per_user, requests_per_address=per_address)
    return Door(settings, doorman)


async def status(door: Door, address: str, basic: HTTPBasicCredentials | None = None, key: str | None = None) -> int:
    try:
        await door.admit(address, basic, key)
    except HTTPException as exc:
        return exc.status_code
    return 200


def test_many_requests_of_somebody_new_are_all_let_in(path: Path, doorman: ThreadPoolExecutor) -> None:
    async def come() -> list[Caller]:
        one = door(path, doorman)
        return await asyncio.gather(*(one.admit("192.0.2.1", ANNA, None) for _ in range(100)))

    assert set(asyncio.run(come())) == {Caller("anna", Role.CLASSIFY)}


def test_many_guesses_at_once_are_as_many_as_one_after_the_other(path: Path, doorman: ThreadPoolExecutor) -> None:
    async def guess() -> Counter[int]:
        one = door(path, doorman)
        return Counter(await asyncio.gather(*(status(one, "192.0.2.1", GUESS) for _ in range(100))))

    assert asyncio.run(guess()) == {401: PAIR_FREE, 429: 100 - PAIR_FREE}


def test_a_guesser_locks_out_neither_a_session_nor_a_key_nor_another_place(
    path: Path, doorman: ThreadPoolExecutor
) -> None:
    _, _, key = add_key(path, "scanner", "anna", Role.READ, 1)

    async def happen() -> list[int]:
        one = door(path, doorman)
        first = await status(one, "192.0.2.1", ANNA)
        for _ in range(PAIR_FREE + 1):
            last = await status(one, "192.0.2.1", GUESS)
        there = [await status(one, "192.0.2.1", ANNA), await status(one, "192.0.2.1", None, key)]
        return [first, last, *there, await status(one, "192.0.2.2", GUESS)]

    assert asyncio.run(happen()) == [200, 429, 200, 200, 401]


def test_too_many_requests_of_a_user_and_of_an_address(path: Path, doorman: ThreadPoolExecutor) -> None:
    async def come(one: Door, addresses: list[str]) -> list[int]:
        return [await status(one, address, ANNA) for address in addresses]

    here = ["192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2"]
    assert asyncio.run(come(door(path, doorman, per_user=2), here)) == [200, 200, 429, 429]
    assert asyncio.run(come(door(path, doorman, per_address=2), here)) == [200, 200, 429, 200]
