"""What becomes of each file that somebody delivers."""

import csv
import hashlib
import os
import shutil
import stat
import time
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from pictures import delivery, picture, snapshot, write

from bloodyspy.dataset import exchange, importing, sources
from bloodyspy.dataset.holdings import LABELLED, LABELS_FILE, Reason, Statement, read_holdings
from bloodyspy.dataset.importing import ImportReport, import_images, import_labelled
from bloodyspy.dataset.parallel import in_threads
from bloodyspy.dataset.sources import Source, SourceFile
from bloodyspy.dataset.version import read_dataset
from bloodyspy.errors import DataError, SourceError
from bloodyspy.params import Params
from bloodyspy.settings import Settings


@pytest.fixture
def take(settings: Settings, params: Params):
    def take(source: Path | str, **options: object) -> ImportReport:
        return import_images(str(source), settings, params, **options)

    return take


def quarantine(settings: Settings) -> dict[str, str]:
    with (settings.data / "quarantine.csv").open(encoding="utf-8") as file:
        return {row["path"]: row["reason"] for row in csv.DictReader(file)}


def images(settings: Settings) -> set[str]:
    return {name for name in snapshot(settings.data) if "/" in name}


JPEG = picture(1, "JPEG")


def test_facts_of_a_real_folder(tmp_path: Path, settings: Settings, take) -> None:
    huge = (
        b"BM"
        + b"\0" * 12
        + (40).to_bytes(4, "little")
        + (60_000).to_bytes(4, "little") * 2
        + b"\1\0\x18\0"
        + b"\0" * 24
    )
    source = write(
        tmp_path / "delivery",
        {
            "Neutrophils/BNE_1.jpg": JPEG,
            "Neutrophils/deeper/SNE_2.png": picture(2),
            "Immature granulocytes/PMY_3.bmp": picture(3, "BMP"),
            "EOSINOPHIL/EO_4.tif": picture(4, "TIFF"),
            "basophil/wrong-suffix.jpg": picture(5, "PNG"),
            "basophil/.DS_169665.jpg": picture(6),
            "basophil/Thumbs.db": b"junk",
            ".git/objects/1": b"junk",
            ".git/objects/2": b"junk",
            "platelet/truncated.jpg": picture(7, "JPEG")[:400],
            "platelet/empty.png": b"",
            "platelet/text.jpg": b"not a picture",
            "platelet/notes.txt": b"a note",
            "platelet/huge.bmp": huge,
            "smudge cells/one.png": picture(8),
            "smudge cells/two.png": picture(9),
            "overview.png": picture(10),
            "readme.txt": b"text",
            "lymphocyte/a.png": picture(11),
            "lymphocyte/b.png": picture(11),
            "monocyte/c.png": picture(12),
            "erythroblast/d.png": picture(12),
        },
    )
    (source / "platelet" / "broken-link.jpg").symlink_to("nowhere.jpg")
    os.mkfifo(source / "platelet" / "pipe.jpg")
    report = take(source)
    assert images(settings) == {
        "neutrophil/BNE_1.jpg",
        "neutrophil/SNE_2.png",
        "ig/PMY_3.bmp",
        "eosinophil/EO_4.tif",
        "basophil/wrong-suffix.jpg",
        "lymphocyte/a.png",
    }
    assert quarantine(settings) == {
        "basophil/.DS_169665.jpg": "hidden",
        "basophil/Thumbs.db": "hidden",
        ".git/": "hidden",
        "platelet/truncated.jpg": "unreadable",
        "platelet/empty.png": "unreadable",
        "platelet/text.jpg": "unreadable",
        "platelet/broken-link.jpg": "unreadable",
        "platelet/pipe.jpg": "unreadable",
        "platelet/notes.txt": "not_an_image",
        "platelet/huge.bmp": "too_large",
        "smudge cells/one.png": "unknown_class",
        "smudge cells/two.png": "unknown_class",
        "overview.png": "outside_class_folder",
        "readme.txt": "not_an_image",
        "lymphocyte/b.png": "exact_duplicate",
        "monocyte/c.png": "label_conflict",
        "erythroblast/d.png": "label_conflict",
    }
    assert (report.taken, report.already_there, report.quarantined) == (6, 0, 17)
    assert (settings.data / "neutrophil/BNE_1.jpg").read_bytes() == JPEG


def test_the_table_adds_up(tmp_path: Path, take) -> None:
    source = write(
        tmp_path / "d", {"ig/a.png": picture(1), "ig/b.png": picture(1), "ig/c.txt": b"x", "top.png": picture(2)}
    )
    report = take(source)
    rows = {row[0]: row[1:] for row in report.rows()}
    assert report.headings == (
        "",
        "taken",
        "already there",
        "not an image",
        "outside class folder",
        "exact duplicate",
        "now in data/",
    )
    assert rows["ig"] == ("1", "0", "1", "0", "1", "1")
    assert rows["in no class folder"] == ("0", "0", "0", "1", "0", "0")
    assert rows["all"] == ("1", "0", "1", "1", "1", "1")
    assert all(len(row) == len(report.headings) for row in report.rows())


def test_data_is_read_only_and_no_import_writes_through_to_it(tmp_path: Path, settings: Settings, take) -> None:
    source = delivery(tmp_path / "d", 1)
    old = os.umask(0o077)
    try:
        take(source)
    finally:
        os.umask(old)
    for path in settings.data.rglob("*"):
        if path.is_file():
            assert stat.S_IMODE(path.stat().st_mode) == 0o444
    (source / "ig" / "IG_0.png").write_bytes(b"changed at the source")
    assert (settings.data / "ig" / "IG_0.png").read_bytes() == picture(3000)


def test_the_same_again_changes_no_byte(tmp_path: Path, settings: Settings, take) -> None:
    source = write(delivery(tmp_path / "d", 3), {"ig/copy.png": picture(3000), "junk": b"x"})
    first = take(source)
    before, moment = snapshot(settings.data), settings.data.stat().st_mtime_ns
    again = take(source)
    assert (again.taken, again.already_there, again.changed) == (0, 24, False)
    assert again.data_digest == first.data_digest
    assert snapshot(settings.data) == before
    assert settings.data.stat().st_mtime_ns == moment


def test_a_second_delivery_is_added_and_repeats_change_nothing(tmp_path: Path, settings: Settings, take) -> None:
    one, two = delivery(tmp_path / "one", 2), delivery(tmp_path / "two", 3, first=50)
    take(one)
    inode = (settings.data / "ig" / "IG_0.png").stat().st_ino
    report = take(two)
    assert (report.taken, len(images(settings))) == (24, 40)
    assert (settings.data / "ig" / "IG_0.png").stat().st_ino == inode  # linked, not copied
    before = snapshot(settings.data)
    take(one)
    assert snapshot(settings.data) == before
    assert [source.name for source in read_dataset(settings.data).sources] == ["one", "two"]
    assert [source.taken for source in read_dataset(settings.data).sources] == [16, 24]


def test_other_bytes_under_a_taken_name_get_a_name_of_their_own(tmp_path: Path, settings: Settings, take) -> None:
    take(write(tmp_path / "one", {"ig/CELL.png": picture(1)}))
    take(write(tmp_path / "two", {"ig/cell.png": picture(2), "ig/deeper/cell.png": picture(3)}))
    names = sorted(images(settings))
    assert len(names) == 3
    assert len({name.casefold() for name in names}) == 3
    assert {(settings.data / name).read_bytes() for name in names} == {picture(1), picture(2), picture(3)}


def test_a_held_image_under_another_label_is_refused_and_the_held_one_stays(
    tmp_path: Path, settings: Settings, take
) -> None:
    take(write(tmp_path / "one", {"ig/a.png": picture(1)}))
    report = take(write(tmp_path / "two", {"monocyte/b.png": picture(1), "monocyte/c.png": picture(2)}))
    assert images(settings) == {"ig/a.png", "monocyte/c.png"}
    (entry,) = report.intake.quarantined
    assert entry.reason is Reason.LABEL_CONFLICT
    assert "ig/a.png" in entry.detail


def test_a_conflict_is_remembered_when_one_of_the_two_comes_alone(tmp_path: Path, settings: Settings, take) -> None:
    take(write(tmp_path / "one", {"ig/a.png": picture(1), "monocyte/b.png": picture(1), "ig/c.png": picture(2)}))
    take(write(tmp_path / "two", {"ig/a.png": picture(1)}))
    assert images(settings) == {"ig/c.png"}
    assert take(write(tmp_path / "two", {}), replace=True).taken == 1  # starting from nothing forgets it


def test_strange_names_are_made_fit(tmp_path: Path, settings: Settings, take) -> None:
    source = write(
        tmp_path / "d", {"ig/a b,c(1).png": picture(1), "ig/zwei\nzeilen.png": picture(2), "ig/zellä.png": picture(3)}
    )
    (source / "ig" / os.fsdecode(b"\xff\xfe.png")).write_bytes(picture(4))
    take(source)
    names = images(settings)
    assert len(names) == 4
    assert {"ig/a b,c(1).png", "ig/zwei_zeilen.png", "ig/zellä.png"} < names
    assert take(source).changed is False


def test_links_and_loops_are_followed_once(tmp_path: Path, settings: Settings, take) -> None:
    store = delivery(tmp_path / "store", 1)
    source = tmp_path / "d"
    source.mkdir()
    (source / "linked").symlink_to(store)
    (store / "loop").symlink_to(source)
    (store / "ig" / "link.png").symlink_to(store / "ig" / "IG_0.png")
    report = take(source)
    assert report.taken == 8
    assert {entry.path: entry.reason for entry in report.intake.quarantined} == {
        "linked/ig/link.png": "exact_duplicate"
    }


@pytest.mark.parametrize("source", ["nowhere", "file.txt", "pbc.zip"])
def test_what_is_no_source_is_refused(tmp_path: Path, settings: Settings, take, source: str) -> None:
    (tmp_path / "file.txt").write_text("text")
    (tmp_path / "pbc.zip").write_bytes(b"PK\3\4 not really")
    with pytest.raises(SourceError, match=source):
        take(tmp_path / source)
    assert not settings.data.exists()


def test_data_is_no_source_of_itself(tmp_path: Path, settings: Settings, take) -> None:
    take(delivery(tmp_path / "d", 1))
    for source in (settings.root, settings.data, settings.data / "ig"):
        with pytest.raises(SourceError, match="inside one another"):
            take(source)


def test_taking_nothing_never_replaces_what_is_there(tmp_path: Path, settings: Settings, take) -> None:
    take(delivery(tmp_path / "d", 1))
    before = snapshot(settings.data)
    with pytest.raises(SourceError, match="1 outside_class_folder"):
        take(write(tmp_path / "web", {"a.png": picture(1)}), replace=True)
    assert snapshot(settings.data) == before


def test_strangers_in_data_are_not_swept_away(tmp_path: Path, settings: Settings, take) -> None:
    take(delivery(tmp_path / "d", 1))
    (settings.data / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"notes\.txt"):
        take(delivery(tmp_path / "e", 1, first=5))
    assert take(delivery(tmp_path / "e", 1, first=5), replace=True).taken == 8


def test_synthetic_and_real_images_are_never_mixed(
    tmp_path: Path, settings: Settings, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = params.model_copy(update={"synthetic": params.synthetic.model_copy(update={"per_class": 1})})
    drawn = import_images("synthetic", settings, few)
    assert (drawn.synthetic, drawn.taken) == (True, 8)
    assert read_dataset(settings.data).synthetic
    assert import_images("synthetic", settings, few).changed is False
    with pytest.raises(SourceError, match="has no image that could be taken"):
        import_images(str(write(tmp_path / "web", {"a.png": picture(1)})), settings, few)
    real = import_images(str(delivery(tmp_path / "d", 2)), settings, few)
    assert (real.synthetic, real.taken, len(images(settings))) == (False, 16, 16)
    before = snapshot(settings.data)
    with pytest.raises(SourceError, match="--replace"):
        import_images("synthetic", settings, few)
    assert snapshot(settings.data) == before
    assert import_images("synthetic", settings, few, replace=True).data_digest == drawn.data_digest


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_a_zip_some_levels_down_is_the_same_as_its_folder(tmp_path: Path, settings: Settings, take) -> None:
    archive = zipped(
        tmp_path / "d.zip",
        {
            "PBC/data/ig/IG_1.png": picture(1),
            "PBC/data/monocyte/MO_1.png": picture(2),
            "PBC\\data\\platelet\\P_1.png": picture(3),
            "__MACOSX/PBC/data/ig/._IG_1.png": b"x",
            "./PBC/readme.txt": b"x",
        },
    )
    take(archive)
    assert images(settings) == {"ig/IG_1.png", "monocyte/MO_1.png", "platelet/P_1.png"}
    assert quarantine(settings) == {"__MACOSX/": "hidden", "PBC/readme.txt": "not_an_image"}


@pytest.mark.parametrize("name", ["../ig/a.png", "ig/../../a.png", "/ig/a.png", "C:/ig/a.png", "..\\a.png"])
def test_a_zip_that_reaches_outside_is_refused(tmp_path: Path, settings: Settings, take, name: str) -> None:
    with pytest.raises(SourceError, match="outside of itself"):
        take(zipped(tmp_path / "d.zip", {"ig/fine.png": picture(1), name: picture(2)}))
    assert not settings.data.exists()


def test_a_bomb_is_refused(tmp_path: Path, take, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_BOMB_BYTES", 1 << 20)
    with zipfile.ZipFile(tmp_path / "d.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ig/a.bmp", bytes((1 << 20) + 1))
    with pytest.raises(SourceError, match="bomb"):
        take(tmp_path / "d.zip")


def test_an_encrypted_zip_says_so(tmp_path: Path, take) -> None:
    path = zipped(tmp_path / "d.zip", {"ig/a.png": picture(1)})
    content = bytearray(path.read_bytes())
    for magic, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(magic) + offset] |= 1
    path.write_bytes(content)
    with pytest.raises(SourceError, match="encrypted"):
        take(path)


def test_a_damaged_entry_is_quarantined_alone(tmp_path: Path, settings: Settings, take) -> None:
    path = zipped(tmp_path / "d.zip", {"ig/a.png": picture(1), "ig/b.png": picture(2)})
    content = bytearray(path.read_bytes())
    content[content.index(picture(1)) + 200] ^= 0xFF
    path.write_bytes(content)
    take(path)
    assert images(settings) == {"ig/b.png"}
    assert quarantine(settings) == {"ig/a.png": "unreadable"}


def test_a_zip_is_checked_against_its_checksum(tmp_path: Path, take) -> None:
    path = zipped(tmp_path / "d.zip", {"ig/a.png": picture(1)})
    with pytest.raises(SourceError, match="another file"):
        take(path, checksum="0" * 64)
    with pytest.raises(SourceError, match="64 hex digits"):
        take(path, checksum="123")
    with pytest.raises(SourceError, match="folder"):
        take(write(tmp_path / "d", {"ig/a.png": picture(1)}), checksum="0" * 64)


def test_without_an_exchange_two_renames_do_it(
    tmp_path: Path, settings: Settings, take, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "_exchange", lambda *_: False)
    take(delivery(tmp_path / "one", 1))
    take(delivery(tmp_path / "two", 1, first=9))
    assert len(images(settings)) == 16
    assert sorted(path.name for path in settings.root.iterdir()) == ["data", "params.yaml", "var"]


def test_an_import_killed_between_the_two_renames_is_repaired(tmp_path: Path, settings: Settings, take) -> None:
    take(delivery(tmp_path / "one", 1))
    before = snapshot(settings.data)
    settings.data.rename(settings.root / ".data-replaced")
    shutil.copytree(tmp_path / "one", settings.root / ".data-importing-1" / "tree")
    with pytest.raises(SourceError, match="nowhere"):
        take(tmp_path / "nowhere")
    assert snapshot(settings.data) == before
    assert sorted(path.name for path in settings.root.iterdir()) == ["data", "params.yaml", "var"]


def test_data_may_be_a_link_to_another_place(tmp_path: Path, settings: Settings, take) -> None:
    (tmp_path / "disk" / "images").mkdir(parents=True)
    settings.data.symlink_to(tmp_path / "disk" / "images")
    take(delivery(tmp_path / "one", 1))
    take(delivery(tmp_path / "two", 1, first=9))
    assert settings.data.is_symlink()
    assert len(images(settings)) == 16


def test_a_second_import_waits_and_then_says_why_it_gives_up(
    tmp_path: Path, settings: Settings, take, monkeypatch: pytest.MonkeyPatch
) -> None:
    from filelock import FileLock

    monkeypatch.setattr(importing, "LOCK_WAIT_S", 0.1)
    settings.state.mkdir()
    with FileLock(settings.state / "import.lock"), pytest.raises(SourceError, match="Another import is running"):
        take(delivery(tmp_path / "one", 1))


def test_the_first_fault_ends_the_work(tmp_path: Path) -> None:
    done = []

    def work(item: int) -> int:
        if item == 3:
            raise ValueError(item)
        done.append(item)
        time.sleep(0.001)
        return item

    with pytest.raises(ValueError, match="3"):
        in_threads(work, range(5000), "Working")
    assert len(done) < 1000
    assert in_threads(str, range(50), "Working") == [str(i) for i in range(50)]


def labelled(cell: str, payload: bytes) -> tuple[Source, Statement]:
    """A picture that anna has labelled, as a source of its own."""
    digest = hashlib.sha256(payload).hexdigest()
    file = SourceFile(f"{cell}/live-{digest[:16]}.png", len(payload), lambda: payload)
    said = Statement(digest, "request-1", "0", "3", "ig", "2026-01-02", "anna", cell, "2026-01-03")
    return Source(LABELLED, (file,)), said


def test_labelled_pictures_are_added_with_what_was_said_of_them(tmp_path: Path, settings, params) -> None:
    with pytest.raises(SourceError, match="no images that labelled ones could be added to"):
        import_labelled(labelled("ig", picture(1))[0], [], settings, params)
    before = import_images(str(delivery(tmp_path / "d", 2)), settings, params)
    assert not (settings.data / LABELS_FILE).exists()  # data without labels keeps the version that it had
    source, said = labelled("ig", picture(9001))
    report = import_labelled(source, [said, replace(said, sha256="0" * 64)], settings, params)
    assert (report.taken, report.holdings.labels) == (1, (said,))
    assert read_holdings(settings.data) == report.holdings
    again = import_labelled(source, [said], settings, params)
    assert (again.changed, again.data_digest) == (False, report.data_digest)
    conflicting, _ = labelled("platelet", picture(9001))
    assert [one.reason for one in import_labelled(conflicting, [], settings, params).intake.quarantined] == [
        Reason.LABEL_CONFLICT
    ]
    more = import_images(str(delivery(tmp_path / "more", 1, first=70)), settings, params)
    assert more.holdings.labels == (said,)
    assert {*before.holdings.images} < {*more.holdings.images}


def test_labelled_pictures_stay_with_a_synthetic_set_that_is_drawn_again(tmp_path: Path, settings, params) -> None:
    drawn = params.model_copy(update={"synthetic": params.synthetic.model_copy(update={"per_class": 2})})
    import_images("synthetic", settings, drawn)
    source, said = labelled("ig", picture(9001))
    assert import_labelled(source, [said], settings, drawn).holdings.info.synthetic
    anew = drawn.model_copy(update={"synthetic": drawn.synthetic.model_copy(update={"seed": 77})})
    again = import_images("synthetic", settings, anew).holdings
    assert (len(again.images), again.labels) == (17, (said,))
    real = import_images(str(delivery(tmp_path / "d", 2)), settings, params).holdings
    assert (real.info.synthetic, real.labels, len(real.images)) == (False, (), 16)
