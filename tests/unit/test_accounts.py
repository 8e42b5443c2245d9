"""Roles and keys: what the users file may look like, and what of it holds."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bloodyspy.errors import ServiceError, UsersUnavailable
from bloodyspy.serving.accounts import KEY, add_key, add_user, read_users, remove_user, revoke_key, set_role
from bloodyspy.serving.authentication import Caller, Users
from bloodyspy.serving.roles import Role

PASSWORD = "correct horse"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A users file with one reviewer; hashing a password takes its time once."""
    path = tmp_path_factory.mktemp("made") / "users.json"
    add_user(path, "anna", PASSWORD, Role.REVIEW)
    return path.read_text()


@pytest.fixture
def path(tmp_path: Path, made: str) -> Path:
    place = tmp_path / "users.json"
    place.write_text(made)
    return place


def test_a_role_includes_those_before_it() -> None:
    assert [a.includes(b) for a in Role for b in Role] == [i >= j for i in range(4) for j in range(4)]
    assert Role.least(Role.ADMIN, Role.READ, Role.REVIEW) is Role.READ


def test_a_file_of_format_1_is_read_and_its_users_may_classify(path: Path) -> None:
    old = json.loads(path.read_text())
    path.write_text(json.dumps({"format": 1, "users": {"anna": {"password": old["users"]["anna"]["password"]}}}))
    assert read_users(path).users["anna"].role is Role.CLASSIFY
    assert Users(path).verify("anna", PASSWORD) == Caller("anna", Role.CLASSIFY)
    set_role(path, "anna", Role.READ)
    assert json.loads(path.read_text())["format"] == 2


def test_a_later_format_is_not_guessed_at(path: Path) -> None:
    path.write_text('{"format": 3, "users": {}}')
    with pytest.raises(UsersUnavailable, match="format"):
        read_users(path)


def test_a_new_password_leaves_the_role(path: Path) -> None:
    add_user(path, "anna", "another horse", replace=True)
    assert read_users(path).users["anna"].role is Role.REVIEW
    add_user(path, "anna", "another horse", Role.READ, replace=True)
    assert read_users(path).users["anna"].role is Role.READ


def test_a_key_is_let_in_and_only_its_digest_is_kept(path: Path) -> None:
    identity, key, token = add_key(path, "scanner", "anna", Role.CLASSIFY, 90)
    assert re.fullmatch(KEY, token)
    assert identity in token
    assert token.split("_", 2)[2] not in path.read_text()
    assert timedelta(days=89) < key.expires - datetime.now(UTC) < timedelta(days=91)
    users = Users(path)
    assert users.by_key(token) == Caller("anna", Role.CLASSIFY)
    other = "a" if token[-1] != "a" else "b"
    for wrong in ("", token[:-1], token[:-1] + other, token.upper(), token.replace(identity, "0" * 12), f"{token} "):
        assert users.by_key(wrong) is None


def test_a_key_gives_no_more_than_its_user_has(path: Path) -> None:
    with pytest.raises(ServiceError, match="smaller --role"):
        add_key(path, "boss", "anna", Role.ADMIN, 1)
    _, _, token = add_key(path, "reviewer", "anna", Role.REVIEW, 1)
    users = Users(path)
    set_role(path, "anna", Role.READ)
    assert users.by_key(token) == Caller("anna", Role.READ)


def test_a_revoked_key_and_those_of_a_removed_user_hold_no_more(path: Path) -> None:
    users = Users(path)
    identity, _, first = add_key(path, "first", "anna", Role.READ, 1)
    _, _, second = add_key(path, "second", "anna", Role.READ, 1)
    assert revoke_key(path, "first")[0] == identity
    assert users.by_key(first) is None
    assert users.by_key(second) == Caller("anna", Role.READ)
    add_user(path, "bert", PASSWORD)
    remove_user(path, "anna")
    assert users.by_key(second) is None
    assert read_users(path).keys == {}
    with pytest.raises(ServiceError, match="no key"):
        revoke_key(path, "second")


def test_an_expired_key_is_refused(path: Path) -> None:
    identity, _, token = add_key(path, "scanner", "anna", Role.READ, 1)
    content = json.loads(path.read_text())
    content["keys"][identity]["expires"] = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    path.write_text(json.dumps(content))
    assert Users(path).by_key(token) is None


@pytest.mark.parametrize("days", [0, -1, 3651])
def test_a_key_has_an_end(path: Path, days: int) -> None:
    with pytest.raises(ServiceError, match="days"):
        add_key(path, "scanner", "anna", Role.READ, days)


def test_whom_there_is_not(path: Path, tmp_path: Path) -> None:
    before = path.read_bytes()
    for change in (
        lambda: remove_user(path, "bert"),
        lambda: set_role(path, "bert", Role.READ),
        lambda: add_key(path, "scanner", "bert", Role.READ, 1),
    ):
        with pytest.raises(ServiceError, match="no user 'bert'"):
            change()
    assert path.read_bytes() == before
    with pytest.raises(UsersUnavailable, match="not there"):
        remove_user(tmp_path / "nowhere.json", "anna")
