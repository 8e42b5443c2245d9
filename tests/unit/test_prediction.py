"""Files through a model into a table: every file one row, in order, whatever is the matter with it."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from handmade import make_artefact
from pictures import picture
from pictures import write as write_files
from PIL import Image

from bloodyspy.cells import CELL_TYPES
from bloodyspy.errors import ArtefactInvalid, ModelUnavailable, SourceError
from bloodyspy.images.files import find
from bloodyspy.model import prediction
from bloodyspy.model.classifier import Classifier
from bloodyspy.model.prediction import BATCH, COLUMNS, open_model, predict, write
from bloodyspy.model.release import Release, write_release
from bloodyspy.observation import PROBABILITIES
from bloodyspy.settings import Settings

COMMAND = Path(sys.executable).with_name("bloodyspy")


@pytest.fixture
def classifier(tmp_path: Path) -> Classifier:
    return Classifier.load(make_artefact(tmp_path / "model", run_id="5" * 32).path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """More pictures than one batch, so that batches finish out of order."""
    names = [f"{'abc'[i % 3]}/{i:03}.png" for i in range(2 * BATCH + 5)]
    return write_files(tmp_path / "slides", {name: picture(i) for i, name in enumerate(names)})


def table_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_every_row_is_what_the_road_answers(classifier: Classifier, folder: Path, tmp_path: Path) -> None:
    files = find([folder]).files
    summary = write(classifier, files, tmp_path / "out.csv")
    rows = table_of(tmp_path / "out.csv")
    assert [row["path"] for row in rows] == [str(path) for path in files]
    assert tuple(rows[0]) == COLUMNS
    for row, path in zip(rows, files, strict=True):
        seen = classifier.observe(path.read_bytes())
        assert row["predicted"] == seen.predicted
        assert float(row["confidence"]) == pytest.approx(seen.confidence, abs=1e-5)
        np.testing.assert_allclose([float(row[name]) for name in PROBABILITIES], seen.probabilities, atol=1e-5)
        assert row["error"] == ""
        assert row["run_id"] == "5" * 32
    assert summary.classified == len(files)
    assert summary.counts == {cell: n for cell in CELL_TYPES if (n := sum(row["predicted"] == cell for row in rows))}


def test_the_table_does_not_depend_on_the_threads(classifier: Classifier, folder: Path) -> None:
    files = find([folder]).files
    assert list(predict(classifier, files, threads=1)) == list(predict(classifier, files, threads=4))


def test_a_bad_picture_is_a_row_with_its_reason(classifier: Classifier, tmp_path: Path) -> None:
    huge = Image.new("L", (9000, 6000))
    huge.save(tmp_path / "huge.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    write_files(tmp_path, {"cut.png": picture(1)[:300], "empty.png": b"", "fine.png": picture(2), "text.jpg": b"hello"})
    with (tmp_path / "fat.png").open("wb") as stream:
        stream.truncate(300 << 20)
    summary = write(classifier, find([tmp_path]).files, tmp_path / "out.csv")
    rows = {Path(row["path"]).name: row for row in table_of(tmp_path / "out.csv")}
    expected = {
        "cut.png": "truncated",
        "empty.png": "empty",
        "fat.png": "300 MB",
        "gone.png": "No such file",
        "huge.png": "54.0 megapixels",
        "pipe.png": "no file",
        "text.jpg": "not a JPEG",
    }
    for name, said in expected.items():
        assert said in rows[name]["error"]
        assert {rows[name][column] for column in ("predicted", "confidence", *PROBABILITIES)} == {""}
    assert rows["fine.png"]["predicted"] == classifier.observe(picture(2)).predicted
    assert rows["fine.png"]["error"] == ""
    assert (summary.classified, summary.unreadable) == (1, len(expected))


def test_only_bad_pictures_make_a_table_too(classifier: Classifier, tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    summary = write(classifier, find([tmp_path]).files, tmp_path / "out.csv")
    assert (summary.classified, summary.unreadable) == (0, 1)


def test_names_that_are_no_text_are_escaped(classifier: Classifier, tmp_path: Path) -> None:
    name = Path(os.fsdecode(os.fsencode(tmp_path) + b'/stra\xdfe, "1"\n.png'))
    name.write_bytes(picture(0))
    write(classifier, [name], tmp_path / "out.csv")
    (row,) = table_of(tmp_path / "out.csv")
    assert row["path"] == f'{tmp_path}/stra\\udcdfe, "1"\n.png'
    assert row["predicted"]


def test_no_name_becomes_a_formula(classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["=1+2.png", "+1.png", "-1.png", "@SUM(A1).png", "\t=1.png", "=a/0.png"]
    write_files(tmp_path, dict.fromkeys((*names, "a=1.png"), picture(0)))
    (tmp_path / "-2.png").write_bytes(b"no picture")
    files = [Path(name) for name in (*names, "-2.png", "a=1.png")]
    write(classifier, files, Path("out.csv"))
    rows = table_of(tmp_path / "out.csv")
    assert [row["path"] for row in rows] == [*(f"./{name}" for name in (*names, "-2.png")), "a=1.png"]
    assert [Path(row["path"]) for row in rows] == files  # they name the same files
    write(classifier, [tmp_path / "=1+2.png"], Path("out.csv"))
    assert table_of(tmp_path / "out.csv")[0]["path"] == str(tmp_path / "=1+2.png")
    write(classifier, [Path("a\r=1.png")], Path("out.csv"))  # no name begins a row either
    assert [row["path"] for row in table_of(tmp_path / "out.csv")] == ["a\\r=1.png"]


def test_folders_give_their_pictures_once_and_in_order(tmp_path: Path) -> None:
    names = ("b/2.JPG", "b/1.tiff", "a.png", "b/c/0.bmp")
    strangers = (".hidden.png", ".cache/3.png", "Thumbs.db", "notes.txt")
    write_files(tmp_path, dict.fromkeys((*names, *strangers), b"x"))
    (tmp_path / "b" / "round").symlink_to(tmp_path)
    other = write_files(tmp_path / "elsewhere", {"9.png": b"x"})
    (tmp_path / "b" / "link").symlink_to(other.rename(tmp_path.parent / f"{tmp_path.name}-elsewhere"))
    found = find([tmp_path / "b" / "2.JPG", tmp_path, tmp_path / "notes.txt", tmp_path / "a.png"])
    inside = ("b/2.JPG", "a.png", "b/1.tiff", "b/c/0.bmp", "b/link/9.png", "notes.txt")
    assert found.files == tuple(tmp_path / name for name in inside)
    assert found.left_out == len(strangers)


@pytest.mark.parametrize(("name", "said"), [("absent", "is not there"), ("nothing", "no picture")])
def test_nothing_to_classify_is_said(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "nothing").mkdir()
    with pytest.raises(SourceError, match=said):
        find([tmp_path / name])


def test_memory_is_bounded_by_batches_not_by_files(
    classifier: Classifier, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    original = prediction.read
    monkeypatch.setattr(prediction, "read", lambda path: (read.append(path), original(path))[1])
    files = find([folder]).files * 20
    answers = predict(classifier, files, threads=2)
    next(answers)
    time.sleep(0.5)  # were there no bound, everything would be read by now
    assert len(read) <= 2 * prediction._AHEAD * BATCH < len(files)
    answers.close()


def test_an_older_table_stays_until_the_new_one_is_whole(
    classifier: Classifier, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "results" / "out.csv"
    with pytest.raises(SourceError, match="cannot be written"):
        write(classifier, [], table)
    table.parent.mkdir()
    table.write_text("older")

    def interrupt(_path: Path) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(prediction, "read", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(classifier, find([folder]).files, table)
    assert [path.name for path in table.parent.iterdir()] == ["out.csv"]
    assert table.read_text() == "older"
    with pytest.raises(SourceError, match="not a file"):
        write(classifier, find([folder]).files, table.parent)


def test_the_model_is_the_released_one_or_the_named_one(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="--model"):
        open_model(settings)
    released = make_artefact(settings.bentoml_home / "models" / "bloodyspy" / "v3", run_id="3" * 32)
    release = Release(version=3, model="bloodyspy:v3", path="models/bloodyspy/v3", run_id="3" * 32, digest="0" * 64)
    write_release(settings.release, release)
    with pytest.raises(ArtefactInvalid, match="not the artefact that was released"):
        open_model(settings)
    write_release(settings.release, release.model_copy(update={"digest": released.digest}))
    make_artefact(settings.artefact("small_cnn"), run_id="4" * 32)
    make_artefact(tmp_path / "brought", run_id="5" * 32)
    names = {None: "3", "small_cnn": "4", str(tmp_path / "brought"): "5"}
    assert {name: open_model(settings, name).spec.run_id[0] for name in names} == names
    with pytest.raises(ModelUnavailable, match="no model large_cnn"):
        open_model(settings, "large_cnn")


def test_predicting_needs_no_tool_of_the_platform() -> None:
    code = "import sys, bloodyspy.cli, bloodyspy.model.prediction; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert not {"tensorflow", "keras", "mlflow", "pandas", "scipy", "bentoml"} & set(done.stdout.split())


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, "predict", *arguments], capture_output=True, text=True, timeout=120)


def test_the_exit_code_tells(settings: Settings, folder: Path, tmp_path: Path) -> None:
    make_artefact(settings.artefact("small_cnn"))
    table = tmp_path / "out.csv"
    done = run(folder, "--csv", table, "--model", "small_cnn")
    assert done.returncode == 0, done.stderr
    assert f"{2 * BATCH + 5} files" in done.stdout
    (folder / "broken.png").write_bytes(b"x")
    done = run(folder, "--csv", table, "--model", "small_cnn")
    assert done.returncode == 3
    assert "1 files could not be read" in done.stderr
    assert len(table_of(table)) == 2 * BATCH + 6
    table.unlink()
    done = run(folder, "--csv", table)
    assert done.returncode == 1
    assert "--model" in done.stderr
    assert not table.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_command_leaves_nothing(settings: Settings, tmp_path: Path, number: signal.Signals) -> None:
    make_artefact(settings.artefact("small_cnn"))
    folder = write_files(tmp_path / "many", dict.fromkeys((f"{i}.png" for i in range(5000)), picture(0, side=400)))
    results = tmp_path / "results"
    results.mkdir()
    command = [COMMAND, "predict", folder, "--csv", results / "out.csv", "--model", "small_cnn"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 60
        while not list(results.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert process.poll() is None
        process.send_signal(number)
        assert process.wait(30) != 0
    finally:
        process.kill()
        process.communicate()
    assert not list(results.iterdir())
