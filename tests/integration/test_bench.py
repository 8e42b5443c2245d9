"""The page of the bench in a real Chromium, as a person would use it: by mouse, by keyboard alone, on a phone.

BLOODYSPY_TEST_MODEL names a model's folder to serve in the place of one made by hand; BLOODYSPY_TEST_PICTURES a folder
for pictures of the page.
"""

import csv
import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from handmade import answer_policy, make_artefact
from operated import Prepared, prepared
from pictures import tinted, write
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright
from running import NAME, PASSWORD, Service, served, settles

from bloodyspy.cells import CELL_TYPES, CellType
from bloodyspy.model.artifact import Artefact
from bloodyspy.model.classifier import Classifier
from bloodyspy.serving.accounts import add_user
from bloodyspy.serving.roles import Role
from bloodyspy.settings import Settings

pytestmark = [
    # BentoML 1.4 asks pathspec for a pattern by its old name.
    pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning"),
    pytest.mark.skipif(shutil.which("chromium") is None, reason="no Chromium (apt-get install chromium)"),
]

CLASSIFIER_ONLY = "carl"
PICTURES = 24
PHONE: ViewportSize = {"width": 390, "height": 844}

expect.set_options(timeout=60_000)  # a busy machine is no fault of the page


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    place = tmp_path_factory.mktemp("bench")
    named = os.environ.get("BLOODYSPY_TEST_MODEL")
    policy = answer_policy(novelty={"review": 0.9, "reject": 0.97})
    model = Artefact.open(Path(named)) if named else make_artefact(place / "artefact", "c" * 32, policy=policy)
    (place / "model").symlink_to(model.path)
    ready = prepared(place, model, Role.REVIEW)
    add_user(place / "users.json", CLASSIFIER_ONLY, PASSWORD, Role.CLASSIFY)
    return ready


@pytest.fixture(scope="module")
def settings(ready: Prepared) -> Settings:
    return ready.settings


@pytest.fixture(scope="module")
def service(ready: Prepared) -> Iterator[Service]:
    with served(ready.settings.root / "service.log", ready.environment) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # A container's user is often root, whom Chromium's sandbox refuses.
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, service: Service) -> Iterator[Page]:
    """The page, which must ask nobody but the service for anything, and write no error to its console."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en")
    page = context.new_page()
    page.set_default_timeout(60_000)
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(service.url)
    yield page
    assert {url for url in asked if not url.startswith((service.url, "blob:", "data:"))} == set()
    assert [words for words in said if "the server responded with a status of" not in words] == []
    context.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of a smear, some in a folder inside, and what is none of it."""
    place = write(tmp_path_factory.mktemp("pictures"), {f"cell {i:02}.png": tinted(i) for i in range(PICTURES - 4)})
    write(place / "more", {f"cell {i:02}.png": tinted(i) for i in range(PICTURES - 4, PICTURES)})
    return write(place, {"broken.png": b"no picture", "notes.txt": b"hello", ".hidden.png": tinted(90)})


def sign_in(page: Page, name: str = NAME, password: str = PASSWORD) -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password, or a key").fill(password)
    page.get_by_role("button", name="Sign in").click()


def begin(page: Page, name: str = NAME) -> None:
    sign_in(page, name)
    expect(page.locator("#bench")).to_be_visible()


def drop(page: Page, *paths: Path) -> None:
    """Files dropped from the desktop, by the browser's own protocol."""
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 300, "y": 200, "data": data})


def kept_labels(settings: Settings) -> list[dict[str, object]]:
    return [json.loads(line) for path in settings.labels.glob("*/*.jsonl") for line in path.read_text().splitlines()]


def observed(settings: Settings) -> int:
    assert settings.observations is not None
    return sum(len(path.read_text().splitlines()) for path in settings.observations.glob("*/*.jsonl"))


def accessible(page: Page) -> None:
    """Nothing that axe calls serious or critical."""
    found = Axe().run(page).response["violations"]
    grave = [one for one in found if one["impact"] in ("serious", "critical")]
    assert not grave, json.dumps([(one["id"], [node["html"] for node in one["nodes"]]) for one in grave], indent=1)


def pictured(page: Page, name: str) -> None:
    """Keep a picture of the page where BLOODYSPY_TEST_PICTURES says, for people to look at."""
    if place := os.environ.get("BLOODYSPY_TEST_PICTURES"):
        page.screenshot(path=Path(place) / f"{name}.png", full_page=True)


def answer_all(page: Page, pictures: int) -> None:
    expect(page.locator("#status")).to_contain_text(f"{pictures} of {pictures} answered", timeout=120_000)


def test_the_story_of_a_smear(page: Page, settings: Settings, folder: Path, tmp_path: Path) -> None:
    accessible(page)
    pictured(page, "sign-in")
    sign_in(page, password="wrong")
    expect(page.get_by_role("alert")).to_have_text("The name or the password is wrong.")
    sign_in(page)
    expect(page.locator("#who")).to_contain_text("anna (review)")
    before, labels = observed(settings), len(kept_labels(settings))
    page.get_by_label("Specimen").fill("S-2026-00017")
    drop(page, *folder.glob("*.png"), folder / "more", folder / "notes.txt")
    answer_all(page, PICTURES + 1)
    expect(page.get_by_role("alert")).to_contain_text("1 file was left out")
    assert page.locator(".cell").count() == PICTURES + 1
    expect(page.locator("#status")).to_contain_text("1 unreadable")
    assert settles(lambda: observed(settings) == before + PICTURES)

    classifier = Classifier.load(settings.root / "model")
    by_name = {f"cell {i:02}.png": classifier.observe(tinted(i)) for i in range(PICTURES)}
    page.locator(".cell").nth(1).click()
    name = page.locator("#picture-name").inner_text()
    seen = by_name[name]
    expect(page.locator("#types button").nth(seen.predicted.position)).to_contain_text(f"{100 * seen.confidence:.1f} %")
    expect(page.locator("#counted")).to_contain_text("white cells")
    page.get_by_role("button", name="Why?").click()
    expect(page.get_by_alt_text("Heat map")).to_be_visible()
    assert observed(settings) == before + PICTURES  # an explanation is no second observation

    other = next(cell for cell in (CellType.NEUTROPHIL, CellType.MONOCYTE) if cell is not seen.predicted)
    page.keyboard.press(str(other.position + 1))
    expect(page.locator("#verdict")).to_contain_text("Labelled by you")
    assert settles(lambda: len(kept_labels(settings)) == labels + 1)
    kept = kept_labels(settings)[-1]
    assert (kept["label"], kept["reviewer"]) == (str(other), NAME)
    expect(page.locator("#shares tr").filter(has_text=other.spelled_out)).to_be_visible()
    accessible(page)
    pictured(page, "bench")

    with page.expect_download() as downloading:
        page.get_by_role("button", name="Cells as CSV").click()
    assert downloading.value.suggested_filename == "S-2026-00017-cells.csv"
    rows = list(csv.DictReader(io.StringIO(Path(downloading.value.path()).read_text(encoding="utf-8"))))
    assert {row["path"]: row["predicted"] for row in rows if not row["error"]} == {
        file: str(one.predicted) for file, one in by_name.items()
    }
    assert [row["label"] for row in rows if row["path"] == name] == [str(other)]

    page.get_by_role("button", name="Report").click()
    with page.expect_download() as downloading:
        page.get_by_role("link", name="Download the report").click()
    report = tmp_path / "report.html"
    downloading.value.save_as(report)
    text = report.read_text(encoding="utf-8")
    assert "S-2026-00017" in text
    assert f"by {NAME}" in text
    with page.expect_download() as downloading:
        page.get_by_role("link", name="its cells").click()
    told = {row["path"]: row for row in csv.DictReader(io.StringIO(Path(downloading.value.path()).read_text()))}
    assert (told[name]["label"], told[name]["request_id"]) == (str(other), kept["request_id"])
    assert observed(settings) == before + PICTURES  # nor is the report
    assert len(kept_labels(settings)) == labels + 1


@pytest.mark.real
def test_fifty_real_pictures(page: Page, settings: Settings, real_data: Path, tmp_path: Path) -> None:
    pictures = [path for cell in CELL_TYPES for path in sorted((real_data / "pbc" / cell).glob("[!.]*.jpg"))[:7]][:50]
    before, labels = observed(settings), len(kept_labels(settings))
    begin(page)
    page.get_by_label("Specimen").fill("S-2026-00050")
    drop(page, *pictures)
    answer_all(page, 50)
    page.locator("#filter").select_option("open")
    if not page.locator(".cell").count():
        page.locator("#filter").select_option("all")
    page.locator(".cell").first.click()
    page.keyboard.press("h")
    expect(page.get_by_alt_text("Heat map")).to_be_visible()
    page.keyboard.press("4")
    expect(page.locator("#one-title")).to_have_text(CellType.IG.spelled_out)
    page.locator("#filter").select_option("all")
    expect(page.locator("#shares tr")).to_have_count(7)
    expect(page.locator('.cell[aria-selected="true"]')).to_have_count(1)
    accessible(page)
    pictured(page, "real")
    page.get_by_role("button", name="Report").click()
    with page.expect_download() as downloading:
        page.get_by_role("link", name="Download the report").click()
    downloading.value.save_as(tmp_path / "report.html")
    assert "Specimen S-2026-00050" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert observed(settings) == before + 50
    assert len(kept_labels(settings)) == labels + 1


def test_by_keyboard_alone(page: Page, settings: Settings, folder: Path) -> None:
    page.keyboard.type(NAME)  # the name has the focus
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator("#files")).to_be_focused()
    page.locator("#files").set_input_files(sorted(folder.glob("cell *.png"))[:6])  # the system's own window
    answer_all(page, 6)
    labels = len(kept_labels(settings))
    for _ in range(12):
        if page.evaluate("document.activeElement.id") == "list":
            break
        page.keyboard.press("Tab")
    expect(page.locator("#list")).to_be_focused()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#picture-name")).to_have_text("cell 01.png")
    page.keyboard.press("h")
    expect(page.get_by_alt_text("Heat map")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.locator("#verdict")).to_contain_text("Labelled by you")
    page.keyboard.press("0")
    expect(page.locator("#one-title")).to_have_text("no cell")
    page.keyboard.press("Delete")
    expect(page.locator("#verdict")).not_to_contain_text("Labelled")
    assert settles(lambda: len(kept_labels(settings)) == labels + 3)
    assert [row["label"] for row in kept_labels(settings)[-2:]] == ["no_cell", None]
    page.keyboard.press("End")
    expect(page.locator("#picture-name")).to_have_text("cell 05.png")


def test_on_a_phone(page: Page, folder: Path) -> None:
    page.set_viewport_size(PHONE)
    begin(page)
    page.locator("#folder").set_input_files(folder)
    answer_all(page, PICTURES + 1)
    page.locator(".cell").nth(2).click()
    expect(page.locator("#one")).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    accessible(page)
    pictured(page, "phone")


def test_a_role_that_may_not_label(page: Page, settings: Settings, folder: Path) -> None:
    labels = len(kept_labels(settings))
    begin(page, CLASSIFIER_ONLY)
    page.locator("#files").set_input_files(sorted(folder.glob("cell *.png"))[:2])
    answer_all(page, 2)
    expect(page.locator("#may-not")).to_be_visible()
    expect(page.get_by_role("button", name="No cell")).to_be_disabled()
    page.keyboard.press("3")
    page.get_by_role("button", name="Report").click()
    expect(page.get_by_role("link", name="Download the report")).to_be_visible()
    assert len(kept_labels(settings)) == labels


def test_a_name_in_the_place_of_the_specimen(page: Page, settings: Settings, folder: Path) -> None:
    before = observed(settings)
    begin(page)
    page.get_by_label("Specimen").fill("Maria Huber")
    page.locator("#files").set_input_files(sorted(folder.glob("cell *.png"))[:3])
    expect(page.get_by_role("alert")).to_contain_text("The specimen's id")
    assert observed(settings) == before
    page.get_by_label("Specimen").fill("S-2026-00018")
    page.get_by_role("button", name="Go on").click()
    answer_all(page, 3)
    assert settles(lambda: observed(settings) == before + 3)


def test_the_card_opens(page: Page) -> None:
    begin(page)
    with page.expect_popup() as opening:
        page.get_by_role("link", name="Model card").click()
    card = opening.value
    expect(card.locator("h1")).to_be_visible()
    assert card.evaluate("getComputedStyle(document.body).maxWidth") != "none"  # its style is in force


def test_what_the_page_is_made_of(service: Service) -> None:
    with httpx.Client(base_url=service.url, trust_env=False) as stranger:
        for path, kind in (("/", "text/html"), ("/page/bench.css", "text/css"), ("/page/bench.js", "text/javascript")):
            answer = stranger.get(path)
            assert answer.headers["content-type"] == f"{kind}; charset=utf-8"
            assert "://" not in answer.text
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "script-src 'self';" in policy
        assert stranger.get("/page/../service.py").status_code == 404
        assert stranger.get("/page/secret").status_code == 404


def test_the_types_are_those_of_the_platform(service: Service) -> None:
    script = httpx.get(f"{service.url}/page/bench.js", trust_env=False).text
    listed = script.split("const TYPES = ")[1].split(";")[0]
    assert json.loads(listed) == [str(cell) for cell in CELL_TYPES]
