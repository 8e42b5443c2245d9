"""The access log and the middleware that writes it, without a server."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from starlette.types import Message, Receive, Scope, Send

from bloodyspy.errors import SettingsError
from bloodyspy.serving.access_log import AccessLog, read_key
from bloodyspy.serving.metrics import Metrics
from bloodyspy.serving.traffic import Traffic


class Route:
    path = "/v1/smears/{job}"


async def answers(scope: Scope, receive: Receive, send: Send) -> None:
    scope["route"] = Route
    scope["state"].update(request_id="id-0001", user="anna", files=2, model_version=3)
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"12345", "more_body": True})
    await send({"type": "http.response.body", "body": b"678"})


async def breaks(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("broken")


async def waits_for_a_body(scope: Scope, receive: Receive, send: Send) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    await send({"type": "http.response.start", "status": 500, "headers": []})  # as a framework that knows no better


async def fetch(traffic: Traffic, path: str = "/v1/smears/7", **scope: Any) -> None:
    messages: list[Message] = [{"type": "http.request", "body": b"abc", "more_body": True}, {"type": "http.disconnect"}]

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        pass

    await traffic({"type": "http", "method": "POST", "path": path, "headers": [], **scope}, receive, send)


class Watched:
    """A middleware whose log is a file and whose registry is its own."""

    def __init__(self, place: Path, app: Any, key: bytes = b"k" * 32) -> None:
        self.registry, self.place = CollectorRegistry(), place
        self.descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.traffic = Traffic(app, Metrics(self.registry), AccessLog(key, self.descriptor))

    def line(self) -> dict[str, Any]:
        (line,) = self.place.read_text().splitlines()
        found: dict[str, Any] = json.loads(line)
        return found

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"bloodyspy_{name}", labels)


def test_a_line_tells_of_the_request_and_of_no_person(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "log", answers)
    asyncio.run(fetch(watched.traffic, query_string=b"patient=Doe"))
    line = watched.line()
    assert (line["route"], line["status"], line["received_bytes"], line["sent_bytes"]) == (Route.path, 200, 3, 8)
    assert (line["request_id"], line["files"], line["model_version"], line["trace_id"]) == ("id-0001", 2, 3, None)
    assert "anna" not in watched.place.read_text()
    assert "Doe" not in watched.place.read_text()
    assert watched.value("requests_total", method="POST", route=Route.path, status="200") == 1
    assert watched.value("requests_in_flight") == 0
    assert (watched.value("received_bytes_total"), watched.value("sent_bytes_total")) == (3, 8)


def test_what_breaks_is_a_500_and_is_raised(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "log", breaks)
    with pytest.raises(RuntimeError, match="broken"):
        asyncio.run(fetch(watched.traffic))
    assert watched.line()["status"] == 500
    assert watched.value("requests_in_flight") == 0


def test_a_client_that_went_away_is_no_fault_of_the_service(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "log", waits_for_a_body)
    asyncio.run(fetch(watched.traffic))
    assert watched.line()["status"] == 499
    assert watched.value("requests_total", method="POST", route="other", status="499") == 1


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz", "/metrics"])
def test_probes_are_counted_and_not_logged(tmp_path: Path, path: str) -> None:
    watched = Watched(tmp_path / "log", waits_for_a_body)
    asyncio.run(fetch(watched.traffic, path))
    assert watched.place.read_text() == ""
    assert watched.value("requests_total", method="POST", route=path, status="499") == 1


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "0af7651916cd43dd8448eb211c80319c"),
        (b"Jane Doe", None),
        (b"00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01", None),
        (b"", None),
    ],
)
def test_a_trace_that_the_client_named_is_logged_without_tracing(
    tmp_path: Path, given: bytes, kept: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(tmp_path / "log", answers)
    asyncio.run(fetch(watched.traffic, headers=[(b"traceparent", given)]))
    assert watched.line()["trace_id"] == kept


def test_a_line_that_cannot_be_written_is_counted_and_costs_no_answer(tmp_path: Path) -> None:
    watched = Watched(tmp_path / "log", answers)
    os.close(watched.descriptor)
    full = os.open("/dev/full", os.O_WRONLY)
    traffic = Traffic(answers, Metrics(registry := CollectorRegistry()), AccessLog(b"k" * 32, full))
    asyncio.run(fetch(traffic))
    assert registry.get_sample_value("bloodyspy_access_log_lines_lost_total") == 1
    os.close(full)


def test_pseudonyms_hold_with_the_key_and_only_with_it(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("0123456789abcdef\n")
    one, same = (AccessLog(read_key(tmp_path / "key"), 1) for _ in range(2))
    assert one.pseudonym("anna") == same.pseudonym("anna") != one.pseudonym("berta")
    assert AccessLog(read_key(None), 1).pseudonym("anna") != AccessLog(read_key(None), 1).pseudonym("anna")
    assert len({one.pseudonym(f"user {i}") for i in range(3000)}) == 3000
    assert one.pseudonym("anna") == same.pseudonym("anna")  # forgotten meanwhile, and the same again


def test_a_key_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="BLOODYSPY_PSEUDONYM_KEY_FILE"):
        read_key(tmp_path / "absent")
    (tmp_path / "short").write_text("secret\n")
    with pytest.raises(SettingsError, match="6 bytes"):
        read_key(tmp_path / "short")
