"""What people send by mistake or in malice: each gets the right 4xx and a sentence, and the service goes on."""

import asyncio
import os
import socket
import struct
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
import uvicorn
from fastapi import FastAPI, Request
from handmade import make_artefact
from PIL import Image
from running import NAME, PASSWORD, Service, served

from bloodyspy.adapters import packaging
from bloodyspy.dataset.importing import import_images
from bloodyspy.dataset.manifest import build_manifest, write_manifest
from bloodyspy.dataset.preparation import load_prepared, prepare
from bloodyspy.images.decode import decode
from bloodyspy.model.classifier import Classifier
from bloodyspy.params import Params
from bloodyspy.serving.accounts import add_user
from bloodyspy.serving.uploads import MAX_BODY, MAX_FIELD, MAX_FILES, receive_uploads
from bloodyspy.settings import Settings

# BentoML 1.4 asks pathspec for a pattern by its old name.
pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")

MB = 1024 * 1024


def encoded(image_format: str, pixels: np.ndarray | None = None, mode: str = "RGB", **options: object) -> bytes:
    if pixels is None:
        pixels = np.random.default_rng(0).integers(0, 255, (90, 100, 3)).astype(np.uint8)
    stream = BytesIO()
    Image.fromarray(pixels).convert(mode).save(stream, image_format, **options)
    return stream.getvalue()


def png(width: int, height: int, data: bytes) -> bytes:
    """A PNG that says it is that large."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


JPEG = encoded("JPEG")
BAD: dict[str, tuple[bytes, int]] = {
    "a text file": (b"This is no picture.\n" * 100, 422),
    "an empty file": (b"", 422),
    "a truncated JPEG": (JPEG[: len(JPEG) // 2], 422),
    "only a JPEG's first bytes": (JPEG[:20], 422),
    "a truncated PNG": (encoded("PNG")[:-300], 422),
    "a 50-megapixel picture": (encoded("PNG", np.zeros((7072, 7072, 3), np.uint8)), 413),
    "a decompression bomb": (png(60_000, 60_000, zlib.compress(bytes(20 * MB))), 413),
    "a PNG that unpacks to more than it says": (png(64, 64, zlib.compress(bytes(20 * MB))), 0),
    "a GIF": (encoded("GIF"), 422),
    "a PDF": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<<>>\nendobj\n", 422),
    "an SVG": (b'<svg xmlns="http://www.w3.org/2000/svg"><rect width="9" height="9"/></svg>', 422),
    "random bytes": (os.urandom(5000), 422),
    "a JPEG with thousands of segments": (JPEG[:2] + b"\xff\xe4\x00\x02" * 5000 + JPEG[2:], 422),
    "a page with a JPEG behind it": (b"<html><script>alert(1)</script></html>" + JPEG, 422),
}
GOOD: dict[str, bytes] = {
    "JPEG": JPEG,
    "progressive JPEG": encoded("JPEG", progressive=True),
    "grey JPEG": encoded("JPEG", mode="L"),
    "CMYK JPEG": encoded("JPEG", mode="CMYK"),
    "PNG": encoded("PNG"),
    "transparent PNG": encoded("PNG", mode="RGBA"),
    "palette PNG": encoded("PNG", mode="P"),
    "BMP": encoded("BMP"),
    "TIFF": encoded("TIFF"),
    "LZW TIFF": encoded("TIFF", compression="tiff_lzw"),
    "a picture of one pixel": encoded("PNG", np.zeros((1, 1, 3), np.uint8)),
    "a long thin picture": encoded("PNG", np.zeros((2, 900, 3), np.uint8)),
}


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("uploads")


@pytest.fixture(scope="module")
def classifier(state: Path) -> Classifier:
    settings = Settings(root=state, state=state / "var")
    artefact = make_artefact(state / "artefact")
    packaging.store(artefact.path, 1, settings)
    packaging.tell(1, settings)
    return Classifier(artefact)


@pytest.fixture(scope="module")
def service(state: Path, classifier: Classifier) -> Iterator[Service]:
    add_user(state / "users.json", NAME, PASSWORD)
    environment = {
        "BLOODYSPY_ROOT": str(state),
        "BLOODYSPY_USERS_FILE": str(state / "users.json"),
        "BENTOML_HOME": str(state / "home"),
    }
    with served(state / "service.log", environment) as running:
        yield running


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    """A signed-in client; after each test the service still answers, and nothing was a fault of its own."""
    with service.client() as client:
        yield client
        assert client.post("/bloodyspy/image", files={"file": ("good.jpg", JPEG)}).status_code == 200
    assert "Traceback" not in service.log.read_text()


def sentence(answer: httpx.Response) -> str:
    text = str(answer.json()["detail"])
    assert len(text.split()) > 4
    assert text.endswith((".", ")"))
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"]
    return text


@pytest.mark.parametrize("what", BAD)
def test_a_bad_file_is_refused_with_a_sentence(client: httpx.Client, classifier: Classifier, what: str) -> None:
    payload, status = BAD[what]
    alone = client.post("/bloodyspy/image", files={"file": ("cell.jpg", payload)})
    full = client.post("/v1/classify", files={"files": ("cell.jpg", payload)})
    if not status:  # what decodes here decodes there
        status = 200 if decode(payload).pixels.size else 422
    assert alone.status_code == full.status_code == status
    if status != 200:
        sentence(alone)
        sentence(full)
        files = [("files", ("good.jpg", JPEG)), ("files", ("bad", payload)), ("files", ("good too.jpg", JPEG))]
        several = client.post("/bloodyspy/images", files=files)
        assert several.status_code == 200
        assert set(several.json()["bad"]) == {"filename", "error"}
        assert several.json()["good.jpg"]["predicted"] == several.json()["good too.jpg"]["predicted"]


@pytest.mark.parametrize("what", GOOD)
def test_every_format_is_answered_as_in_process(client: httpx.Client, classifier: Classifier, what: str) -> None:
    answer = client.post("/v1/classify", files={"file": ("cell", GOOD[what], "application/octet-stream")})
    (result,) = answer.json()["results"]
    expected = classifier.observe(GOOD[what])
    assert tuple(result["probabilities"].values()) == pytest.approx(expected.probabilities, abs=1e-7)


@pytest.mark.parametrize("path", ["/bloodyspy/image", "/bloodyspy/images", "/v1/classify"])
def test_a_form_without_a_file(client: httpx.Client, path: str) -> None:
    boundary = {"Content-Type": "multipart/form-data; boundary=x"}
    text = b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\njust text\r\n--x--\r\n'
    for answer, status in (
        (client.post(path), 415),
        (client.post(path, json={"file": "a.jpg"}), 415),
        (client.post(path, content=JPEG, headers={"Content-Type": "image/jpeg"}), 415),
        (client.post(path, data={"file": "a.jpg"}), 415),
        (client.post(path, files={"picture": ("a.jpg", JPEG)}), 422),
        (client.post(path, content=text, headers=boundary), 422),
        (client.post(path, content=b"", headers=boundary), 422),
        (client.post(path, content=b"no form at all", headers=boundary), 400),
        (client.post(path, content=text, headers={"Content-Type": "multipart/form-data"}), 400),
        (client.post(path, content=text.replace(b"name=", b"nome="), headers=boundary), 400),
        (client.post(path, content=text.replace(b"just text", b"x" * 2 * MAX_FIELD), headers=boundary), 400),
        (
            client.post(path, content=text, headers={"Content-Type": "multipart/form-data; boundary=x; charset=idna"}),
            422,
        ),
    ):
        assert answer.status_code == status, answer.text
        sentence(answer)


def test_two_files_where_one_belongs(client: httpx.Client) -> None:
    answer = client.post("/bloodyspy/image", files=[("file", ("a", JPEG)), ("file", ("b", JPEG))])
    assert answer.status_code == 422
    assert "/bloodyspy/images" in sentence(answer)


def test_as_many_files_as_allowed_and_one_more(client: httpx.Client) -> None:
    files = [("files", (f"{number}.jpg", JPEG)) for number in range(MAX_FILES)]
    assert len(client.post("/bloodyspy/images", files=files).json()) == MAX_FILES + 1
    answer = client.post("/bloodyspy/images", files=[*files, ("files", ("one more", JPEG))])
    assert answer.status_code == 413
    sentence(answer)


@pytest.mark.parametrize("announced", [True, False])
def test_a_hundred_megabytes_are_refused_without_being_kept(
    client: httpx.Client, service: Service, announced: bool
) -> None:
    workers = psutil.Process(service.process).children(recursive=True)
    before = max(worker.memory_info().rss for worker in workers)
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    if announced:
        headers["Content-Length"] = str(len(head) + 100 * MB)

    def body() -> Iterator[bytes]:
        yield head
        for _ in range(100):
            yield bytes(MB)

    answer = client.post("/bloodyspy/image", content=body(), headers=headers)
    assert answer.status_code == 413
    assert "32 MB" in sentence(answer)
    after = max(worker.memory_info().rss for worker in workers)
    assert after - before < MAX_BODY * 2 + 16 * MB


@pytest.mark.parametrize(
    "payload",
    [encoded("PNG", np.zeros((4900, 5000, 3), np.uint8))[:-200], b"This is no picture. " * MB],
    ids=["74 MB when unpacked", "20 MB as it is"],
)
def test_what_is_refused_is_not_kept(client: httpx.Client, service: Service, payload: bytes) -> None:
    """A refusal held the pixels, 94 MB each in the first case, until the garbage collector came by."""
    workers = psutil.Process(service.process).children(recursive=True)

    def held() -> int:
        for path, field in (("/bloodyspy/image", "file"), ("/bloodyspy/images", "files"), ("/v1/classify", "files")):
            answer = client.post(path, files={field: ("cell.png", payload)})
            assert answer.status_code == (200 if path.endswith("images") else 422)
        return max(worker.memory_info().rss for worker in workers)

    warm = max(held() for _ in range(2))
    assert max(held() for _ in range(6)) - warm < 150 * MB


def test_the_largest_allowed_upload_is_answered(client: httpx.Client) -> None:
    payload = JPEG + bytes(MAX_BODY - len(JPEG) - MB)  # what follows a JPEG's end is ignored by decoders
    assert client.post("/bloodyspy/image", files={"file": ("large.jpg", payload)}).status_code == 200


def test_no_upload_goes_through_a_temporary_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a temporary file was made")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    application = FastAPI()

    @application.post("/")
    async def sizes(request: Request) -> list[int]:
        return [len(upload.payload) for upload in await receive_uploads(request, "file")]

    async def post() -> httpx.Response:
        transport = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return await client.post("/", files={"file": ("large.jpg", bytes(MAX_BODY - MB))})

    assert asyncio.run(post()).json() == [MAX_BODY - MB]


def test_a_body_that_trickles_in_is_ended() -> None:
    """On a server of its own, which waits for one second instead of half a minute."""
    application = FastAPI()

    @application.post("/")
    async def sizes(request: Request) -> list[int]:
        return [len(upload.payload) for upload in await receive_uploads(request, "file", seconds=1)]

    server = uvicorn.Server(uvicorn.Config(application, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), 30) as line:
            line.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n")
            line.sendall(b"Content-Length: 100000\r\n\r\n--x\r\n")
            answer = b""
            started = time.monotonic()
            while time.monotonic() - started < 30:
                with suppress(OSError):  # the other end may have gone by now
                    line.send(b"y")
                line.settimeout(0.1)
                with suppress(TimeoutError):
                    try:
                        received = line.recv(65536)
                    except ConnectionResetError:  # it was ended while a byte was on its way
                        received = b""
                    answer += received
                    if not received:
                        break
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"did not arrive within 1 s" in answer
        assert b"connection: close" in answer.lower()
        assert not received  # the connection was ended
        reply = httpx.post(f"http://127.0.0.1:{port}/", files={"file": ("a.jpg", JPEG)}, timeout=30, trust_env=False)
        assert reply.json() == [len(JPEG)]
    finally:
        server.should_exit = True
        thread.join()


def test_strangers_are_refused_before_they_have_sent_much(service: Service) -> None:
    def body() -> Iterator[bytes]:
        for _ in range(100):
            yield bytes(MB)

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = httpx.post(service.url + "/bloodyspy/image", content=body(), headers=headers, timeout=60, trust_env=False)
    assert answer.status_code == 401


def agree(
    client: httpx.Client, classifier: Classifier, settings: Settings, params: Params, pictures: dict[str, bytes]
) -> None:
    """The ``prepare`` stage, the in-process classifier and HTTP, on the same bytes."""
    source = settings.root / "source"
    for path, payload in pictures.items():
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_bytes(payload)
    import_images(str(source), settings, params)
    manifest = build_manifest(settings.data, params.split)
    write_manifest(manifest, settings.manifest)
    prepared = load_prepared(prepare(settings, params, "px64"))
    assert len(prepared) >= 0.8 * len(pictures)  # duplicates are imported once
    for array, path in zip(prepared, manifest["path"], strict=True):
        payload = (settings.data / path).read_bytes()
        assert np.array_equal(array, classifier.prepare(payload))
        expected = tuple(float(p) for p in classifier.probabilities(array[None])[0])
        assert classifier.observe(payload).probabilities == expected
        answer = client.post("/v1/classify", files={"file": (path, payload)}).json()
        assert tuple(answer["results"][0]["probabilities"].values()) == pytest.approx(expected, abs=1e-7)


def test_drawn_pictures_are_prepared_and_answered_alike(
    client: httpx.Client, classifier: Classifier, settings: Settings, params: Params
) -> None:
    agree(
        client, classifier, settings, params, {f"ig/{name}.jpg": GOOD[name] for name in GOOD if " picture" not in name}
    )


@pytest.mark.real
def test_real_cells_are_prepared_and_answered_alike(
    client: httpx.Client, classifier: Classifier, settings: Settings, params: Params, real_data: Path
) -> None:
    folders = [*(real_data / "pbc").iterdir(), *(real_data / "other-labs" / "bccd").iterdir()]
    paths = [path for folder in folders if folder.is_dir() for path in sorted(folder.glob("[!.]*"))[7:9]]
    pictures = {f"{path.parent.name}/{path.name}": path.read_bytes() for path in paths}
    agree(client, classifier, settings, params, pictures)


@pytest.mark.real
def test_what_people_really_upload(client: httpx.Client, classifier: Classifier, real_data: Path) -> None:
    for path in sorted((real_data / "other-labs" / "web").iterdir()):
        answer = client.post("/bloodyspy/image", files={"file": (path.name, path.read_bytes())})
        if path.suffix == ".txt":
            assert answer.status_code == 422
            assert "not a JPEG" in sentence(answer)
        else:
            assert answer.status_code == 200, path
            expected = classifier.observe(path.read_bytes())
            assert answer.json()["predicted"] == expected.predicted.spelled_out
