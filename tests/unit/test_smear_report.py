"""What is told of a smear: the page loads and runs nothing, names are words only, tables can be read again."""

import csv
import io
import re
import subprocess
import sys
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from handmade import make_artefact
from pictures import tinted, write

from bloodyspy.cells import CELL_TYPES, CellType
from bloodyspy.errors import ArtefactInvalid, SmearError
from bloodyspy.model.artifact import METRICS, Artefact
from bloodyspy.model.classifier import Classifier
from bloodyspy.smear import report as reports
from bloodyspy.smear.differential import Question, Tally, differential
from bloodyspy.smear.reading import COLUMNS, SHOWN, Shown, gallery, measured_confusion, read_cells, table
from bloodyspy.smear.report import SmearReport, page

HOSTILE = "\"><script>alert(1)</script>'<b>&amp;"
COMMAND = Path(sys.executable).with_name("bloodyspy")


def report_of(answers: list[int], actions: list[str] | None = None, **changes: object) -> SmearReport:
    cells = [cell for cell, count in zip(CELL_TYPES, answers, strict=True) for _ in range(count)]
    found = differential(Tally.of(cells, actions or ["auto"] * len(cells)), np.diag([100] * 8), Question())
    facts = {
        "specimen": "S-17",
        "made": datetime(2026, 11, 28, 12, tzinfo=UTC),
        "model": "small_cnn v3",
        "run_id": "0" * 32,
        "digest": "d" * 64,
        "data_version": "e" * 32,
        "synthetic": False,
        "unreadable": 0,
        "unreadable_files": (),
        "differential": found,
    }
    return SmearReport.model_validate({**facts, **changes})


ANSWERS = [2, 6, 3, 1, 60, 12, 119, 5]


VOID = ("meta", "link", "img", "br", "path", "circle")


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.loaded: set[str] = set()
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.loaded |= {str(value) for name, value in attrs if name in ("src", "href")}
        assert not [name for name, _ in attrs if name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag in VOID or self.open.pop() == tag


def test_the_page_loads_and_runs_nothing_whatever_is_written_on_it() -> None:
    shown = Shown(tinted(1, "JPEG"), HOSTILE, 0.5, "review")
    report = report_of(ANSWERS, model=HOSTILE, specimen=HOSTILE, run_id=HOSTILE, data_version=HOSTILE)
    text = page(report, {CellType.IG: [shown]})
    tags = Tags(text)
    assert not tags.open
    assert not tags.tags & {"script", "iframe", "object", "form"}
    assert all(place.startswith("data:") for place in tags.loaded)
    assert "url(" not in text
    assert "Research use only" in text


def test_the_page_tells_what_the_record_tells() -> None:
    actions = ["auto"] * (sum(ANSWERS) - 2) + ["review", "reject"]
    report = report_of(ANSWERS, actions, unreadable=3)
    text = re.sub(r"<[^>]+>", " ", page(report, {}))
    words = " ".join(text.split())
    for cell in report.differential.classes:
        told = f"{cell.corrected.value:.1f} ({cell.corrected.low:.1f} to {cell.corrected.high:.1f})"
        assert f"{cell.cell_type.spelled_out} {cell.counted}" in words
        assert told in words
    assert "White cells counted 200" in words
    assert "Rejected 1 " in words
    assert "Unreadable files 3 " in words
    assert "small_cnn v3" in words
    assert "Synthetic" not in words
    assert "Synthetic" in page(report_of(ANSWERS, synthetic=True), {})


@pytest.mark.parametrize(("ig", "words"), [(30, "ig above the limit"), (1, "ig: cannot be told")])
def test_the_flag_is_in_words(ig: int, words: str) -> None:
    assert words in page(report_of([2, 6, 3, ig, 60, 12, 119, 5]), {})


def test_the_record_and_the_table_can_be_read_again() -> None:
    report = report_of(ANSWERS)
    assert SmearReport.model_validate_json(report.model_dump_json()) == report
    rows = list(csv.DictReader(io.StringIO(report.table())))
    assert [row["type"] for row in rows] == [*(c.cell_type for c in report.differential.classes), "erythroblast"]
    neutrophils = next(row for row in rows if row["type"] == "neutrophil")
    assert neutrophils["counted"] == "119"
    assert float(neutrophils["raw"]) == pytest.approx(59.5)
    assert int(neutrophils["more_to_count"]) == report.differential.of(CellType.NEUTROPHIL).more


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Artefact:
    return make_artefact(tmp_path_factory.mktemp("model") / "model", run_id="5" * 32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    files = {f"{i:02}.png": tinted(i) for i in range(30)} | {"bad[b].png": b"no picture"}
    return write(tmp_path_factory.mktemp("smear"), files)


def test_every_cell_walks_the_road(artefact: Artefact, folder: Path) -> None:
    classifier = Classifier(artefact)
    files = [(path, path.name) for path in sorted(folder.iterdir())]
    cells = list(read_cells(classifier, files))
    assert [cell.name for cell in cells] == [name for _, name in files]
    assert [cell.name for cell in read_cells(classifier, files, threads=1)] == [name for _, name in files]
    for cell in cells[:-1]:
        assert cell.observation is not None
        seen = classifier.observe(cell.file.read_bytes())
        np.testing.assert_allclose(cell.observation.probabilities, seen.probabilities, atol=1e-6)
    assert cells[-1].error == "it is not a JPEG, PNG, BMP or TIFF"
    rows = list(csv.DictReader(io.StringIO(table(cells, "5" * 32))))
    assert tuple(rows[0]) == COLUMNS
    assert [row["action"] for row in rows[-2:]] == ["auto", ""]
    shown = gallery(cells, 3)
    assert all(len(pictures) <= 3 <= SHOWN for pictures in shown.values())
    for cell_type, pictures in shown.items():
        confidences = sorted(
            c.observation.confidence for c in cells if c.observation and c.observation.predicted is cell_type
        )
        assert [one.confidence for one in pictures] == confidences[: len(pictures)]
        assert pictures[0].jpeg.startswith(b"\xff\xd8")


def test_the_matrix_is_the_sealed_parts(artefact: Artefact, tmp_path: Path) -> None:
    confusion = measured_confusion(artefact)
    assert confusion.shape == (8, 8)
    assert confusion.sum() == 400
    (tmp_path / METRICS).write_text('{"test": {"confusion": [[1, 2], [3, 4]]}}')
    for fault in ("8 x 8", "holds no"):
        with pytest.raises(ArtefactInvalid, match=fault):
            measured_confusion(Artefact(path=tmp_path, spec=artefact.spec, digest=""))
        (tmp_path / METRICS).write_text("{}")


def test_a_file_of_a_report_is_replaced_as_a_whole(tmp_path: Path) -> None:
    place = tmp_path / "report.json"
    reports.write(place, "one")
    reports.write(place, "two \udcff")
    assert place.read_text() == "two \\udcff"
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
    with pytest.raises(SmearError, match="cannot be written"):
        reports.write(tmp_path / "absent" / "report.json", "x")
    with pytest.raises(SmearError, match="not a file"):
        reports.write(tmp_path, "x")


def test_the_command(artefact: Artefact, folder: Path, tmp_path: Path) -> None:
    places = [tmp_path / name for name in ("out.json", "out.csv", "cells.csv", "out.html")]
    options = [word for pair in zip(("--json", "--csv", "--cells", "--html"), places, strict=True) for word in pair]
    done = subprocess.run(
        [COMMAND, "smear", folder, "--specimen", "S-17", "--model", artefact.path, *options],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
    )
    assert done.returncode == 3, done.stderr
    assert "bad[b].png: it is not a JPEG" in done.stderr
    assert "Research use only" in done.stdout
    report = SmearReport.model_validate_json(places[0].read_bytes())
    assert report.specimen == "S-17"
    assert report.unreadable == 1
    assert places[1].read_text() == report.table()
    assert len(places[2].read_text().splitlines()) == 32
    assert "Specimen S-17" in places[3].read_text()
    named = subprocess.run(
        [COMMAND, "smear", folder, "--specimen", "Jane Doe"], capture_output=True, text=True, cwd=tmp_path, timeout=300
    )
    assert named.returncode == 1
    assert "pseudonym" in named.stderr
