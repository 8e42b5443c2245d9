"""The whole way of a label: answered by the real service, read by people over HTTP and on the page, taken into data/.

BLOODYSPY_TEST_PICTURES names a folder for pictures of the page.
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe
from operated import prepared
from pictures import delivery, tinted
from playwright.sync_api import Page, ViewportSize, expect, sync_playwright
from running import NAME, PASSWORD, Service, served, settles
from typer.testing import CliRunner

from bloodyspy.cells import CELL_TYPES, NO_CELL, CellType
from bloodyspy.cli import app
from bloodyspy.dataset.holdings import AUDITED, LABELLED, read_holdings, read_labels
from bloodyspy.dataset.importing import import_images
from bloodyspy.dataset.manifest import build_manifest
from bloodyspy.dataset.version import data_version
from bloodyspy.kept import store_of
from bloodyspy.labelling import acceptance
from bloodyspy.labelling.accuracy import live_accuracy
from bloodyspy.labelling.audit import LEAD, declare
from bloodyspy.labelling.choosing import lay_out
from bloodyspy.labelling.queue import Why
from bloodyspy.params import Params, load_params
from bloodyspy.promotion import trail
from bloodyspy.promotion.events import DataVersioned, Erased, LabelsTaken
from bloodyspy.serving.accounts import add_user
from bloodyspy.serving.roles import Role
from bloodyspy.settings import Settings

ROOT = Path(__file__).parents[2]
PHONE: ViewportSize = {"width": 390, "height": 844}
PICTURES = 60
SHARE = 0.4

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Prefect's ephemeral server is a child of this process
    pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DVC project with images of its own."""
    root = tmp_path_factory.mktemp("labels")
    shutil.copy(ROOT / "params.yaml", root)
    subprocess.run(["git", "init", "--quiet", root], check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "--quiet"], cwd=root, check=True)
    shutil.copy(ROOT / ".dvc" / "config", root / ".dvc" / "config")
    shutil.copy(ROOT / ".dvcignore", root)
    return root


@pytest.fixture(scope="module")
def settings(place: Path) -> Settings:
    s = Settings(root=place, state=place / "var", users_file=place / "users.json")
    import_images(str(delivery(place / "delivery", 12)), s, load_params(place / "params.yaml"))
    return s


@pytest.fixture(scope="module")
def params(place: Path) -> Params:
    p = load_params(place / "params.yaml")
    return p.model_copy(update={"labelling": p.labelling.model_copy(update={"audit_share": SHARE})})


@pytest.fixture(scope="module")
def service(place: Path, settings: Settings) -> Iterator[Service]:
    """Answers everything at its first day: the audit has begun, and images in review are kept."""
    ready = prepared(place, role=Role.REVIEW, BLOODYSPY_KEEP_IMAGES="review")
    for name in ("ben", "dora"):
        add_user(place / "users.json", name, PASSWORD, Role.REVIEW)
    add_user(place / "users.json", "carl", PASSWORD, Role.CLASSIFY)
    declare(settings, SHARE)
    with served(place / "service.log", ready.environment) as running:
        time.sleep(LEAD.total_seconds())
        yield running


@pytest.fixture(scope="module")
def flow(
    place: Path, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], str | None]]:
    """``take-labels``, imported late: Prefect reads its places when it is imported."""
    before = dict(os.environ)
    os.environ |= {"BLOODYSPY_STATE": str(tmp_path_factory.mktemp("prefect")), "BLOODYSPY_ROOT": str(place)}
    from pipelines.take_labels import take_labels
    from pipelines.version_data import version_data

    os.environ["BLOODYSPY_STATE"] = str(settings.state)
    version_data()
    yield take_labels
    from prefect.server.api.server import SubprocessASGIServer

    SubprocessASGIServer().stop()
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def answered(service: Service, settings: Settings, params: Params) -> dict[str, bytes]:
    """Pictures that were answered, by the id of their request; the queue is made of them."""
    sent = {}
    with service.client("carl") as client:
        for i in range(PICTURES):
            payload = tinted(1000 + i)
            headers = {"X-Specimen-ID": f"S-2026-{i:05}"}
            answer = client.post("/v1/classify", files={"files": ("cell.png", payload)}, headers=headers)
            sent[answer.json()["request_id"]] = payload
    audit = declare(settings, SHARE)
    drawn = sum(audit.position(one, 0) < SHARE for one in sent)
    assert settles(lambda: len(store_of(settings).pictures()) >= drawn, 20)
    items = lay_out(settings, params).queue.items
    assert sum(Why.AUDIT in item.why for item in items) == drawn
    assert 8 < drawn < 45
    return sent


def wanted(service: Service, name: str, limit: int = 200) -> list[dict[str, object]]:
    with service.client(name) as client:
        answer = client.get("/v1/queue", params={"limit": limit})
        assert answer.status_code == 200, answer.text
        return list(answer.json()["items"])


def say(service: Service, name: str, item: dict[str, object], label: str | None) -> None:
    with service.client(name) as client:
        given = {"request_id": item["request_id"], "picture": item["picture"], "label": label, "blind": True}
        assert client.post("/v1/labels", json=given).status_code == 200


def parts(s: Settings, p: Params) -> pd.DataFrame:
    return build_manifest(s.data, p.split).set_index("sha256")[["part", "cell_type", "source"]]


def test_who_may_look(service: Service, answered: dict[str, bytes]) -> None:
    first = wanted(service, NAME)[0]
    path = f"/v1/queue/{first['request_id']}/{first['picture']}"
    with service.client("carl") as client:
        assert client.get("/v1/queue").status_code == client.get(path).status_code == 403
    assert httpx.get(service.url + path, trust_env=False).status_code == 401
    with service.client() as client:
        shown = client.get(path)
        assert (shown.status_code, shown.headers["content-type"]) == (200, "image/png")
        assert shown.content == answered[str(first["request_id"])]
        assert shown.headers["cache-control"] == "no-store"
        hidden = next(one for one in answered if one not in {item["request_id"] for item in wanted(service, NAME)})
        assert client.get(f"/v1/queue/{hidden}/0").status_code == 404
        assert client.get("/v1/queue/..%2f..%2fusers.json/0").status_code in (404, 422)
        assert client.get("/v1/queue", params={"limit": 0}).status_code == 422
    assert set(first) == {"request_id", "picture", "why", "reasons"}  # no answer, and nobody's label
    assert first["why"] == ["audit"]  # nor whether the model was sure


def test_nobody_is_asked_twice_and_a_third_is_asked_on_conflict(service: Service, answered: dict[str, bytes]) -> None:
    first, second = wanted(service, "anna")[-2:]
    before = len(wanted(service, "dora"))
    say(service, "anna", first, "ig")
    say(service, "anna", second, "ig")
    assert first not in wanted(service, "anna")
    assert first in wanted(service, "ben")
    say(service, "ben", first, "ig")
    say(service, "ben", second, "monocyte")
    assert first not in wanted(service, "dora")  # settled
    assert second in wanted(service, "dora")
    assert second not in wanted(service, "ben")
    assert len(wanted(service, "dora")) == before - 1
    say(service, "ben", first, None)  # taken back, so somebody is asked again
    assert first in wanted(service, "dora")
    assert first in wanted(service, "ben")


@pytest.fixture
def page(service: Service, answered: dict[str, bytes]) -> Iterator[Page]:
    if shutil.which("chromium") is None:
        pytest.skip("no Chromium (apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en").new_page()
        page.set_default_timeout(60_000)
        said: list[str] = []
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        page.goto(service.url)
        yield page
        assert said == []
        browser.close()


def pictured(page: Page, name: str) -> None:
    if place := os.environ.get("BLOODYSPY_TEST_PICTURES"):
        page.screenshot(path=Path(place) / f"{name}.png", full_page=True)


def accessible(page: Page) -> None:
    found = Axe().run(page).response["violations"]
    assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []


def labels(s: Settings) -> list[dict[str, object]]:
    return [json.loads(line) for path in s.labels.glob("*/*.jsonl") for line in path.read_text().splitlines()]


def test_the_page_by_keyboard_and_on_a_phone(page: Page, service: Service, settings: Settings) -> None:
    page.keyboard.type("dora")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator("#files")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    expect(page.get_by_role("button", name="Review")).to_be_focused()
    page.keyboard.press("Enter")
    waiting = len(wanted(service, "dora"))
    expect(page.locator("#review-status")).to_have_text(f"{waiting} pictures wait for you.")
    expect(page.locator("#queued-why li").first).to_contain_text("drawn by chance")
    name, before = page.locator("#queued-picture").get_attribute("alt"), len(labels(settings))
    assert page.locator("#queued-picture").evaluate("image => image.decode().then(() => image.naturalWidth)") == 72
    accessible(page)
    pictured(page, "review")
    page.keyboard.press("4")
    expect(page.locator("#review-said")).to_have_text("Said: immature granulocyte.")
    expect(page.locator("#queued-picture")).not_to_have_attribute("alt", str(name))
    page.keyboard.press("s")
    page.keyboard.press("Delete")
    expect(page.locator("#review-said")).to_have_text("Taken back.")
    expect(page.locator("#queued-picture")).to_have_attribute("alt", str(name))
    page.keyboard.press("0")
    expect(page.locator("#review-said")).to_have_text("Said: no cell.")
    said = [(one["label"], one["reviewer"], one["blind"]) for one in labels(settings)[before:]]
    assert [one[:2] for one in said] == [("ig", "dora"), (None, "dora"), (NO_CELL, "dora")]
    assert said[-1][2] is True
    page.set_viewport_size(PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    expect(page.locator("#queued-types button").last).to_be_in_viewport()
    accessible(page)
    pictured(page, "review-phone")
    page.get_by_role("button", name="Smear").click()
    expect(page.locator("#drop")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.locator("#views")).to_be_hidden()


def killed_in_take_labels(s: Settings, p: Params, until: Callable[[list[acceptance.Accepted]], object]) -> None:
    """``kill -9`` of a process that takes labels, after a part of its work."""
    child = os.fork()
    if not child:
        with acceptance.taking(s, p) as found:
            until(found or [])
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


def test_labels_become_a_data_version_and_the_sealed_part_stays(
    service: Service, answered: dict[str, bytes], settings: Settings, params: Params, flow: Callable[[], str | None]
) -> None:
    before, version = parts(settings, params), data_version(settings.root)
    assert acceptance.waiting(settings, params) == 0
    assert flow() is None
    items, names = wanted(service, "anna"), [cell.value for cell in CELL_TYPES]
    audit = declare(settings, SHARE)
    drawn = [item for item in items if audit.position(str(item["request_id"]), 0) < SHARE]
    # an image is of the audit if any answer to it was drawn, whether anybody labels that one or not
    kept = store_of(settings).pictures()
    held = {one.sha256 for one in kept if audit.position(one.request_id, one.picture) < SHARE}
    others = [item for item in items if hashlib.sha256(answered[str(item["request_id"])]).hexdigest() not in held]
    chosen = [*drawn[:3], *others[:3], drawn[3]]
    for i, item in enumerate(chosen):
        label = NO_CELL if i == 6 else names[i % 8]
        for reviewer in ("anna", "ben"):
            say(service, reviewer, item, label)
    assert acceptance.waiting(settings, params) == 6

    killed_in_take_labels(settings, params, lambda _found: None)
    assert read_holdings(settings.data).labels == ()
    killed_in_take_labels(settings, params, lambda found: acceptance.bring_in(found, settings, params))
    assert len({row.sha256 for row in read_labels(settings.data)}) == 6
    assert acceptance.waiting(settings, params) == 0
    new = flow()
    assert new == data_version(settings.root) != version
    assert flow() is None
    assert data_version(settings.root) == new

    after = parts(settings, params)
    added = after[~after.index.isin(before.index)]
    assert len(added) == 6
    for source, part, some in ((AUDITED, "calibration", chosen[:3]), (LABELLED, "train", chosen[3:6])):
        of_it = {hashlib.sha256(answered[str(item["request_id"])]).hexdigest() for item in some}
        assert set(added.index[added["source"] == source]) == of_it
        assert set(added.loc[list(of_it), "part"]) <= {part, "withheld"}
    sealed = [frame.index[frame["part"] == "test"] for frame in (before, after)]
    assert list(sealed[0].sort_values()) == list(sealed[1].sort_values())
    for i, item in enumerate(chosen[:6]):
        digest = hashlib.sha256(answered[str(item["request_id"])]).hexdigest()
        assert after.loc[digest, "cell_type"] == names[i]
        rows = [row for row in read_labels(settings.data) if row.sha256 == digest]
        assert {(row.reviewer, row.label) for row in rows} >= {("anna", names[i]), ("ben", names[i])}
        assert {(row.request_id, row.model_version) for row in rows} == {(item["request_id"], "1")}
    told = [entry.event for entry in trail.entries(settings)]
    (taken,) = [event for event in told if isinstance(event, LabelsTaken)]
    assert (taken.data_version, len(taken.pictures)) == (new, 6)
    assert [event.data_version for event in told if isinstance(event, DataVersioned)][-1] == new

    accuracy = live_accuracy(settings, params, 1)
    assert accuracy.answered == PICTURES
    assert accuracy.settled >= 4
    assert accuracy.lost == 0


def test_a_picture_that_contradicts_data_goes_to_quarantine(
    service: Service, settings: Settings, params: Params, flow: Callable[[], str | None]
) -> None:
    """One image in two requests, which people called two things."""
    payload = tinted(5000)
    audit = declare(settings, SHARE)
    keys = [f"again-{i:03}" for i in range(200) if audit.position(f"again-{i:03}", 0) < SHARE][:2]
    with service.client("carl") as client:
        for key in keys:
            client.post("/v1/classify", files={"files": ("c.png", payload)}, headers={"X-Request-ID": key})
    assert settles(lambda: {*keys} <= {one.request_id for one in store_of(settings).pictures()}, 20)
    for key, label in zip(keys, (CellType.IG, CellType.MONOCYTE), strict=True):
        for reviewer in ("anna", "ben"):
            say(service, reviewer, {"request_id": key, "picture": 0}, label)
    assert acceptance.waiting(settings, params) == 2
    held = read_holdings(settings.data)
    assert flow() is not None
    after = read_holdings(settings.data)
    assert after.images == held.images
    assert after.labels == held.labels
    assert {(one.reason, one.source) for one in after.quarantine} == {("label_conflict", AUDITED)}
    assert acceptance.waiting(settings, params) == 0
    assert flow() is None


def test_an_erasure_says_what_it_does_not_reach(
    answered: dict[str, bytes], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = read_labels(settings.data)[0]
    specimen = f"S-2026-{list(answered).index(row.request_id):05}"
    file = f"live-{row.sha256[:16]}.png"
    taken = next(e.event for e in trail.entries(settings) if isinstance(e.event, LabelsTaken))
    for name, value in (("ROOT", settings.root), ("STATE", settings.state)):
        monkeypatch.setenv(f"BLOODYSPY_{name}", str(value))
    done = CliRunner().invoke(app, ["erase", specimen])
    assert done.exit_code == 0, done.output
    assert file in done.output
    assert taken.data_version in done.output
    assert data_version(settings.root) in done.output  # every version since has it, too
    erased = next(e.event for e in trail.entries(settings) if isinstance(e.event, Erased))
    assert [Path(one).name for one in erased.in_data] == [file]
    assert row.request_id not in {one.request_id for one in store_of(settings).pictures()}
    again = CliRunner().invoke(app, ["erase", specimen])
    assert file not in again.output  # nothing leads there any more
