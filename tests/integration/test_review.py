"""What a person adds to answers over HTTP: labels that are kept, differentials, and a smear that knows of both."""

import csv
import io
import json
import time
from collections.abc import Iterator

import httpx
import pytest
from operated import Prepared, prepared
from pictures import tinted
from running import NAME, PASSWORD, Service, served, settles

from bloodyspy.cells import CellType
from bloodyspy.model.classifier import Classifier
from bloodyspy.serving.accounts import add_user
from bloodyspy.serving.bodies import MAX_JSON
from bloodyspy.serving.roles import Role
from bloodyspy.settings import Settings
from bloodyspy.smear.differential import Question, Tally, differential
from bloodyspy.smear.reading import measured_confusion

# BentoML 1.4 asks pathspec for a pattern by its old name.
pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")

CLASSIFIER_ONLY = "carl"
PICTURES = {f"cell {i:02}.png": tinted(i) for i in range(12)}


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    place = tmp_path_factory.mktemp("review")
    ready = prepared(place, role=Role.REVIEW)
    add_user(place / "users.json", CLASSIFIER_ONLY, PASSWORD, Role.CLASSIFY)
    return ready


@pytest.fixture(scope="module")
def settings(ready: Prepared) -> Settings:
    return ready.settings


@pytest.fixture(scope="module")
def service(ready: Prepared) -> Iterator[Service]:
    with served(ready.settings.root / "service.log", ready.environment) as running:
        yield running


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    with service.client() as client:
        yield client


def labels(settings: Settings) -> list[dict[str, object]]:
    return [json.loads(line) for path in settings.labels.glob("*/*.jsonl") for line in path.read_text().splitlines()]


def observed(settings: Settings) -> int:
    assert settings.observations is not None
    return sum(len(path.read_text().splitlines()) for path in settings.observations.glob("*/*.jsonl"))


def test_who_asks(client: httpx.Client, service: Service) -> None:
    assert client.get("/v1/caller").json() == {"name": NAME, "role": "review"}
    with service.client(CLASSIFIER_ONLY) as other:
        assert other.get("/v1/caller").json()["role"] == "classify"
    assert httpx.get(f"{service.url}/v1/caller", trust_env=False).status_code == 401


def test_a_label_is_on_the_disk_when_it_is_answered(client: httpx.Client, settings: Settings) -> None:
    before = len(labels(settings))
    for label in ("ig", "no_cell", None):
        answer = client.post("/v1/labels", json={"request_id": "request-17", "picture": 3, "label": label})
        assert answer.status_code == 200, answer.text
        kept = labels(settings)[-1]
        assert kept == answer.json()
        assert (kept["request_id"], kept["picture"], kept["label"], kept["reviewer"]) == ("request-17", 3, label, NAME)
    assert len(labels(settings)) == before + 3


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b'{"request_id": "request-17", "picture": 0, "label": "blast"}', 422, "label"),
        (b'{"request_id": "request-17", "picture": -1, "label": "ig"}', 422, "picture"),
        (b'{"request_id": "Maria Huber", "picture": 0, "label": "ig"}', 422, "request_id"),
        (b'{"request_id": "request-17", "picture": 0, "label": "ig", "patient": "x"}', 422, "patient"),
        (b"[", 422, "JSON"),
        (b" " * (MAX_JSON + 1), 413, "kB"),
    ],
)
def test_no_label_is_taken_from_what_is_none(
    client: httpx.Client, settings: Settings, body: bytes, status: int, words: str
) -> None:
    before = labels(settings)
    answer = client.post("/v1/labels", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert words in answer.json()["detail"]
    assert "Huber" not in answer.text
    assert labels(settings) == before


def test_who_may_label(service: Service, settings: Settings) -> None:
    before = labels(settings)
    body = {"request_id": "request-17", "picture": 0, "label": "ig"}
    with service.client(CLASSIFIER_ONLY) as client:
        assert client.post("/v1/labels", json=body).status_code == 403
        assert client.post("/v1/labels", data=body).status_code == 403  # who asks comes before what is asked
        smear = {"cells": json.dumps([body])}
        answer = client.post("/v1/smears", files=[("files", ("a.png", tinted(1)))], data=smear)
        assert answer.status_code == 403
        assert "review" in answer.json()["detail"]
    with service.client() as client:
        assert client.post("/v1/labels", data=body).status_code == 415
    assert labels(settings) == before


def test_a_label_that_cannot_be_kept_is_not_taken(client: httpx.Client, settings: Settings) -> None:
    body = {"request_id": "request-17", "picture": 0, "label": "ig"}
    moved = settings.labels.with_name("moved")
    if settings.labels.exists():
        settings.labels.rename(moved)
    settings.labels.write_text("a file in its place")
    try:
        answer = client.post("/v1/labels", json=body)
        assert answer.status_code == 503
        assert "not kept" in answer.json()["detail"]
    finally:
        settings.labels.unlink()
        if moved.exists():
            moved.rename(settings.labels)
    assert client.post("/v1/labels", json=body).status_code == 200


def test_the_differential_is_that_of_the_platform(client: httpx.Client, settings: Settings) -> None:
    counted = {"auto": {"neutrophil": 60, "lymphocyte": 30}, "review": {"ig": 2}, "labelled": {"ig": 1}, "rejected": 4}
    answer = client.post("/v1/differential", json={**counted, "ig_limit": 3})
    assert answer.status_code == 200, answer.text
    confusion = measured_confusion(Classifier.load(settings.root / "artefact").artefact)
    expected = differential(Tally.model_validate(counted), confusion, Question(ig_limit=3))
    assert answer.json() == expected.model_dump(mode="json")
    empty = client.post("/v1/differential", json={"auto": {"platelet": 3}})
    assert empty.status_code == 422
    assert "no white one" in empty.json()["detail"]
    assert client.post("/v1/differential", json={"auto": {"neutrophil": -1}}).status_code == 422


def test_an_explanation_leaves_no_row(client: httpx.Client, settings: Settings) -> None:
    full = client.post("/v1/classify", params={"explain": True}, files=[("files", ("a.png", tinted(1)))]).json()
    assert settles(lambda: observed(settings) > 0)
    before = observed(settings)
    files = [("files", ("a.png", tinted(1))), ("files", ("b.png", b"no picture"))]
    answer = client.post("/v1/explain", files=files)
    assert answer.status_code == 200, answer.text
    first, second = answer.json()["results"]
    assert first == full["results"][0]["explanation"]
    assert "JPEG" in second["error"]
    assert client.post("/v1/explain", files=files[1:]).status_code == 422
    assert client.post("/v1/explain", files=files[:1] * 33).status_code == 422
    assert observed(settings) == before


def test_a_smear_of_pictures_that_were_answered_before(client: httpx.Client, settings: Settings) -> None:
    sent = [("files", (name, payload)) for name, payload in PICTURES.items()]
    answered = client.post("/v1/classify", files=sent).json()
    assert settles(lambda: observed(settings) >= len(PICTURES))
    before = observed(settings)
    said = [CellType.NEUTROPHIL, CellType.IG, "no_cell", *[None] * (len(PICTURES) - 3)]
    cells = [
        {"request_id": answered["request_id"], "picture": place, "label": label} for place, label in enumerate(said)
    ]
    answer = client.post("/v1/smears", files=sent, data={"cells": json.dumps(cells)})
    assert answer.status_code == 202, answer.text
    job, until = answer.json(), time.monotonic() + 60
    while job["state"] == "running" and time.monotonic() < until:
        time.sleep(0.1)
        job = client.get(f"/v1/smears/{job['id']}").json()
    assert job["state"] == "done", job
    report = job["report"]
    assert report["reviewer"] == NAME
    results = answered["results"]
    rest = [one for one in results[3:] if one["action"] != "reject"]
    assert report["differential"]["labelled"] == 2
    assert report["differential"]["rejected"] == 1 + len(results[3:]) - len(rest)
    counted = {row["cell_type"]: row["counted"] for row in report["differential"]["classes"]}
    assert counted["ig"] == 1 + sum(one["predicted"] == "ig" for one in rest)
    rows = list(csv.DictReader(io.StringIO(client.get(f"/v1/smears/{job['id']}/cells.csv").text)))
    assert [row["label"] for row in rows[:4]] == ["neutrophil", "ig", "no_cell", ""]
    assert {row["request_id"] for row in rows} == {answered["request_id"]}
    assert [int(row["picture"]) for row in rows] == list(range(len(PICTURES)))
    assert f"by {NAME}" in client.get(f"/v1/smears/{job['id']}/report.html").text
    assert observed(settings) == before


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ("[]", "tells of 0 files"),
        ("no json", "JSON"),
        ('[{"request_id": "request-17", "picture": 0, "label": "blast"}]', "label"),
    ],
)
def test_what_is_said_of_a_smears_cells_has_to_fit(client: httpx.Client, cells: str, words: str) -> None:
    answer = client.post("/v1/smears", files=[("files", ("a.png", tinted(1)))], data={"cells": cells})
    assert answer.status_code == 422
    assert words in answer.json()["detail"]


def test_labels_do_not_go_with_a_zip(client: httpx.Client) -> None:
    zipped = "smear.zip", b"PK\x05\x06" + bytes(18)
    answer = client.post("/v1/smears", files=[("files", zipped)], data={"cells": "[]"})
    assert answer.status_code == 422
