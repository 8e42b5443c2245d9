"""Kept images: what is on the disk, what an erasure leaves, and what happens where it does not fit."""

import base64
import hashlib
import logging
import os
import resource
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from bloodyspy.errors import KeepingError
from bloodyspy.kept import Kept, Removed, Store, read_key, store_of
from bloodyspy.promotion import trail
from bloodyspy.serving.keeping import Keeper
from bloodyspy.settings import Keep, Settings

KEY = bytes(range(32))
CELL, OTHER = b"a cell " * 1000, b"another cell " * 1000


def one(payload: bytes = CELL, specimen: str = "S-1", action: str = "auto", picture: int = 0) -> Kept:
    return Kept(payload, specimen, "request-1", picture, action)


def sha(payload: bytes) -> str:
    return hashlib.sha256(payload).hexdigest()


def files(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.glob("??/*"))


def rows(folder: Path) -> list[tuple[str, str | None, str]]:
    with closing(sqlite3.connect(folder / "index.db")) as index:
        return index.execute("SELECT specimen, sha256, action FROM kept ORDER BY number").fetchall()


@pytest.mark.parametrize("key", [None, KEY])
def test_what_is_kept_is_read_again_and_kept_once(tmp_path: Path, key: bytes | None) -> None:
    store = Store(tmp_path / "kept", key)
    store.keep([one(), one(OTHER, "S-2"), one(CELL, "")])
    assert store.read(sha(CELL)) == CELL
    assert files(tmp_path / "kept") == sorted(sha(p) + (".aesgcm" if key else "") for p in (CELL, OTHER))
    assert [row[0] for row in rows(tmp_path / "kept")] == ["S-1", "S-2", ""]
    for file in (tmp_path / "kept").rglob("*"):
        assert file.stat().st_mode & 0o077 == 0 or file.name == "index.db"
    assert (tmp_path / "kept").stat().st_mode & 0o077 == 0


def test_enciphered_images_say_nothing_without_their_key(tmp_path: Path) -> None:
    Store(tmp_path, KEY).keep([one()])
    (file,) = tmp_path.glob("??/*")
    assert b"cell" not in file.read_bytes()
    with pytest.raises(KeepingError, match="BLOODYSPY_KEEPING_KEY_FILE"):
        Store(tmp_path).read(sha(CELL))
    with pytest.raises(KeepingError, match="another key"):
        Store(tmp_path, bytes(32)).read(sha(CELL))
    content = bytearray(file.read_bytes())
    content[20] ^= 1
    file.write_bytes(content)
    with pytest.raises(KeepingError, match="altered"):
        Store(tmp_path, KEY).read(sha(CELL))


def test_an_image_in_the_place_of_another_is_noticed(tmp_path: Path) -> None:
    for key in (None, KEY):
        store = Store(tmp_path / str(bool(key)), key)
        store.keep([one(), one(OTHER)])
        first, second = (tmp_path / str(bool(key))).glob("??/*")
        first.write_bytes(second.read_bytes())
        with pytest.raises(KeepingError, match="altered"):
            store.read(first.name.removesuffix(".aesgcm"))


def test_an_erasure_leaves_nothing_of_the_specimen(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.keep([one(), one(OTHER, "S-1", picture=1), one(b"third", "S-2"), one(CELL, "S-2")])
    assert store.erase("S-1") == Removed(images=2, rows=2)
    assert files(tmp_path) == [sha(b"third")]
    assert rows(tmp_path) == [
        ("", None, "auto"),
        ("", None, "auto"),
        ("S-2", sha(b"third"), "auto"),
        ("S-2", None, "auto"),
    ]
    assert b"S-1" not in (tmp_path / "index.db").read_bytes()
    assert store.erase("S-1") == Removed(0, 0)
    assert Store(tmp_path / "nowhere").erase("S-1") == Removed(0, 0)
    assert not (tmp_path / "nowhere").exists()


def test_what_is_older_goes_and_what_was_kept_again_stays(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.keep([one(), one(OTHER)])
    between = datetime.now(UTC)
    store.keep([one(CELL, "S-2")])
    fragment = tmp_path / sha(CELL)[:2] / ".left-by-a-kill"
    fragment.write_bytes(b"half a pic")
    os.utime(fragment, (1, 1))
    stray = tmp_path / "ab" / ("ab" * 32)
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"written, and killed before its row was")
    assert store.expire(between) == Removed(images=2, rows=2)
    assert files(tmp_path) == [sha(CELL)]
    assert rows(tmp_path) == [("S-2", sha(CELL), "auto")]


def test_several_at_once_lose_nothing(tmp_path: Path) -> None:
    def keep(worker: int) -> None:
        for number in range(5):
            Store(tmp_path).keep([one(f"{number}".encode(), f"S-{worker}")])
            Store(tmp_path).expire(datetime.now(UTC) - timedelta(days=1))

    threads = [threading.Thread(target=keep, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(rows(tmp_path)) == 20
    assert files(tmp_path) == sorted(sha(f"{number}".encode()) for number in range(5))


@pytest.mark.parametrize("content", [b"", b"secret!", base64.b64encode(bytes(31)), b"a" * 43])
def test_a_bad_key_is_said_without_its_bytes(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(KeepingError, match="openssl rand") as refused:
        read_key(tmp_path / "key")
    assert not content or content.decode() not in str(refused.value)
    (tmp_path / "key").write_bytes(base64.b64encode(KEY) + b"\n")
    assert read_key(tmp_path / "key") == KEY


def count(name: str) -> float:
    return REGISTRY.get_sample_value(f"bloodyspy_images_{name}_total") or 0.0


@contextmanager
def running(keeper: Keeper) -> Iterator[Keeper]:
    keeper.start()
    try:
        yield keeper
    finally:
        keeper.stop()


@pytest.mark.parametrize(("keep", "expected"), [(Keep.NONE, []), (Keep.REVIEW, [OTHER]), (Keep.ALL, [CELL, OTHER])])
def test_the_setting_says_what_is_kept(tmp_path: Path, keep: Keep, expected: list[bytes]) -> None:
    settings = Settings(root=tmp_path, keep_images=keep)
    with running(Keeper(settings)) as keeper:
        keeper.offer(one(CELL, action="auto"))
        keeper.offer(one(OTHER, action="review"))
    assert files(settings.kept_images) == sorted(map(sha, expected))
    assert settings.kept_images.exists() == bool(expected)


def test_what_is_too_much_at_once_is_lost_and_counted(tmp_path: Path) -> None:
    keeper = Keeper(Settings(root=tmp_path, keep_images=Keep.ALL), waiting=len(CELL) + 1)
    before = count("lost")
    for _ in range(3):
        keeper.offer(one())
    assert count("lost") == before + 2
    with running(keeper):
        pass
    assert keeper.room == len(CELL) + 1
    assert files(tmp_path / "var" / "kept") == [sha(CELL)]


def test_a_disk_that_takes_no_more_costs_the_image_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(root=tmp_path, keep_images=Keep.ALL)
    store_of(settings).keep([one(b"small")])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = count("lost")
    with caplog.at_level(logging.ERROR, "bloodyspy"), running(Keeper(settings)) as keeper:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
        try:
            for number in range(3):
                keeper.offer(one(bytes([number]) * 300_000))
                until = time.monotonic() + 30
                while count("lost") < before + number + 1 and time.monotonic() < until:
                    time.sleep(0.01)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        keeper.offer(one(OTHER))
    assert count("lost") == before + 3
    assert files(settings.kept_images) == sorted([sha(b"small"), sha(OTHER)])
    assert len([record for record in caplog.records if "are lost" in record.message]) == 1
    assert len(rows(settings.kept_images)) == 2


def test_a_service_removes_what_is_past_its_retention(tmp_path: Path) -> None:
    settings = Settings(root=tmp_path, keep_days=7)
    store_of(settings).keep([one(), one(OTHER)])
    with closing(sqlite3.connect(settings.kept_images / "index.db")) as index, index:
        index.execute("UPDATE kept SET time = '2020-01-01T00:00:00+00:00' WHERE sha256 = ?", (sha(CELL),))
    with running(Keeper(settings)):  # which keeps nothing itself
        until = time.monotonic() + 30
        while len(files(settings.kept_images)) > 1 and time.monotonic() < until:
            time.sleep(0.01)
    assert files(settings.kept_images) == [sha(OTHER)]


def test_the_command_erases_and_the_audit_log_tells(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bloodyspy.cli import app

    store_of(settings).keep([one(CELL, "S-2024-00017"), one(OTHER, "S-2024-00018")])
    app(["erase", "S-2024-00017"], standalone_mode=False)
    app(["erase", "S-2024-00017"], standalone_mode=False)
    said = " ".join(capsys.readouterr().out.split())
    assert "S-2024-00017: 1 image(s) were removed, and its id from 1 row(s) of the index." in said
    assert "Nothing was kept of S-2024-00017." in said
    first, second = (entry.event for entry in trail.entries(settings))
    assert (first.kind, first.images, first.rows) == ("erasure", 1, 1)
    assert (second.kind, second.images, second.rows) == ("erasure", 0, 0)
    assert files(settings.kept_images) == [sha(OTHER)]
