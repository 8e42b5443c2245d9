"""A smear over HTTP: pictures or a zip in, a job, its report; what is refused, and what is told when a process dies."""

import csv
import io
import json
import os
import subprocess
import sys
import threading
import time
import tracemalloc
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import uvicorn
from handmade import make_artefact
from pictures import tinted
from running import NAME, PASSWORD, settles

from bloodyspy.adapters import packaging
from bloodyspy.kept import store_of
from bloodyspy.model.classifier import Classifier
from bloodyspy.serving import smear_jobs, smear_uploads
from bloodyspy.serving.accounts import add_user
from bloodyspy.serving.application import create_application
from bloodyspy.serving.smear_jobs import Jobs, State
from bloodyspy.settings import Keep, Settings

RUN = "a" * 32
OTHER = "berta"
PICTURES = {f"cell {i:02}.png": tinted(i) for i in range(40)}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    place = tmp_path_factory.mktemp("smears")
    settings = Settings(root=place, state=place / "var", users_file=place / "users.json", keep_images=Keep.ALL)
    for name in (NAME, OTHER):
        add_user(place / "users.json", name, PASSWORD)
    packaging.store(make_artefact(place / "artefact", RUN).path, 1, settings)
    packaging.tell(1, settings)
    return settings


@pytest.fixture(scope="module")
def client(settings: Settings) -> Iterator[httpx.Client]:
    """The application in this process, where its limits can be made small, behind a real server."""
    server = uvicorn.Server(uvicorn.Config(create_application(settings), port=0, log_level="error", lifespan="on"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.05)
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}", headers={"Authorization": basic(NAME)}, timeout=60, trust_env=False
        ) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(60)


def basic(name: str) -> str:
    return str(httpx.BasicAuth(name, PASSWORD)._auth_header)


def sent(files: dict[str, bytes]) -> list[tuple[str, tuple[str, bytes]]]:
    return [("files", (name, payload)) for name, payload in files.items()]


def ended(client: httpx.Client, job: str) -> dict[str, object]:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        answer = client.get(f"/v1/smears/{job}").json()
        if answer["state"] != "running":
            return answer
        time.sleep(0.05)
    raise AssertionError(f"the smear does not end: {answer}")


def folders(settings: Settings) -> set[str]:
    return {path.name for path in settings.smears.glob("*") if not path.name.startswith(".")}


def counted(client: httpx.Client) -> float:
    """Pictures that the metrics know of."""
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("bloodyspy_pictures_total{"))


def zipped(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, payload in files.items():
            archive.writestr(name, payload)
    return stream.getvalue()


def test_pictures_become_a_differential(client: httpx.Client, settings: Settings) -> None:
    files = {**PICTURES, "broken.png": b"no picture", "=1+1.png": tinted(50)}
    before = counted(client)
    answer = client.post(
        "/v1/smears",
        files=sent(files),
        data={"specimen": "S-2026-17"},
        params={"ig_limit": 3},
        headers={"X-Site": "LAB-2"},
    )
    assert answer.status_code == 202, answer.text
    told = answer.json()
    assert answer.headers["Location"] == f"/v1/smears/{told['id']}"
    assert (told["state"], told["pictures"], told["report"]) == ("running", 42, None)
    done = ended(client, told["id"])
    assert (done["state"], done["read"]) == ("done", 42), done
    report = done["report"]
    assert report["specimen"] == "S-2026-17"
    assert report["use"] == "research use only"
    assert report["model"] == "small_cnn v1"
    assert report["run_id"] == RUN
    assert report["unreadable_files"] == [{"name": "broken.png", "error": "it is not a JPEG, PNG, BMP or TIFF"}]
    assert report["differential"]["ig"]["limit"] == 3
    classifier = Classifier.load(settings.root / "artefact")
    seen = {name: classifier.observe(payload) for name, payload in files.items() if name != "broken.png"}
    for white in report["differential"]["classes"]:
        assert white["counted"] == sum(one.predicted == white["cell_type"] for one in seen.values())
    rows = list(csv.DictReader(io.StringIO(client.get(f"/v1/smears/{told['id']}/cells.csv").text)))
    assert [row["path"].removeprefix("./") for row in rows] == list(files)
    assert {row["path"]: row["predicted"] for row in rows if row["path"] in seen} == {
        name: str(one.predicted) for name, one in seen.items() if name != "=1+1.png"
    }
    page = client.get(f"/v1/smears/{told['id']}/report.html")
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert "Specimen S-2026-17" in page.text
    assert "data:image/jpeg;base64," in page.text
    spool = settings.smears / told["id"] / "spool"
    assert not spool.exists()
    assert counted(client) == before + 41
    store = store_of(settings)
    assert settles(lambda: store.erase("S-2026-17").images == 41)  # they were kept, under the specimen
    lines = [line for path in settings.observations.glob("*/*.jsonl") for line in path.read_text().splitlines()]
    origins = {(row["site"], row["instrument"], row["specimen"]) for row in map(json.loads, lines)}
    assert origins == {("LAB-2", "", "S-2026-17")}
    assert sum(json.loads(line)["request_id"] == answer.headers["X-Request-ID"] for line in lines) == 41


def test_a_zip_is_the_same(client: httpx.Client) -> None:
    inside = {"notes.txt": b"x", "__MACOSX/a.png": b"x", **{f"smear/{name}": PICTURES[name] for name in PICTURES}}
    (first, second) = (
        ended(client, client.post("/v1/smears", files=sent(files)).json()["id"])
        for files in (PICTURES, {"smear.zip": zipped(inside)})
    )
    assert first["pictures"] == second["pictures"] == 40
    assert first["report"]["differential"] == second["report"]["differential"]


def test_a_damaged_member_is_one_unreadable_picture(client: httpx.Client) -> None:
    payload = bytearray(zipped(PICTURES))
    payload[200:230] = bytes(30)  # inside of the first picture
    done = ended(client, client.post("/v1/smears", files=sent({"a.zip": bytes(payload)})).json()["id"])
    assert (done["state"], done["report"]["unreadable"]) == ("done", 1)


def test_nobody_sees_anothers_smear(client: httpx.Client) -> None:
    job = client.post("/v1/smears", files=sent(PICTURES)).json()["id"]
    ended(client, job)
    for path in (f"/v1/smears/{job}", f"/v1/smears/{job}/report.html", f"/v1/smears/{job}/cells.csv"):
        assert client.get(path, headers={"Authorization": basic(OTHER)}).status_code == 404
        assert client.get(path, headers={"Authorization": ""}).status_code == 401
    for unknown in ("0" * 32, "%2e%2e%2f.door", ".door", job.upper()):
        assert client.get(f"/v1/smears/{unknown}").status_code == 404


def test_a_smear_without_white_cells_fails_with_a_sentence(client: httpx.Client) -> None:
    done = ended(client, client.post("/v1/smears", files=sent({"a.png": b"none", "b.png": b"none"})).json()["id"])
    assert done["state"] == "failed"
    assert "no white one" in str(done["detail"])
    refused = client.get(f"/v1/smears/{done['id']}/report.html")
    assert (refused.status_code, refused.json()["detail"]) == (409, done["detail"])


@pytest.mark.parametrize(
    ("name", "status"),
    [("../outside.png", 422), ("/etc/cells.png", 422), ("C:/cells.png", 422), ("notes.txt", 422)],
)
def test_hostile_archives_are_refused(client: httpx.Client, settings: Settings, name: str, status: int) -> None:
    before = folders(settings)
    answer = client.post("/v1/smears", files=sent({"a.zip": zipped({name: b"x"})}))
    assert answer.status_code == status, answer.text
    assert folders(settings) == before  # nothing of it stays


def test_no_member_unpacks_to_more_than_it_announces(tmp_path: Path) -> None:
    place, inside = tmp_path / "a.zip", bytes(64 << 20)
    place.write_bytes(zipped({"bomb.png": inside, "cell.png": PICTURES["cell 01.png"]}))
    short = bytearray(place.read_bytes())
    for length in (at for at in range(len(short) - 4) if short[at : at + 4] == len(inside).to_bytes(4, "little")):
        short[length : length + 4] = (1000).to_bytes(4, "little")
    place.write_bytes(short)
    tracemalloc.start()
    found = {name: file.read_bytes() for file, name in smear_uploads.unpack(place, tmp_path)}
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == {"bomb.png": b"", "cell.png": PICTURES["cell 01.png"]}
    assert peak < 8 << 20


def test_a_packing_that_cannot_be_stopped_is_refused(client: httpx.Client) -> None:
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", method) as archive:
            archive.writestr("cell.png", PICTURES["cell 01.png"])
        answer = client.post("/v1/smears", files=sent({"a.zip": stream.getvalue()}))
        assert answer.status_code == 422
        assert "another way than deflate" in answer.json()["detail"]


def test_a_report_of_an_erased_specimen_is_gone(client: httpx.Client, settings: Settings) -> None:
    told = {
        specimen: ended(
            client, client.post("/v1/smears", files=sent(PICTURES), data={"specimen": specimen}).json()["id"]
        )["id"]
        for specimen in ("S-2026-71", "S-2026-72")
    }
    jobs = Jobs(settings.smears)
    assert jobs.erase("S-2026-71") == 1
    assert jobs.erase("S-2026-71") == 0
    assert client.get(f"/v1/smears/{told['S-2026-71']}").status_code == 404
    assert client.get(f"/v1/smears/{told['S-2026-72']}").status_code == 200
    assert not any(b"S-2026-71" in file.read_bytes() for file in settings.smears.rglob("*") if file.is_file())


def test_bombs_are_refused(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = zipped({f"{i}.png": bytes(30 << 20) for i in range(5)})
    answer = client.post("/v1/smears", files=sent({"a.zip": bomb}))
    assert answer.status_code == 413
    assert "no photographs" in answer.json()["detail"]
    monkeypatch.setattr(smear_uploads, "MAX_PICTURES", 20)
    assert client.post("/v1/smears", files=sent({"a.zip": zipped(PICTURES)})).status_code == 413
    assert client.post("/v1/smears", files=sent(PICTURES)).status_code == 413
    monkeypatch.setattr(smear_uploads, "_MAX_DIRECTORY", 100)
    assert client.post("/v1/smears", files=sent({"a.zip": zipped(PICTURES)})).status_code == 413
    monkeypatch.setattr(smear_uploads, "MAX_BODY", 1000)
    assert client.post("/v1/smears", files=sent(PICTURES)).status_code == 413


FILE = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
FORM = "multipart/form-data; boundary=b"


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"x", "text/plain", 415),
        (b"x", "multipart/form-data", 415),
        (b"--b\r\n", FORM, 400),
        (b"nonsense", FORM, 400),
        (b'--b\r\nContent-Disposition: form-data; name="specimen"\r\n\r\nS1\r\n--b--\r\n', FORM, 422),
        (FILE + b"PK", FORM, 400),
        (FILE + b"PK\x03\x04\r\n--b--\r\n", FORM, 422),
        (FILE.replace(b"files", b"other") + b"x\r\n--b--\r\n", FORM, 422),
    ],
)
def test_broken_forms_are_refused(
    client: httpx.Client, settings: Settings, body: bytes, kind: str, status: int
) -> None:
    before = folders(settings)
    answer = client.post("/v1/smears", content=body, headers={"Content-Type": kind})
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"]
    assert folders(settings) == before


@pytest.mark.parametrize("specimen", ["Jane Doe", "Doe", "1970-01-31", "31.12.1970", "x1" * 40])
def test_a_specimen_is_a_pseudonym(client: httpx.Client, specimen: str) -> None:
    answer = client.post("/v1/smears", files=sent({"a.png": tinted(1)}), data={"specimen": specimen})
    assert answer.status_code == 422
    assert specimen not in answer.text


def test_only_so_many_at_once(client: httpx.Client, settings: Settings) -> None:
    jobs = Jobs(settings.smears)
    mine = [jobs.begin(NAME) for _ in range(smear_jobs.AT_ONCE_OF_A_USER)]
    refused = client.post("/v1/smears", files=sent(PICTURES))
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) > 0
    elsewhere = client.post("/v1/smears", files=sent(PICTURES), headers={"Authorization": basic(OTHER)})
    assert elsewhere.status_code == 202
    for held in mine:
        held.close(keep=False)
    assert client.post("/v1/smears", files=sent(PICTURES)).status_code == 202


def test_a_job_whose_process_was_killed_is_told_as_lost(client: httpx.Client, settings: Settings) -> None:
    code = (
        "import sys, time; from pathlib import Path; from bloodyspy.serving.smear_jobs import Jobs\n"
        f"held = Jobs(Path(sys.argv[1])).begin({NAME!r}); held.update(pictures=9, read=3)\n"
        "print(held.job.id, flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", code, settings.smears]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ}) as process:
        assert process.stdout is not None
        job = process.stdout.readline().strip()
        told = client.get(f"/v1/smears/{job}").json()
        assert (told["state"], told["read"]) == ("running", 3)  # another process's job, read here
        process.kill()
    told = client.get(f"/v1/smears/{job}").json()
    assert told["state"] == "lost"
    assert "Send the pictures again" in told["detail"]
    assert client.get(f"/v1/smears/{job}/cells.csv").status_code == 409


def test_old_jobs_and_too_many_of_them_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = Jobs(tmp_path)
    monkeypatch.setattr(smear_jobs, "KEPT", 3)
    ids = []
    for number in range(5):
        held = jobs.begin(NAME)
        held.update(state=State.DONE, created=datetime.now(UTC) - timedelta(minutes=10 - number))
        held.close(keep=True)
        ids.append(held.job.id)
    aged = jobs.begin(NAME)
    aged.update(state=State.FAILED, created=datetime.now(UTC) - timedelta(hours=smear_jobs.HOURS, seconds=1))
    aged.close(keep=True)
    (tmp_path / ("f" * 32)).mkdir()  # left by a process that ended before it wrote the record
    assert jobs.find(aged.job.id, NAME) is None  # before anybody clears it away
    last = jobs.begin(NAME)
    last.close(keep=True)
    assert [jobs.find(one, NAME) is not None for one in ids] == [False, False, True, True, True]
    assert jobs.find(aged.job.id, NAME) is None
    assert not (tmp_path / ("f" * 32)).exists()


def test_pictures_that_a_killed_process_left_are_cleared_away_at_the_next_start(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from bloodyspy.serving.smear_jobs import Jobs\n"
        f"held = Jobs(Path(sys.argv[1])).begin({NAME!r}); (held.spool / '000000').write_bytes(b'a cell')\n"
        "print(held.job.id, flush=True); os.kill(os.getpid(), 9)"
    )
    job = subprocess.run(
        [sys.executable, "-c", code, tmp_path], capture_output=True, text=True, timeout=60
    ).stdout.strip()
    assert (tmp_path / job / "spool" / "000000").exists()
    jobs = Jobs(tmp_path)
    jobs.sweep()
    assert not (tmp_path / job / "spool").exists()
    found = jobs.find(job, NAME)
    assert found is not None
    assert found[0].state is State.LOST
