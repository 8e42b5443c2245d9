"""Another laboratory's pictures, walked down the road of the service."""

import errno
import hashlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from handmade import make_artefact
from pictures import tinted, write

from bloodyspy.cells import CELL_TYPES, CellType
from bloodyspy.errors import DataError
from bloodyspy.evaluation import external
from bloodyspy.model.classifier import Classifier


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    place = tmp_path_factory.mktemp("models") / "small_cnn"
    make_artefact(place)
    return Classifier.load(place)


FILES = {
    "Immature granulocytes/one.png": tinted(1),
    "Immature granulocytes/smear 2/two.jpg": tinted(2, "JPEG"),
    "NEUTROPHILS/three.png": tinted(3),
    "NEUTROPHILS/broken.jpg": tinted(4, "JPEG")[:200],
    "NEUTROPHILS/Thumbs.db": b"no picture",
    "NEUTROPHILS/.DS_Store": b"hidden",
    "NEUTROPHILS/.hidden/four.png": tinted(4),
    "monocyte/five.bmp": tinted(5, "BMP", side=200),
    "blasts/six.png": tinted(6),
    "seven.png": tinted(7),
}
LABELLED = {
    "Immature granulocytes/one.png": CellType.IG,
    "Immature granulocytes/smear 2/two.jpg": CellType.IG,
    "NEUTROPHILS/three.png": CellType.NEUTROPHIL,
    "monocyte/five.bmp": CellType.MONOCYTE,
}


def test_pictures_are_answered_as_the_service_answers(
    classifier: Classifier, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, FILES)
    with caplog.at_level(logging.WARNING):
        found = external.measure(classifier, "elsewhere", tmp_path)
    assert (found.name, found.images, found.unreadable, found.in_data_set) == ("elsewhere", 4, 1, 0)
    expected = np.zeros((8, 8), dtype=int)
    for path, cell_type in LABELLED.items():
        observation = classifier.observe(FILES[path])
        expected[cell_type.position, CELL_TYPES.index(CellType(observation.predicted))] += 1
    assert np.array_equal(found.metrics.confusion, expected)
    assert np.count_nonzero(expected.sum(axis=0)) > 1  # not one answer to everything
    assert found.metrics.support[CellType.IG] == 2
    assert "blasts is named like no cell type" in caplog.text
    assert "1 unreadable" in caplog.text
    assert "3 files are hidden or not named like pictures" in caplog.text


def test_the_digest_is_that_of_contents_and_labels(classifier: Classifier, tmp_path: Path) -> None:
    def digest(name: str, files: dict[str, bytes]) -> str:
        return external.measure(classifier, name, write(tmp_path / name, files)).digest

    one = digest("one", {"ig/a.png": tinted(1), "monocyte/b.png": tinted(2)})
    renamed = digest("renamed", {"IGs/z.png": tinted(1), "monocytes/0.png": tinted(2), "monocytes/x.txt": b"?"})
    relabelled = digest("relabelled", {"ig/a.png": tinted(2), "monocyte/b.png": tinted(1)})
    assert one == renamed
    assert len({one, relabelled, digest("other", {"ig/a.png": tinted(1), "monocyte/b.png": tinted(3)})}) == 3


def test_pictures_of_the_data_set_are_no_external_test(classifier: Classifier, tmp_path: Path) -> None:
    write(tmp_path, FILES)
    learned = {hashlib.sha256(FILES[path]).hexdigest() for path in ("monocyte/five.bmp", "NEUTROPHILS/three.png")}
    found = external.measure(classifier, "elsewhere", tmp_path, learned)
    assert (found.images, found.in_data_set) == (2, 2)
    assert set(found.metrics.sensitivity) == {CellType.IG}
    everything = {hashlib.sha256(content).hexdigest() for content in FILES.values()}
    with pytest.raises(DataError, match=r"evaluation\.external\.elsewhere.*nothing to score: 4 of its files"):
        external.measure(classifier, "elsewhere", tmp_path, everything)


@pytest.mark.parametrize(
    ("files", "fault"),
    [
        ({}, "is not there"),
        ({"blasts/one.png": tinted(1), "two.png": tinted(2)}, r"There is no picture\..*Put a folder per cell type"),
        ({"ig/one.txt": b"no picture"}, r"There is no picture\..*Put a folder per cell type"),
        ({"ig/one.png": b"no picture"}, "nothing to score: 0 of its files are in the data set, 1 are no pictures"),
        (
            {"ig/one.png": tinted(1), "monocyte/one.png": tinted(1)},
            "nothing to score: 0 of its files are in the data set, 0 are no pictures, 2 stand under several types",
        ),
    ],
)
def test_a_folder_without_pictures_says_what_is_wanted(
    classifier: Classifier, tmp_path: Path, files: dict[str, bytes], fault: str
) -> None:
    with pytest.raises(DataError, match=fault):
        external.measure(classifier, "elsewhere", write(tmp_path / "elsewhere", files))


def test_a_picture_counts_once_and_under_two_types_not_at_all(classifier: Classifier, tmp_path: Path) -> None:
    single = {"ig/a.png": tinted(1), "monocyte/b.png": tinted(2)}
    copies = {"ig/again.png": tinted(1), "ig/deep/again.png": tinted(1)}
    doubtful = {"ig/c.png": tinted(3), "ig/c2.png": tinted(3), "monocyte/c.png": tinted(3)}
    plain = external.measure(classifier, "elsewhere", write(tmp_path / "plain", single))
    found = external.measure(classifier, "elsewhere", write(tmp_path / "full", single | copies | doubtful))
    assert (plain.images, plain.duplicates, found.duplicates) == (2, 0, 5)
    assert found.model_copy(update={"duplicates": 0}) == plain


def test_links_are_followed_and_what_cannot_be_read_is_counted(
    classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = write(tmp_path / "beside", {"two.png": tinted(2)})
    folder = write(tmp_path / "elsewhere", {"ig/one.png": tinted(1), "ig/locked.png": tinted(3)})
    (folder / "ig" / "more").symlink_to(beside)
    (folder / "ig" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(folder / "ig" / "pipe.png")
    whole = Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        # whoever runs the tests as root may read everything
        if path.name == "locked.png":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return whole(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    found = external.measure(classifier, "elsewhere", folder)
    assert (found.images, found.unreadable, found.duplicates) == (2, 3, 0)


def test_a_folder_that_cannot_be_entered_is_named(
    classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "elsewhere", {"ig/one.png": tinted(1), "ig/locked/two.png": tinted(2)})
    entered = os.scandir

    def scandir(path: str) -> Iterator[os.DirEntry[str]]:
        if str(path).endswith("locked"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return entered(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(
        DataError, match=r"evaluation\.external\.elsewhere.*locked cannot be read: .*or take the key away"
    ):
        external.measure(classifier, "elsewhere", folder)


def test_the_real_folder_of_another_laboratory_is_read_whole(classifier: Classifier, real_data: Path) -> None:
    folder = real_data / "other-labs" / "bccd"
    found = external.measure(classifier, "bccd", folder)
    assert found.images == sum(1 for _ in folder.glob("*/*")) == 351
    assert found.unreadable == 0
    assert {cell: n for cell, n in found.metrics.support.items() if n} == {
        CellType(place.name): sum(1 for _ in place.iterdir()) for place in folder.iterdir()
    }
