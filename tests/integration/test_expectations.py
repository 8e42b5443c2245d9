"""Great Expectations on real manifests: what passes, what fails and in which words, and the report it leaves."""

import hashlib
import json
import warnings
from pathlib import Path

import pandas as pd
import pytest
from pictures import delivery, picture

from bloodyspy.cells import CELL_TYPES
from bloodyspy.dataset.importing import import_images
from bloodyspy.dataset.manifest import build_manifest, read_manifest
from bloodyspy.dataset.split import Part, part_of
from bloodyspy.dataset.validation import LABELS_OF_CONTENT, NEAREST_IN_OTHER_PART, validate
from bloodyspy.errors import DataMissing, ValidationFailed
from bloodyspy.params import Params
from bloodyspy.settings import Settings

with warnings.catch_warnings():
    # Great Expectations 1.24 imports sre_constants, which Python 3.11 deprecates.
    warnings.simplefilter("ignore", DeprecationWarning)
    from bloodyspy.adapters.expectations import check


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough images for every class to be in every part."""
    return delivery(tmp_path_factory.mktemp("source") / "delivery", 80)


@pytest.fixture
def facts(delivered: Path, params: Params) -> pd.DataFrame:
    """A frame as ``validate`` gives it to the check, made without an import."""
    frame = _manifest(delivered, params)
    nearest = pd.Series(70, index=frame.index, dtype="Int64").where(frame["part"] != Part.WITHHELD)
    return frame.assign(**{LABELS_OF_CONTENT: 1, NEAREST_IN_OTHER_PART: nearest})


_frames: dict[Path, pd.DataFrame] = {}


def _manifest(delivered: Path, params: Params) -> pd.DataFrame:
    if delivered not in _frames:
        (delivered / "sources.csv").write_text("path,source\n")
        _frames[delivered] = build_manifest(delivered, params.split)
        (delivered / "sources.csv").unlink()
    return _frames[delivered].copy()


def failures(frame: pd.DataFrame, params: Params, report: Path) -> list[str]:
    return list(check(frame, params, report).failures)


def test_good_data_pass_and_leave_everything_behind(delivered: Path, settings: Settings, params: Params) -> None:
    import_images(str(delivered), settings, params)
    report = validate(settings, params, check)
    assert report.images == 640
    assert "640 images meet all" in report.summary
    frame = read_manifest(settings.manifest)
    assert len(frame) == 640
    metrics = json.loads((settings.build / "validation.json").read_text())
    assert metrics["images_per_class"] == dict.fromkeys((cell.value for cell in CELL_TYPES), 80)
    assert sum(metrics["images_per_part"].values()) == metrics["images"] == 640
    assert metrics["expectations"] == report.expectations > 50
    assert (metrics["expectations_failed"], metrics["synthetic"], metrics["quarantined"]) == (0, False, 0)
    assert metrics["bits_to_nearest_in_other_part"] > params.split.near_duplicate_bits


def test_the_report_opens_and_tells_the_results(delivered: Path, settings: Settings, params: Params) -> None:
    import_images(str(delivered), settings, params)
    index = validate(settings, params, check).report
    assert index == settings.build / "validation" / "index.html"
    assert "validations/" in index.read_text(encoding="utf-8")
    (page,) = index.parent.glob("validations/**/*.html")
    text = page.read_text(encoding="utf-8")
    assert "No image is held under two labels" in text
    assert "Succeeded" in text


def test_failing_data_stop_with_words_a_report_and_no_manifest(
    tmp_path: Path, settings: Settings, params: Params
) -> None:
    import_images(str(delivery(tmp_path / "few", 4)), settings, params)
    settings.build.mkdir()
    settings.manifest.write_bytes(b"of an earlier run")
    with pytest.raises(ValidationFailed) as failed:
        validate(settings, params, check)
    assert "There are at least 30 images of the cell type basophil: found 4." in failed.value.failures
    assert any(
        line.startswith("Every cell type is in the calibration part: missing are ") for line in failed.value.failures
    )
    assert str(settings.build / "validation" / "index.html") in str(failed.value)
    assert failed.value.report.is_file()
    assert not settings.manifest.exists()
    assert json.loads((settings.build / "validation.json").read_text())["expectations_failed"] == len(
        failed.value.failures
    )


def test_no_data(settings: Settings, params: Params) -> None:
    with pytest.raises(DataMissing, match="data import"):
        validate(settings, params, check)


def test_near_duplicates_across_parts_are_withheld_and_the_sealed_one_stays(
    delivered: Path, settings: Settings, params: Params
) -> None:
    originals = _manifest(delivered, params).query("part == 'test'").head(3)
    import_images(str(delivered), settings, params)
    copies = settings.root.parent / "copies"
    for path in originals["path"]:
        # The same pixels in other bytes, until the bytes fall into another part.
        payload = (delivered / path).read_bytes()
        extra = next(
            payload + str(i).encode()
            for i in range(1000)
            if part_of(hashlib.sha256(payload + str(i).encode()).hexdigest(), params.split) is Part.TRAIN
        )
        (copies / path).parent.mkdir(parents=True, exist_ok=True)
        (copies / path).with_stem(Path(path).stem + "-copy").write_bytes(extra)
    import_images(str(copies), settings, params)
    assert validate(settings, params, check).withheld == 3
    frame = read_manifest(settings.manifest).set_index("path")
    assert set(frame.loc[list(originals["path"]), "part"]) == {"test"}
    assert set(frame[frame.index.str.contains("-copy")]["part"]) == {"withheld"}


class TestEachExpectation:
    """One fault, one sentence that names it."""

    def test_none(self, facts: pd.DataFrame, params: Params, tmp_path: Path) -> None:
        assert failures(facts, params, tmp_path / "report") == []

    def test_a_leak(self, facts: pd.DataFrame, params: Params, tmp_path: Path) -> None:
        facts.loc[3, NEAREST_IN_OTHER_PART] = 12
        (sentence,) = failures(facts, params, tmp_path / "report")
        assert sentence == (
            "No image is within 44 bits of an image in another part (a leak between parts): "
            f"not so for 1 of 640: {facts['path'][3]} (12)."
        )

    def test_two_labels(self, facts: pd.DataFrame, params: Params, tmp_path: Path) -> None:
        facts.loc[[3, 4], LABELS_OF_CONTENT] = 2
        (sentence,) = failures(facts, params, tmp_path / "report")
        assert "No image is held under two labels: not so for 2 of 640" in sentence

    def test_held_twice(self, facts: pd.DataFrame, params: Params, tmp_path: Path) -> None:
        facts.loc[5:9, "sha256"] = facts["sha256"][0]
        (sentence,) = failures(facts, params, tmp_path / "report")
        assert sentence.startswith("No image is held twice: not so for 6 of 640: basophil/")
        assert sentence.endswith(" and 3 more.")

    def test_a_lamp_that_was_off(self, facts: pd.DataFrame, params: Params, tmp_path: Path) -> None:
        facts["brightness"] = 7.5
        (sentence,) = failures(facts, params, tmp_path / "report")
        assert sentence == (
            "The brightness of most images is that of a smear in transmitted light: found 7.5, 7.5, 7.5."
        )

    def test_a_value_each(self, facts: pd.DataFrame, params: Params, tmp_path: Path) -> None:
        faults: list[tuple[str, object, str]] = [
            ("source", None, "Every image has a value in source"),
            ("cell_type", "blast", "Every image is of one of the eight cell types"),
            ("part", "holdout", "Every image is in a known part"),
            ("path", "top.png", "Every path is a cell type and a file name"),
            ("phash", "xyz", "Every phash is 64 hex digits"),
            ("format", "GIF", "Every image is a JPEG, PNG, BMP, TIFF"),
            ("width", 20, "Every width is from 64 to 4096 pixels"),
            ("height", 9000, "Every height is from 64 to 4096 pixels"),
            ("red", 300.0, "Every red is from 0 to 255"),
            ("nucleus_share", 1.5, "Every nucleus_share is from 0 to 1"),
            ("noise", -1.0, "Every noise is at least 0"),
            ("contrast", 0.0, "No image is of one single shade"),
        ]
        for row, (column, value, _) in enumerate(faults):
            facts.loc[row, column] = value
        found = failures(facts, params, tmp_path / "report")
        assert [sentence.partition(": not so for 1 of 640: ")[0] for sentence in found] == [
            words for *_, words in faults
        ]

    def test_a_missing_column(self, facts: pd.DataFrame, params: Params, tmp_path: Path) -> None:
        sentences = failures(facts.drop(columns="noise"), params, tmp_path / "report")
        assert any(sentence.startswith("The columns are those of a manifest: found ") for sentence in sentences)
        assert any("Every noise is at least 0: it could not be checked" in sentence for sentence in sentences)
        assert not any("Traceback" in sentence for sentence in sentences)

    def test_an_empty_manifest(self, facts: pd.DataFrame, params: Params, tmp_path: Path) -> None:
        sentences = failures(facts.head(0), params, tmp_path / "report")
        assert "There are at least 30 images of the cell type ig: found 0." in sentences


def test_a_single_shade_is_found_in_a_real_picture(delivered: Path, settings: Settings, params: Params) -> None:
    import io

    from PIL import Image

    stream = io.BytesIO()
    Image.new("RGB", (72, 72), (200, 180, 190)).save(stream, "PNG")
    folder = settings.root.parent / "blank"
    (folder / "ig").mkdir(parents=True)
    (folder / "ig" / "blank.png").write_bytes(stream.getvalue())
    (folder / "ig" / "fine.png").write_bytes(picture(77_777))
    import_images(str(delivered), settings, params)
    import_images(str(folder), settings, params)
    with pytest.raises(ValidationFailed, match=r"one single shade: not so for 1 of 642: ig/blank\.png \(0\)"):
        validate(settings, params, check)
