"""Alarms reach real receivers once, and wait for one that is down."""

import json
import logging
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message as Received
from judged_windows import verdict
from observed import START
from pydantic import SecretStr

from bloodyspy.settings import Settings, load_settings
from monitoring.causes import Cause
from monitoring.gauges import FILE
from monitoring.history import VERDICT, Check, checks
from monitoring.notification import RETRIED, Told, tell
from monitoring.telling import tell_of_checks
from monitoring.verdict import Overall, Verdict

NOW = datetime.now(UTC)
SECRET = "t0psecret"


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Hook:
    """A webhook's receiver on a port of its own, which can be down."""

    def __init__(self) -> None:
        self.port = free_port()
        self.received: list[dict[str, str]] = []
        self._server: HTTPServer | None = None

    @property
    def address(self) -> SecretStr:
        return SecretStr(f"json://user:{SECRET}@127.0.0.1:{self.port}/")

    def up(self, status: int = 200) -> None:
        received = self.received

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if status == 200:
                    received.append(body)
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return None

        self._server = HTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def down(self) -> None:
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.down()


def kept(history: Path, *verdicts: Verdict) -> list[Check]:
    for number, one in enumerate(verdicts, start=len(list(history.glob("check-*")))):
        folder = history / f"check-{number:03}"
        folder.mkdir(parents=True)
        at = one.model_copy(update={"end": START + timedelta(hours=number)})
        (folder / VERDICT).write_text(at.model_dump_json())
    return checks(history)


def test_an_alarm_is_told_once_when_it_begins_and_once_when_it_is_over(tmp_path: Path, hook: Hook) -> None:
    hook.up()
    drifted = verdict(Overall.DRIFTED, Cause.STAIN, site="north", reason="The blue went away.")
    past = kept(tmp_path, verdict(Overall.STABLE, site="north"), drifted)
    assert tell(tmp_path, past, hook.address, NOW) == Told(1, 0)
    past = kept(tmp_path, drifted, verdict(Overall.INSUFFICIENT, site="north"))
    assert tell(tmp_path, past, hook.address, NOW) == Told(0, 0)
    past = kept(tmp_path, verdict(Overall.STABLE, site="north"))
    assert tell(tmp_path, past, hook.address, NOW) == Told(1, 0)
    assert tell(tmp_path, past, hook.address, NOW) == Told(0, 0)
    begun, over = hook.received
    assert begun["title"] == "Drift alarm: stain (north)"
    assert over["title"] == "Drift alarm over: stain (north)"
    for told in ("The blue went away.", "Probable cause: stain", str(past[1].page), "What to do:"):
        assert told in begun["message"]


@pytest.mark.parametrize("refuses", [None, 500])
def test_a_receiver_that_is_down_is_told_when_it_is_back(
    tmp_path: Path, hook: Hook, caplog: pytest.LogCaptureFixture, refuses: int | None
) -> None:
    caplog.set_level(logging.DEBUG)
    if refuses:
        hook.up(refuses)
    past = kept(tmp_path, verdict(Overall.DRIFTED, Cause.FOCUS))
    assert tell(tmp_path, past, hook.address, NOW) == Told(0, 1)
    assert "Address 1 of BLOODYSPY_NOTIFY did not take 'Drift alarm: focus'" in caplog.text
    past = kept(tmp_path, verdict(Overall.STABLE))
    assert tell(tmp_path, past, hook.address, NOW) == Told(0, 1)
    hook.down()
    hook.up()
    assert tell(tmp_path, past, hook.address, NOW) == Told(2, 0)
    assert [one["title"] for one in hook.received] == ["Drift alarm: focus", "Drift alarm over: focus"]
    assert SECRET not in caplog.text
    assert sorted(path.name.rsplit("-", 1)[0] for path in tmp_path.glob("*/*told*")) == ["told-begun", "told-over"]


def test_one_receiver_does_not_wait_for_another(tmp_path: Path, hook: Hook) -> None:
    hook.up()
    other = Hook()
    both = SecretStr(f"{other.address.get_secret_value()}, {hook.address.get_secret_value()}, nonsense://x")
    past = kept(tmp_path, verdict(Overall.DRIFTED, Cause.SIZE))
    assert tell(tmp_path, past, both, NOW) == Told(1, 2)
    assert tell(tmp_path, past, both, NOW) == Told(0, 2)
    assert len(hook.received) == 1


def test_what_was_over_long_ago_is_told_to_nobody(tmp_path: Path, hook: Hook) -> None:
    hook.up()
    past = kept(tmp_path, verdict(Overall.DRIFTED, Cause.STAIN), verdict(Overall.STABLE))
    assert tell(tmp_path, past, hook.address, NOW + RETRIED + timedelta(days=1)) == Told(0, 0)
    assert tell(tmp_path, past, None, NOW) == Told(0, 0)


def test_where_nothing_can_be_marked_nothing_is_sent(tmp_path: Path, hook: Hook) -> None:
    hook.up()
    past = kept(tmp_path, verdict(Overall.DRIFTED, Cause.STAIN))
    gone = [Check(tmp_path / "gone", one.verdict) for one in past]
    assert tell(tmp_path, gone, hook.address, NOW) == Told(0, 0)
    assert hook.received == []


def test_by_mail(tmp_path: Path) -> None:
    received: list[str] = []

    class Box(Received):
        def handle_message(self, message: object) -> None:
            received.append(str(message))

    port = free_port()
    post = Controller(Box(), hostname="127.0.0.1", port=port)
    post.start()
    try:
        address = SecretStr(
            f"mailto://127.0.0.1:{port}/?from=bloodyspy@lab.example&to=anna@lab.example,ben@lab.example"
        )
        past = kept(tmp_path, verdict(Overall.DRIFTED, Cause.CASE_MIX))
        assert tell(tmp_path, past, address, NOW) == Told(1, 0)
    finally:
        post.stop()
    assert len(received) == 2
    assert all("Subject: Drift alarm: case mix" in mail for mail in received)


def test_after_a_check_people_and_prometheus_are_told(
    settings: Settings, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the setting, which shows itself nowhere."""
    hook.up()
    monkeypatch.setenv("BLOODYSPY_NOTIFY", hook.address.get_secret_value())
    told = load_settings()
    kept(told.drift_history, verdict(Overall.DRIFTED, Cause.STAIN))
    assert tell_of_checks(told) == Told(1, 0)
    assert tell_of_checks(told) == Told(0, 0)
    assert 'bloodyspy_drift_alarm{cause="stain",instrument="",site=""} 1.0' in (told.drift_history / FILE).read_text()
    assert SECRET not in f"{told!r} {told.model_dump()} {told.model_dump_json()}"
