"""Importing for real: killed, raced, out of space, over HTTP, and on the images of the PBC data set."""

import functools
import hashlib
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pictures import delivery, picture, snapshot, write

from bloodyspy.dataset import download
from bloodyspy.dataset.holdings import Reason
from bloodyspy.dataset.importing import import_images
from bloodyspy.errors import SourceError
from bloodyspy.params import Params
from bloodyspy.settings import Settings

IMPORT = """
import sys
from bloodyspy.dataset.importing import import_images
from bloodyspy.params import load_params
from bloodyspy.settings import load_settings
s = load_settings()
print(import_images(sys.argv[1], s, load_params(s.root / "params.yaml")).data_digest)
"""


def start(source: Path, **options: object) -> subprocess.Popen[str]:
    """The import in a process of its own, in the project of the ``settings`` fixture."""
    command = [sys.executable, "-c", IMPORT, str(source)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, **options
    )


def staging(settings: Settings) -> list[Path]:
    return list(settings.root.glob(".data-*"))


class TestKilled:
    """``kill -9`` at any moment leaves data/ as it was or as it shall be, and the same command ends right."""

    KILLS = 8

    def test_at_many_moments(self, tmp_path: Path, settings: Settings, params: Params) -> None:
        first, second = delivery(tmp_path / "first", 5), delivery(tmp_path / "second", 150, first=500)
        import_images(str(first), settings, params)
        before = snapshot(settings.data)
        after: dict[str, bytes] | None = None
        killed_inside = 0
        for kill in range(self.KILLS):
            process = start(second)
            while not staging(settings) and process.poll() is None:
                time.sleep(0.001)
            time.sleep(0.05 * kill)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            killed_inside += process.wait() == -signal.SIGKILL
            process.communicate()
            now = snapshot(settings.data)
            if now != before:
                assert len(now) == len(before) + 8 * 150
                after = now
        assert killed_inside >= 3
        report = import_images(str(second), settings, params)
        end = snapshot(settings.data)
        assert after is None or end == after
        assert len(report.holdings.images) == 8 * 155
        assert not staging(settings)
        again = import_images(str(second), settings, params)
        assert (again.changed, again.data_digest) == (False, report.data_digest)

    def test_before_there_is_any_data(self, tmp_path: Path, settings: Settings, params: Params) -> None:
        source = delivery(tmp_path / "d", 100)
        process = start(source)
        while not any(path.glob("incoming/*") for path in staging(settings)) and process.poll() is None:
            time.sleep(0.001)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert not settings.data.exists()
        assert import_images(str(source), settings, params).taken == 800
        assert not staging(settings)


def test_two_imports_at_once_both_arrive(tmp_path: Path, settings: Settings) -> None:
    processes = [start(delivery(tmp_path / name, 20, first=first)) for name, first in (("one", 0), ("two", 100))]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    assert sum("/" in name for name in snapshot(settings.data)) == 8 * 40


def test_a_disk_that_refuses_to_write_leaves_data_as_it_was(tmp_path: Path, settings: Settings, params: Params) -> None:
    import_images(str(delivery(tmp_path / "one", 2)), settings, params)
    before = snapshot(settings.data)
    large = write(tmp_path / "large", {"ig/small.png": picture(90), "ig/large.bmp": picture(91, "BMP", side=400)})
    limit = functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE, (200_000, 200_000))
    process = start(large, preexec_fn=limit)
    _, errors = process.communicate(timeout=120)
    assert "SourceError: The import could not be written" in errors
    assert "data/ is as it was" in errors
    assert snapshot(settings.data) == before
    assert not staging(settings)


@dataclass
class Server:
    """A web server with the faults of real ones, one archive behind every path."""

    payload: bytes
    ranges: bool = True
    drop_after: int | None = None
    """Break the connection after this many bytes of each answer."""
    busy: int = 0
    """Answer 503 so many times first."""
    requests: list[str | None] = field(default_factory=list)
    """The Range header of each request."""
    url: str = ""


@pytest.fixture
def archive(tmp_path: Path) -> bytes:
    folder = delivery(tmp_path / "d", 3)
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as packed:
        for path in sorted(folder.rglob("*.png")):
            packed.write(path, Path("top") / path.relative_to(folder))
    return (tmp_path / "d.zip").read_bytes()


@pytest.fixture
def server(archive: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    state = Server(archive)
    monkeypatch.setattr(download, "PAUSE_S", 0.01)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            state.requests.append(asked)
            if self.path == "/moved":
                self.send_response(302)
                self.send_header("Location", f"{state.url}/d.zip")
                return self.end_headers()
            if self.path == "/nothing":
                return self.send_error(404)
            if state.busy:
                state.busy -= 1
                return self.send_error(503)
            start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and state.ranges else 0
            if start >= len(state.payload):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(state.payload)}")
                self.send_header("Content-Length", "0")
                return self.end_headers()
            body = state.payload[start:]
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(state.payload) - 1}/{len(state.payload)}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: state.drop_after])
            return None

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        state.url = f"http://127.0.0.1:{web.server_address[1]}"
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        yield state
        web.shutdown()
        thread.join()


class TestOverHttp:
    """A zip by its address."""

    @pytest.fixture(autouse=True)
    def _context(self, settings: Settings, params: Params, server: Server) -> None:
        self.settings, self.params, self.server = settings, params, server
        self.sha256 = hashlib.sha256(server.payload).hexdigest()

    def take(self, path: str = "/d.zip", checksum: str | None = ""):
        checksum = self.sha256 if checksum == "" else checksum
        return import_images(self.server.url + path, self.settings, self.params, checksum=checksum)

    @property
    def kept(self) -> list[Path]:
        return list((self.settings.state / "downloads").glob("*"))

    def test_whole(self) -> None:
        report = self.take("/d.zip?token=secret")
        assert report.taken == 24
        assert report.source == f"{self.server.url}/d.zip"  # no query: it may hold a secret
        assert self.server.requests == [None]
        assert self.kept == []

    def test_redirected(self) -> None:
        assert self.take("/moved").taken == 24

    def test_broken_off_again_and_again_goes_on_where_it_stopped(self) -> None:
        self.server.drop_after = len(self.server.payload) // 4
        assert self.take().taken == 24
        starts = [int(asked.removeprefix("bytes=").removesuffix("-")) for asked in self.server.requests if asked]
        assert self.server.requests[0] is None
        assert len(starts) >= 3
        assert starts == sorted(set(starts))

    def test_given_up_and_taken_up_by_the_next_call(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(download, "ATTEMPTS", 1)
        self.server.drop_after = len(self.server.payload) // 2
        with pytest.raises(SourceError, match="bytes are kept; the same command goes on"):
            self.take()
        assert not self.settings.data.exists()
        (part,) = self.kept
        have = part.stat().st_size
        assert 0 < have < len(self.server.payload)
        self.server.drop_after = None
        assert self.take().taken == 24
        assert self.server.requests[-1] == f"bytes={have}-"

    def test_a_server_without_ranges_starts_over(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.server.ranges = False
        self._leave_part(self.server.payload[:1000])
        assert self.take().taken == 24

    def test_a_complete_part_is_recognised(self) -> None:
        self._leave_part(self.server.payload)
        assert self.take().taken == 24

    def test_a_part_longer_than_the_file_is_thrown_away(self) -> None:
        self._leave_part(self.server.payload + b"more")
        assert self.take().taken == 24

    def test_a_busy_server_is_asked_again(self) -> None:
        self.server.busy = 2
        assert self.take().taken == 24

    def test_a_stale_part_is_found_out_and_removed(self) -> None:
        self._leave_part(b"x" * 1000)
        with pytest.raises(SourceError, match="removed"):
            self.take()
        assert self.kept == []
        assert self.take().taken == 24

    def test_a_wrong_checksum_takes_nothing(self) -> None:
        with pytest.raises(SourceError, match=f"SHA-256 {self.sha256}, not 0000"):
            self.take(checksum="0" * 64)
        assert not self.settings.data.exists()
        assert self.kept == []

    def test_no_checksum_no_download(self) -> None:
        with pytest.raises(SourceError, match="--checksum"):
            self.take(checksum=None)
        assert self.server.requests == []

    def test_absent(self) -> None:
        with pytest.raises(SourceError, match="404"):
            self.take("/nothing")

    def test_unreachable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(download, "ATTEMPTS", 2)
        with pytest.raises(SourceError, match="could not be fetched in 2 attempts"):
            import_images("http://127.0.0.1:9/d.zip", self.settings, self.params, checksum=self.sha256)

    def test_an_archive_that_was_fetched_is_not_fetched_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        whole = self.settings.state / "downloads" / f"{self.sha256}.zip"
        whole.parent.mkdir(parents=True)
        whole.write_bytes(self.server.payload)
        assert self.take().taken == 24
        assert self.server.requests == []

    def _leave_part(self, content: bytes) -> None:
        part = self.settings.state / "downloads" / f"{self.sha256}.zip.part"
        part.parent.mkdir(parents=True)
        part.write_bytes(content)


@pytest.mark.real
class TestRealImages:
    """The images people have."""

    def test_the_pbc_folder(self, real_data: Path, settings: Settings, params: Params) -> None:
        report = import_images(str(real_data / "pbc"), settings, params)
        assert (report.taken, report.quarantined) == (7693, 19)
        refused = Counter(entry.reason for entry in report.intake.quarantined)
        assert refused == {Reason.EXACT_DUPLICATE: 16, Reason.LABEL_CONFLICT: 2, Reason.HIDDEN: 1}
        conflicts = {entry.path for entry in report.intake.quarantined if entry.reason is Reason.LABEL_CONFLICT}
        assert conflicts == {"eosinophil/EO_225902.jpg", "neutrophil/BNE_191112.jpg"}
        (hidden,) = (entry.path for entry in report.intake.quarantined if entry.reason is Reason.HIDDEN)
        assert hidden == "neutrophil/.DS_169665.jpg"
        per_class = Counter(image.cell_type.value for image in report.holdings.images)
        assert per_class == {
            "basophil": 549,
            "eosinophil": 1403,
            "erythroblast": 698,
            "ig": 1303,
            "lymphocyte": 546,
            "monocyte": 639,
            "neutrophil": 1498,
            "platelet": 1057,
        }
        for image in report.holdings.images[::97]:
            assert (settings.data / image.path).read_bytes() == (real_data / "pbc" / image.path).read_bytes()
        again = import_images(str(real_data / "pbc"), settings, params)
        assert (again.changed, again.already_there, again.data_digest) == (False, 7693, report.data_digest)

    def test_another_laboratory_is_added_and_the_web_is_not(
        self, real_data: Path, settings: Settings, params: Params
    ) -> None:
        bccd = import_images(str(real_data / "other-labs" / "bccd"), settings, params)
        assert bccd.taken + bccd.quarantined == 351
        web = import_images(str(real_data / "other-labs" / "web"), settings, params)
        assert web.taken == 0
        refused = Counter(entry.reason for entry in web.intake.quarantined)
        assert refused == {Reason.OUTSIDE_CLASS_FOLDER: 50, Reason.NOT_AN_IMAGE: 1}
        assert len(web.holdings.images) == bccd.taken
