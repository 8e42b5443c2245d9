"""The service as a client meets it: a real ``bentoml serve`` on a model made by hand."""

import json
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pytest
from handmade import answer_policy, make_artefact, make_forgetful
from PIL import Image
from running import NAME, PASSWORD, Service, served
from sourced import faults

from bloodyspy.adapters import packaging
from bloodyspy.cells import CELL_TYPES
from bloodyspy.images.statistics import STATISTICS
from bloodyspy.model.classifier import Classifier
from bloodyspy.observation import COLUMNS, LIVE_COLUMNS
from bloodyspy.serving.accounts import add_user
from bloodyspy.settings import Settings

# BentoML 1.4 asks pathspec for a pattern by its old name.
pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")

RUN = "b" * 32


def picture(seed: int, image_format: str = "PNG", size: tuple[int, int] = (120, 100)) -> bytes:
    """A coloured disc on a coloured ground, with some noise."""
    random = np.random.default_rng(seed)
    ground, disc = random.integers(40, 255, (2, 3))
    y, x = np.mgrid[: size[1], : size[0]]
    inside = (x - size[0] / 2) ** 2 + (y - size[1] / 2) ** 2 < (min(size) / 3) ** 2
    pixels = np.where(inside[..., None], disc, ground) + random.normal(0, 4, (size[1], size[0], 3))
    stream = BytesIO()
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(stream, image_format)
    return stream.getvalue()


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def settings(state: Path) -> Settings:
    settings = Settings(root=state, state=state / "var", users_file=state / "users.json")
    add_user(state / "users.json", NAME, PASSWORD)
    return settings


@pytest.fixture(scope="module")
def classifier(state: Path, settings: Settings) -> Classifier:
    """The model that the service is told to serve."""
    policy = answer_policy(novelty={"review": 0.9, "reject": 0.97})
    artefact = make_artefact(state / "artefact", RUN, policy=policy)
    packaging.store(artefact.path, 1, settings)
    packaging.tell(1, settings)
    return Classifier(artefact)


@pytest.fixture(scope="module")
def environment(state: Path) -> dict[str, str]:
    return {
        "BLOODYSPY_ROOT": str(state),
        "BLOODYSPY_STATE": str(state / "var"),
        "BLOODYSPY_USERS_FILE": str(state / "users.json"),
        "BENTOML_HOME": str(state / "not-the-store"),  # a person types `bentoml serve` without any BENTOML_HOME
    }


@pytest.fixture(scope="module")
def service(state: Path, classifier: Classifier, environment: dict[str, str]) -> Iterator[Service]:
    with served(state / "service.log", environment) as running:
        yield running


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    with service.client() as client:
        yield client


@pytest.fixture
def stranger(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=service.url, timeout=60, trust_env=False) as client:
        yield client


def observations(settings: Settings) -> list[dict[str, str | int | float]]:
    assert settings.observations is not None
    lines = [line for path in settings.observations.glob("*/*.jsonl") for line in path.read_text().splitlines()]
    return [json.loads(line) for line in lines]


def test_status_needs_no_credentials(stranger: httpx.Client) -> None:
    answer = stranger.get("/bloodyspy/status")
    assert answer.status_code == 200
    assert answer.json()["status"] == 1
    assert answer.json()["message"]


def test_authorization(client: httpx.Client, stranger: httpx.Client) -> None:
    assert client.get("/bloodyspy/authorization").json()["status"] == 1
    assert NAME in client.get("/bloodyspy/authorization").json()["message"]
    for answer in (
        stranger.get("/bloodyspy/authorization"),
        stranger.get("/bloodyspy/authorization", auth=(NAME, "wrong password")),
        stranger.get("/bloodyspy/authorization", auth=("nobody", PASSWORD)),
        stranger.get("/bloodyspy/authorization", headers={"Authorization": "Basic !!!"}),
        stranger.get("/bloodyspy/authorization", headers={"Authorization": "Basic " + b64encode(b"\xff:x").decode()}),
        stranger.get("/bloodyspy/authorization", headers={"Authorization": "Basic " + b64encode(b"anna").decode()}),
        stranger.get("/bloodyspy/authorization", headers={"Authorization": f"Bearer {PASSWORD}"}),
    ):
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Basic")
        assert answer.json()["detail"]


@pytest.mark.parametrize("path", ["/bloodyspy/image", "/bloodyspy/images", "/v1/classify"])
def test_strangers_classify_nothing(stranger: httpx.Client, path: str) -> None:
    answer = stranger.post(path, files={"file": ("cell.png", picture(1))})
    assert answer.status_code == 401
    assert "WWW-Authenticate" in answer.headers


@pytest.mark.parametrize("path", ["/bloodyspy/image", "/bloodyspy/image/"])
def test_one_picture_as_the_original_answered(client: httpx.Client, classifier: Classifier, path: str) -> None:
    expected = classifier.observe(picture(1))
    answer = client.post(path, files={"file": ("cell.png", picture(1), "image/png")}).json()
    assert list(answer) == ["filename", "model", "predictions", "predicted", "probability", "username"]
    assert answer["filename"] == "cell.png"
    assert answer["username"] == NAME
    assert "v1" in answer["model"]
    assert "drawn" in answer["model"]
    assert answer["predicted"] == expected.predicted.spelled_out
    assert answer["probability"] == round(100 * expected.confidence, 2)
    assert answer["predictions"] == {
        cell.spelled_out: round(100 * p, 2) for cell, p in zip(CELL_TYPES, expected.probabilities, strict=True)
    }
    assert "immature granulocyte" in answer["predictions"]


def test_each_answer_says_whether_it_may_go_out_unseen(client: httpx.Client, classifier: Classifier) -> None:
    payloads = [picture(seed) for seed in range(12)]
    answer = client.post("/v1/classify", files=[("files", (f"{i}.png", one)) for i, one in enumerate(payloads)]).json()
    told = client.get("/v1/model").json()
    actions = set()
    for given, payload in zip(answer["results"], payloads, strict=True):
        verdict = classifier.observe(payload).verdict
        assert given["action"] == verdict.action
        assert given["reasons"] == list(verdict.reasons)
        assert given["candidates"] == list(verdict.candidates)
        assert (given["novelty"], given["foreignness"]) == pytest.approx((verdict.novelty, verdict.foreignness))
        assert set(given["reasons"]) <= set(told["reasons"])
        actions.add(given["action"])
    assert actions == {"auto", "review", "reject"}
    assert told["policy"] == classifier.policy.model_dump(mode="json")


def test_an_answer_is_explained_where_it_is_asked_for(client: httpx.Client, classifier: Classifier) -> None:
    files = [("files", ("a.png", picture(1))), ("files", ("bad.txt", b"no picture")), ("files", ("b.png", picture(2)))]
    first, bad, second = client.post("/v1/classify?explain=true", files=files).json()["results"]
    for given, seed in ((first, 1), (second, 2)):
        expected = classifier.explain(picture(seed))
        told = given["explanation"]
        assert b64decode(told["picture"]) == expected.picture
        assert (told["inside"], told["drop"]) == pytest.approx((expected.inside, expected.drop), abs=1e-6)
    assert "error" in bad
    assert client.post("/v1/classify", files=files[:1]).json()["results"][0]["explanation"] is None
    many = [("files", (f"{i}.png", picture(1))) for i in range(33)]
    answer = client.post("/v1/classify?explain=true", files=many)
    assert answer.status_code == 422
    assert "At most 32" in answer.json()["detail"]


def test_several_pictures_and_no_answer_is_lost(client: httpx.Client) -> None:
    names = ["a.png", "b.png", "a.png", "username", "bad.txt", "a.png (2)", "a.png", "ä €.png", "bad.txt"]
    files = [
        ("files", (name, b"no picture" if name == "bad.txt" else picture(i), "image/png"))
        for i, name in enumerate(names)
    ]
    answer = client.post("/bloodyspy/images", files=files)
    assert answer.status_code == 200
    content = answer.json()
    assert content.pop("username") == NAME
    assert len(content) == len(names)
    assert [one["filename"] for one in content.values()] == names
    assert {"a.png", "a.png (2)", "a.png (3)", "username (2)", "bad.txt", "bad.txt (2)"} <= set(content)
    for (key, one), (_, (name, payload, _)) in zip(content.items(), files, strict=True):
        if key.startswith("bad.txt"):
            assert set(one) == {"filename", "error"}
            assert "picture" in one["error"]
        else:
            assert one == client.post("/bloodyspy/image", files={"file": (name, payload)}).json()


def test_the_full_answer(client: httpx.Client, classifier: Classifier) -> None:
    files = [("files", ("a.png", picture(1))), ("files", ("no.png", b"none")), ("files", ("b.jpg", picture(2, "JPEG")))]
    response = client.post("/v1/classify", files=files, headers={"X-Request-ID": "smear-2026-11"})
    answer = response.json()
    assert response.headers["X-Request-ID"] == answer["request_id"] == "smear-2026-11"
    assert answer["model_version"] == 1
    assert answer["run_id"] == RUN
    assert answer["data_version"] == classifier.spec.data_version
    assert answer["synthetic"] is True
    first, refused, second = answer["results"]
    assert refused["filename"] == "no.png"
    assert "picture" in refused["error"]
    for result, payload in ((first, picture(1)), (second, picture(2, "JPEG"))):
        expected = classifier.observe(payload)
        assert result["predicted"] == expected.predicted
        assert result["confidence"] == max(result["probabilities"].values())
        assert tuple(result["probabilities"].values()) == pytest.approx(expected.probabilities, abs=1e-7)
        assert set(result["statistics"]) == set(STATISTICS)
        assert result["statistics"]["sharpness"] == pytest.approx(expected.statistics.sharpness)


def test_the_model_that_answers(client: httpx.Client, stranger: httpx.Client, classifier: Classifier) -> None:
    answer = client.get("/v1/model").json()
    assert answer["spec"]["run_id"] == RUN
    assert answer["digest"] == classifier.artefact.digest
    assert answer["card"].startswith("# small_cnn")
    assert stranger.get("/v1/model").status_code == 401


def test_the_card_is_a_page_that_loads_and_runs_nothing(
    client: httpx.Client, stranger: httpx.Client, classifier: Classifier
) -> None:
    answer = client.get("/v1/model/card")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; style-src 'unsafe-inline';")
    assert answer.content == (classifier.artefact.path / "card.html").read_bytes()
    assert faults(classifier.artefact.path, answer.text) == []
    assert stranger.get("/v1/model/card").status_code == 401


@pytest.mark.parametrize("given", ["John.Doe", "a1", "x" * 65 + "1", "id 7 with blanks", "", "é1234567"])
def test_a_request_id_that_could_be_a_name_or_worse_is_replaced(client: httpx.Client, given: str) -> None:
    answer = client.get("/bloodyspy/status", headers={"X-Request-ID": given.encode()})
    assert answer.headers["X-Request-ID"] != given
    assert len(answer.headers["X-Request-ID"]) == 32


def test_every_prediction_leaves_one_row_and_nothing_personal(client: httpx.Client, settings: Settings) -> None:
    before = len(observations(settings))
    files = [("files", (f"Doe, Jane {i}.png", picture(i))) for i in range(5)]
    headers = {
        "X-Request-ID": "rows-0001",
        "X-Site": "LAB-2",
        "X-Instrument": "DM96-1",
        "X-Specimen-ID": "S-2026-00017",
    }
    client.post("/v1/classify", files=[*files, ("files", ("bad", b"x"))], headers=headers)
    refused = client.post("/v1/classify", files=files, headers={"X-Site": "Doe, Jane"})
    assert (refused.status_code, "X-Site" in refused.text, "Jane" in refused.text) == (422, True, False)
    client.post("/bloodyspy/images", files=files)
    client.post("/bloodyspy/image", files={"file": ("a", b"no picture")})
    client.post("/bloodyspy/image", files={"file": ("a", picture(9))})
    rows = observations(settings)
    assert len(rows) == before + 11
    mine = [row for row in rows if row["request_id"] == "rows-0001"]
    assert len(mine) == 5
    for row in mine:
        assert tuple(row) == (*COLUMNS, *LIVE_COLUMNS)
        assert row["run_id"] == RUN
        assert row["model_version"] == 1
        assert (row["site"], row["instrument"], row["specimen"]) == ("LAB-2", "DM96-1", "S-2026-00017")
        assert str(row["time"]).endswith("+00:00")
    text = json.dumps(rows)
    assert "Jane" not in text
    assert NAME not in text


def test_many_at_once_are_answered_as_one_by_one(
    client: httpx.Client, classifier: Classifier, settings: Settings
) -> None:
    payloads = [picture(seed, "JPEG" if seed % 2 else "PNG") for seed in range(200)]
    expected = [classifier.observe(payload) for payload in payloads]
    before = len(observations(settings))

    def ask(number: int) -> list[float]:
        answer = client.post("/v1/classify", files={"file": (f"{number}.png", payloads[number])})
        (result,) = answer.json()["results"]
        assert result["filename"] == f"{number}.png"
        return list(result["probabilities"].values())

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(200)))
    assert np.allclose(answers, [one.probabilities for one in expected], atol=1e-6)
    assert len(observations(settings)) == before + 200


def test_bentomls_own_end_points(stranger: httpx.Client) -> None:
    for path in ("/healthz", "/livez", "/readyz"):
        assert stranger.get(path).status_code == 200
    metrics = stranger.get("/metrics").text
    assert "bloodyspy_requests_total{" in metrics
    assert "bloodyspy_observations_lost_total 0.0" in metrics


def test_the_docs_load_nothing_from_elsewhere(stranger: httpx.Client) -> None:
    page = stranger.get("/docs")
    assert page.status_code == 200
    assert "tagmanager" not in page.text
    assert "://" not in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    for line in page.text.splitlines():
        for mark in ('src="', 'href="docs'):
            if mark in line:
                asset = line.split(mark.split('"')[0] + '"')[1].split('"')[0]
                assert stranger.get("/" + asset).status_code == 200
    start = stranger.get("/docs/start.js").text
    assert "validatorUrl: null" in start
    assert "://" not in start


def test_openapi_names_every_end_point(stranger: httpx.Client) -> None:
    document = stranger.get("/openapi.json").json()
    assert set(document["paths"]) == {
        "/bloodyspy/status",
        "/bloodyspy/authorization",
        "/bloodyspy/image",
        "/bloodyspy/images",
        "/v1/classify",
        "/v1/explain",
        "/v1/labels",
        "/v1/queue",
        "/v1/queue/{request_id}/{picture}",
        "/v1/differential",
        "/v1/caller",
        "/v1/model",
        "/v1/model/card",
        "/v1/smears",
        "/v1/smears/{job_id}",
        "/v1/smears/{job_id}/report.html",
        "/v1/smears/{job_id}/cells.csv",
    }
    for path, field in (("/bloodyspy/image", "file"), ("/bloodyspy/images", "files"), ("/v1/classify", "files")):
        post = document["paths"][path]["post"]
        assert post["security"] == [{"HTTPBasic": []}, {"HTTPBearer": []}]
        assert field in post["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
        assert {"200", "400", "401", "403", "408", "413", "415", "422", "429", "503"} <= set(post["responses"])


def test_without_a_model_or_users_it_starts_and_says_why(tmp_path: Path) -> None:
    environment = {"BLOODYSPY_ROOT": str(tmp_path), "BLOODYSPY_STATE": "var", "BENTOML_HOME": str(tmp_path / "home")}
    with served(tmp_path / "log", environment, wait_for="/livez") as service, service.client() as client:
        assert client.get("/bloodyspy/status").status_code == 200
        assert client.get("/readyz").status_code == 503
        answer = client.post("/bloodyspy/image", files={"file": ("a.png", picture(1))})
        assert answer.status_code == 503
        assert "BLOODYSPY_USERS_FILE" in answer.json()["detail"]


def test_it_follows_the_release_and_survives_a_broken_one(tmp_path: Path) -> None:
    users = tmp_path / "users.json"
    environment = {
        "BLOODYSPY_ROOT": str(tmp_path),
        "BLOODYSPY_USERS_FILE": str(users),
        "BLOODYSPY_WORKERS": "2",
        "BENTOML_HOME": str(tmp_path / "home"),
    }
    settings = Settings(root=tmp_path, state=tmp_path / "var")
    add_user(users, NAME, PASSWORD)
    artefacts = [make_artefact(tmp_path / f"artefact{v}", str(v) * 32, seed=v) for v in (1, 2, 3)]

    def version(client: httpx.Client) -> int:
        answer = client.post("/v1/classify", files={"file": ("a.png", picture(1))}, headers={"Connection": "close"})
        return int(answer.json()["model_version"]) if answer.is_success else 0

    def settles(client: httpx.Client, wanted: int) -> bool:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            if all(version(client) == wanted for _ in range(8)):
                return True
            time.sleep(0.1)
        return False

    with served(tmp_path / "log", environment, wait_for="/livez") as service, service.client() as client:
        answer = client.post("/v1/classify", files={"file": ("a.png", picture(1))})
        assert answer.status_code == 503
        assert "released" in answer.json()["detail"]
        assert answer.headers["Retry-After"]
        for number in (1, 2):
            packaging.store(artefacts[number - 1].path, number, settings)
            packaging.tell(number, settings)
            assert settles(client, number)
        packaging.store(artefacts[2].path, 3, settings)
        assert settings.bentoml_home is not None
        packaging.store(make_forgetful(tmp_path / "forgetful").path, 4, settings)
        packaging.tell(4, settings)
        time.sleep(2.5)
        assert settles(client, 2)
        assert service.log.read_text().count("bloodyspy:v2 goes on") == 2  # each worker, once
        assert "bloodyspy/v4 answers otherwise here" in service.log.read_text()
        graph = settings.bentoml_home / "models" / "bloodyspy" / "v3" / "graph.onnx"
        # told elsewhere first, so that no worker sees version 3 while it is whole
        elsewhere = settings.model_copy(update={"state": tmp_path / "elsewhere"})
        packaging.tell(3, elsewhere)
        told = elsewhere.release.read_bytes()
        graph.chmod(0o644)
        graph.write_bytes(graph.read_bytes()[:-7])
        settings.release.write_bytes(told)
        time.sleep(2.5)
        assert settles(client, 2)
        settings.release.write_bytes(b"{")
        time.sleep(2.5)
        assert settles(client, 2)
        assert service.log.read_text().count("bloodyspy:v2 goes on") == 6
