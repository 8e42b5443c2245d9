"""Who may do what at a real service, who is sent away, and that no secret is left anywhere."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from handmade import make_artefact
from PIL import Image
from running import NAME, PASSWORD, ROOT, Service, served

from bloodyspy.adapters import packaging
from bloodyspy.kept import Store, read_key
from bloodyspy.promotion import trail
from bloodyspy.serving.accounts import add_user
from bloodyspy.serving.roles import Role
from bloodyspy.serving.throttle import PAIR_FREE
from bloodyspy.settings import Settings

# BentoML 1.4 asks pathspec for a pattern by its old name.
pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")

WRONG = "wrong horse battery"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    root = tmp_path_factory.mktemp("access")
    settings = Settings(root=root, state=root / "var", users_file=root / "users.json")
    packaging.store(make_artefact(root / "artefact").path, 1, settings)
    packaging.tell(1, settings)
    add_user(root / "users.json", NAME, PASSWORD)
    add_user(root / "users.json", "reader", PASSWORD, Role.READ)
    return settings


@pytest.fixture(scope="module")
def environment(settings: Settings) -> dict[str, str]:
    return {**os.environ, "BLOODYSPY_ROOT": str(settings.root), "BLOODYSPY_USERS_FILE": str(settings.users_file)}


def bloodyspy(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name("bloodyspy"), *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, cwd=ROOT)


@pytest.fixture(scope="module")
def keys(settings: Settings, environment: dict[str, str]) -> dict[str, str]:
    """A key of anna's for each role that she has."""
    made = {}
    for role in ("read", "classify"):
        done = bloodyspy(environment, "keys", "add", f"{role}-key", "--user", NAME, "--role", role, "--days", "1")
        assert done.returncode == 0, done.stderr
        made[role] = done.stdout.strip()
    return made


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("elsewhere") / "keeping.key"
    path.write_bytes(b64encode(os.urandom(32)))
    return path


@pytest.fixture(scope="module")
def service(settings: Settings, keys: dict[str, str], environment: dict[str, str], key_file: Path) -> Iterator[Service]:
    kept = {"BLOODYSPY_KEEP_IMAGES": "all", "BLOODYSPY_KEEPING_KEY_FILE": str(key_file)}
    with served(settings.root / "service.log", {**environment, **kept, "BLOODYSPY_PROXIES": "192.0.2.7"}) as running:
        yield running


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=60, trust_env=False) as client:
        yield client


def picture(brightness: int = 120) -> bytes:
    stream = BytesIO()
    Image.fromarray(np.full((60, 60, 3), brightness, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


FILES = {"files": ("cell.png", picture())}


def test_a_role_may_what_it_may_by_password_and_by_key(client: httpx.Client, keys: dict[str, str]) -> None:
    reader = {"auth": ("reader", PASSWORD)}
    assert client.get("/v1/model", **reader).status_code == 200
    assert client.get("/v1/model/card", headers=bearer(keys["read"])).status_code == 200
    assert "read" in client.get("/bloodyspy/authorization", **reader).json()["message"]
    assert client.post("/v1/classify", files=FILES, headers=bearer(keys["classify"])).status_code == 200
    assert client.post("/v1/classify", files=FILES, auth=(NAME, PASSWORD)).json()["username"] == NAME
    for path, field in (("/v1/classify", "files"), ("/bloodyspy/image", "file"), ("/bloodyspy/images", "files")):
        for how in (reader, {"headers": bearer(keys["read"])}):
            answer = client.post(path, files={field: ("cell.png", picture())}, **how)
            assert answer.status_code == 403
            assert "`classify`" in answer.json()["detail"]


def test_a_key_is_refused_once_it_is_revoked(
    client: httpx.Client, keys: dict[str, str], environment: dict[str, str], settings: Settings
) -> None:
    key = bloodyspy(environment, "keys", "add", "short-lived", "--user", NAME).stdout.strip()
    assert client.get("/v1/model", headers=bearer(key)).status_code == 200
    assert bloodyspy(environment, "keys", "revoke", "short-lived").returncode == 0
    answer = client.get("/v1/model", headers=bearer(key))
    assert answer.status_code == 401
    assert "Bearer" in answer.headers["WWW-Authenticate"]
    assert client.get("/v1/model", headers=bearer(keys["read"])).status_code == 200
    changes = [e.event for e in trail.entries(settings) if e.event.kind == "key" and e.event.name == "short-lived"]
    assert [event.change for event in changes] == ["added", "revoked"]
    assert key not in settings.audit_log.read_text()
    assert key.split("_", 2)[2] not in settings.audit_log.read_text()


def test_users_are_changed_by_the_command_line_and_the_log_tells(
    client: httpx.Client, environment: dict[str, str], settings: Settings
) -> None:
    command = [Path(sys.executable).with_name("bloodyspy"), "users", "add", "carla", "--role", "read"]
    subprocess.run(command, env=environment, input=PASSWORD, check=True, text=True, capture_output=True, cwd=ROOT)
    carla = ("carla", PASSWORD)
    assert client.post("/v1/classify", files=FILES, auth=carla).status_code == 403
    assert bloodyspy(environment, "users", "role", "carla", "classify").returncode == 0
    assert client.post("/v1/classify", files=FILES, auth=carla).status_code == 200
    listed = bloodyspy(environment, "users", "list").stdout
    assert "carla" in listed
    assert "classify" in listed
    assert bloodyspy(environment, "users", "remove", "carla").returncode == 0
    assert client.post("/v1/classify", files=FILES, auth=carla).status_code == 401
    assert "no user 'carla'" in " ".join(bloodyspy(environment, "users", "role", "carla", "read").stderr.split())
    words = [e.event.words for e in trail.entries(settings) if e.event.kind == "user" and e.event.name == "carla"]
    assert words == ["user carla: added, read", "user carla: new role, classify", "user carla: removed"]


def test_guessing_is_locked_and_nobody_else_is(client: httpx.Client, keys: dict[str, str]) -> None:
    assert client.get("/v1/model", auth=(NAME, PASSWORD)).status_code == 200
    forged = {"X-Forwarded-For": "198.51.100.1"}
    for number in range(PAIR_FREE):
        forged["X-Forwarded-For"] = f"198.51.100.{number}"  # of nobody who is named in BLOODYSPY_PROXIES
        assert client.get("/v1/model", auth=(NAME, WRONG), headers=forged).status_code == 401
    answer = client.get("/v1/model", auth=(NAME, WRONG), headers=forged)
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) >= 1
    assert "Try again in" in answer.json()["detail"]
    assert client.get("/v1/model", auth=(NAME, PASSWORD)).status_code == 200
    assert client.get("/v1/model", headers=bearer(keys["read"])).status_code == 200
    assert client.get("/v1/model", auth=("reader", PASSWORD)).status_code == 200


def test_images_are_kept_enciphered_and_erased_by_specimen(
    client: httpx.Client, keys: dict[str, str], environment: dict[str, str], settings: Settings, key_file: Path
) -> None:
    specimen, payload = "S-2024-00017", picture(90)
    headers = {**bearer(keys["classify"]), "X-Specimen-ID": specimen, "X-Request-ID": "smear-0001"}
    files = [("files", ("a.png", payload)), ("files", ("b.png", b"no picture")), ("files", ("c.png", payload))]
    assert client.post("/v1/classify", files=files, headers=headers).status_code == 200
    digest = sha256(payload).hexdigest()
    file = settings.kept_images / digest[:2] / f"{digest}.aesgcm"
    until = time.monotonic() + 30
    while not file.exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert Store(settings.kept_images, read_key(key_file)).read(digest) == payload
    done = bloodyspy(environment, "erase", specimen)
    assert f"{specimen}: 1 image(s) were removed, and its id from 2 row(s)" in " ".join(done.stdout.split())
    assert "0 observation(s) of the store and in 2 line(s) of the logs" in " ".join(done.stdout.split())
    assert not file.exists()
    assert settings.observations is not None
    logs = [log.read_text() for log in settings.observations.rglob("*.jsonl")]
    assert logs
    assert not any(specimen in text for text in logs)


def test_a_specimen_that_names_a_person_is_refused_and_forgotten(
    client: httpx.Client, keys: dict[str, str], service: Service, settings: Settings
) -> None:
    for name in ("Mustermann", "756.9217.0769.85", "Mustermann 12.03.1970"):
        headers = {**bearer(keys["classify"]), "X-Specimen-ID": name}
        answer = client.post("/v1/classify", files=FILES, headers=headers)
        assert answer.status_code == 422
        assert "S-2024-00017" in answer.json()["detail"]
        for place in (answer.content, *(file.read_bytes() for file in settings.root.rglob("*") if file.is_file())):
            assert name.encode() not in place


def test_every_answer_has_strict_headers(client: httpx.Client, keys: dict[str, str]) -> None:
    key = {"headers": bearer(keys["classify"])}
    for answer in (
        client.post("/v1/classify", files=FILES, **key),
        client.post("/v1/classify", files={"files": ("cell.png", b"<script>")}, **key),
        client.get("/v1/model"),
        client.get("/v1/model/card", **key),
        client.get("/docs"),
        client.get("/nowhere"),
        client.get("/bloodyspy/status"),
        client.get("/readyz"),
        client.get("/metrics"),
    ):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Strict-Transport-Security" not in answer.headers
        assert "Server" not in answer.headers


def test_the_document_tells_both_ways_to_sign_in(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    assert document["components"]["securitySchemes"]["HTTPBearer"]["bearerFormat"] == "bsk_<id>_<secret>"
    for path, method in (("/v1/classify", "post"), ("/v1/model", "get"), ("/bloodyspy/authorization", "get")):
        assert document["paths"][path][method]["security"] == [{"HTTPBasic": []}, {"HTTPBearer": []}]
    assert "403" in document["paths"]["/v1/model"]["get"]["responses"]
    assert "security" not in document["paths"]["/bloodyspy/status"]["get"]


def test_no_secret_is_left_anywhere(
    client: httpx.Client, service: Service, keys: dict[str, str], settings: Settings, key_file: Path
) -> None:
    """Last: everything before it has used passwords and keys."""
    answers = [
        client.post("/v1/classify", files=FILES, auth=(NAME, PASSWORD)),
        client.post("/v1/classify", files=FILES, headers=bearer(keys["classify"])),
        client.get("/v1/model", auth=(PASSWORD, NAME)),  # in the wrong field
        client.get("/v1/model", headers=bearer(f"{keys['read']}x")),
        client.get("/v1/model", headers={"Authorization": keys["read"]}),
        client.get("/v1/model", headers={"Authorization": PASSWORD, "X-Request-ID": keys["read"]}),
    ]
    secrets = [PASSWORD.encode(), key_file.read_bytes(), *(key.split("_", 2)[2].encode() for key in keys.values())]
    for answer in answers:
        for secret in secrets:
            assert secret not in answer.content
            assert secret not in repr(answer.headers.raw).encode()
    root = psutil.Process(service.process)
    for process in (root, *root.children(recursive=True)):
        for place in ("cmdline", "environ"):
            content = Path(f"/proc/{process.pid}/{place}").read_bytes()
            assert not any(secret in content for secret in secrets)
    assert service.log.stat().st_size
    for file in settings.root.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert not any(secret in content for secret in secrets), file
    kept = json.loads(settings.users_file.read_text()) if settings.users_file else {}
    assert len(kept["keys"]) == len(keys)


def test_a_named_proxy_is_believed(settings: Settings, keys: dict[str, str], environment: dict[str, str]) -> None:
    proxied = {**environment, "BLOODYSPY_PROXIES": "127.0.0.1", "BLOODYSPY_REQUESTS_PER_ADDRESS": "2"}
    with served(settings.root / "proxied.log", proxied) as service:

        def status(headers: dict[str, str]) -> httpx.Response:
            headers = {**bearer(keys["read"]), **headers}
            return httpx.get(service.url + "/v1/model", headers=headers, timeout=60, trust_env=False)

        for address in ("198.51.100.1", "198.51.100.2", "2001:db8::1"):
            known = {"X-Forwarded-For": f"203.0.113.9, {address}", "X-Forwarded-Proto": "https"}
            answers = [status(known) for _ in range(3)]
            assert [answer.status_code for answer in answers] == [200, 200, 429]
            assert all("max-age" in answer.headers["Strict-Transport-Security"] for answer in answers)
            assert answers[-1].headers["Retry-After"]
        assert status({"X-Forwarded-For": "2001:db8::2"}).status_code == 429  # of the same subscriber


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
def test_nginx_takes_the_runbooks_example(tmp_path: Path) -> None:
    found = re.search(r"```nginx\n(.*?)```", (ROOT / "docs" / "runbook.md").read_text(), re.DOTALL)
    assert found
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -keyout key.pem -out cert.pem -subj /CN=localhost"
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    server = found[1].replace("/etc/ssl/certs/bloodyspy.crt", str(tmp_path / "cert.pem"))
    server = server.replace("/etc/ssl/private/bloodyspy.key", str(tmp_path / "key.pem"))
    head = f"pid {tmp_path}/pid;\nerror_log {tmp_path}/log;\nevents {{}}\n"
    (tmp_path / "nginx.conf").write_text(f"{head}http {{\n{server}}}\n")
    done = subprocess.run(
        ["nginx", "-t", "-p", tmp_path, "-c", tmp_path / "nginx.conf"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
