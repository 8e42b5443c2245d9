"""Users of the service: who is let in, who is not, and what the file may look like."""

import stat
import threading
import time
from pathlib import Path

import pytest

from bloodyspy.errors import ServiceError, UsersUnavailable
from bloodyspy.serving import authentication
from bloodyspy.serving.accounts import add_user, read_users
from bloodyspy.serving.authentication import Users


@pytest.fixture
def path(tmp_path: Path) -> Path:
    place = tmp_path / "private" / "users.json"
    add_user(place, "anna", "correct horse")
    return place


def test_the_right_password_is_let_in_and_others_are_not(path: Path) -> None:
    users = Users(path)
    assert users.verify("anna", "correct horse")
    assert not users.verify("anna", "Correct horse")
    assert not users.verify("anna", "")
    assert not users.verify("nobody", "correct horse")
    assert not users.verify("", "")
    assert not users.verify("anna", "x" * 100_000)


def test_passwords_beyond_ascii(path: Path) -> None:
    add_user(path, "bert", "größer-als-ß-血")
    assert Users(path).verify("bert", "größer-als-ß-血")


def test_only_what_was_verified_is_remembered(path: Path) -> None:
    users = Users(path)
    assert not users.remembered("anna", "correct horse")
    users.verify("anna", "wrong horse")
    assert not users.remembered("anna", "wrong horse")
    users.verify("anna", "correct horse")
    assert users.remembered("anna", "correct horse")
    assert not users.remembered("ann", "acorrect horse")
    started = time.process_time()
    for _ in range(1000):
        users.remembered("anna", "correct horse")
    assert time.process_time() - started < 1  # argon2 would take tens of seconds


def test_what_is_remembered_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authentication, "REMEMBERED", 1)
    add_user(path, "bert", "another horse")
    users = Users(path)
    users.verify("anna", "correct horse")
    users.verify("bert", "another horse")
    assert users.remembered("bert", "another horse")
    assert not users.remembered("anna", "correct horse")


def test_a_changed_file_is_read_again_and_nothing_old_is_remembered(path: Path) -> None:
    users = Users(path)
    assert users.verify("anna", "correct horse")
    add_user(path, "anna", "a new horse", replace=True)
    assert not users.remembered("anna", "correct horse")
    assert not users.verify("anna", "correct horse")
    assert users.verify("anna", "a new horse")


def test_an_unknown_name_takes_as_long_as_a_wrong_password(path: Path) -> None:
    users = Users(path)

    def least(name: str) -> float:
        """Processor seconds: what else the machine does is not in them."""
        durations = []
        for _ in range(5):
            started = time.process_time()
            users.verify(name, "not the password")
            durations.append(time.process_time() - started)
        return min(durations)

    assert least("nobody") > 0.5 * least("anna")


def test_without_a_file_nobody_can_sign_in_and_the_reason_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsersUnavailable, match="BLOODYSPY_USERS_FILE"):
        Users(None).verify("anna", "correct horse")
    with pytest.raises(UsersUnavailable, match="bloodyspy users add"):
        Users(tmp_path / "absent.json").remembered("anna", "correct horse")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "anna:secret",
        "[]",
        '{"users": {"anna": "secret"}}',
        '{"format": 2, "users": {}}',
        '{"format": 1, "users": {}}',
    ],
)
def test_a_broken_file_is_said_to_be_broken(tmp_path: Path, content: str) -> None:
    path = tmp_path / "users.json"
    path.write_text(content)
    with pytest.raises(UsersUnavailable, match="bloodyspy users add") as raised:
        Users(path).verify("anna", "secret")
    assert "secret" not in str(raised.value)


def test_a_broken_hash_is_said_to_be_broken(tmp_path: Path) -> None:
    path = tmp_path / "users.json"
    path.write_text('{"format": 1, "users": {"anna": {"password": "plain text"}}}')
    with pytest.raises(UsersUnavailable, match="--replace") as raised:
        Users(path).verify("anna", "plain text")
    assert "plain text" not in str(raised.value)


def test_a_file_that_is_mended_lets_people_in_again(path: Path) -> None:
    users, right = Users(path), path.read_bytes()
    path.write_bytes(b"{")
    with pytest.raises(UsersUnavailable):
        users.verify("anna", "correct horse")
    path.write_bytes(right)
    assert users.verify("anna", "correct horse")


def test_the_file_is_for_its_owner_only_and_holds_no_password(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "correct horse" not in path.read_text()
    assert [name.name for name in path.parent.iterdir() if "lock" not in name.name] == ["users.json"]


def test_a_taken_name_is_replaced_only_when_told(path: Path) -> None:
    with pytest.raises(ServiceError, match="--replace"):
        add_user(path, "anna", "another password")
    assert Users(path).verify("anna", "correct horse")


@pytest.mark.parametrize("name", ["", "a:b", "-a", ".hidden", "a b", "ä", "a" * 65, "a\n", "../x"])
def test_names_that_would_not_survive_http_basic_are_refused(path: Path, name: str) -> None:
    with pytest.raises(ServiceError, match="name"):
        add_user(path, name, "long enough")


@pytest.mark.parametrize("password", ["", "1234567", "x" * 1025])
def test_passwords_too_short_or_too_long_are_refused(path: Path, password: str) -> None:
    with pytest.raises(ServiceError, match="characters"):
        add_user(path, "bert", password)


def test_a_broken_file_is_not_overwritten(path: Path) -> None:
    path.write_bytes(b"{")
    with pytest.raises(UsersUnavailable):
        add_user(path, "bert", "long enough")
    assert path.read_bytes() == b"{"


def test_the_first_user_may_be_added_to_a_file_that_names_nobody(tmp_path: Path) -> None:
    path = tmp_path / "users.json"
    path.write_text('{"format": 1, "users": {}}')
    add_user(path, "anna", "correct horse")
    assert Users(path).verify("anna", "correct horse")


def test_users_added_at_the_same_time_are_all_kept(path: Path) -> None:
    threads = [threading.Thread(target=add_user, args=(path, f"user{i}", "long enough")) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(read_users(path).users) == {"anna", *(f"user{i}" for i in range(8))}
