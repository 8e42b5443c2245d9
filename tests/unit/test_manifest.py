"""The manifest: what is listed of each image."""

import hashlib
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pictures import picture, write

from bloodyspy.dataset.importing import import_images
from bloodyspy.dataset.manifest import COLUMNS, build_manifest, digest, read_manifest, write_manifest
from bloodyspy.dataset.version import data_version, read_dataset
from bloodyspy.errors import DataError, DataMissing
from bloodyspy.images.decode import decode
from bloodyspy.images.statistics import STATISTICS, describe
from bloodyspy.params import Params
from bloodyspy.settings import Settings


@pytest.fixture
def data(tmp_path: Path, settings: Settings, params: Params) -> Path:
    source = write(
        tmp_path / "delivery",
        {
            "neutrophil/BNE_1.jpg": picture(1, "JPEG"),
            "neutrophil/SNE_2.png": picture(2, side=90),
            "basophil/cell.bmp": picture(3, "BMP"),
            "ig/PMY_4.tiff": picture(4, "TIFF"),
        },
    )
    import_images(str(source), settings, params)
    return settings.data


def test_each_image_is_listed_once_sorted_by_path(data: Path, params: Params) -> None:
    frame = build_manifest(data, params.split)
    assert tuple(frame.columns) == COLUMNS
    assert list(frame["path"]) == ["basophil/cell.bmp", "ig/PMY_4.tiff", "neutrophil/BNE_1.jpg", "neutrophil/SNE_2.png"]
    assert list(frame["cell_type"]) == ["basophil", "ig", "neutrophil", "neutrophil"]
    assert list(frame["subtype"].fillna("-")) == ["-", "promyelocyte", "band neutrophil", "segmented neutrophil"]
    assert list(frame["format"]) == ["BMP", "TIFF", "JPEG", "PNG"]
    assert list(frame["width"]) == [72, 72, 72, 90]
    assert set(frame["source"]) == {"delivery"}


def test_facts_are_those_of_the_bytes(data: Path, params: Params) -> None:
    frame = build_manifest(data, params.split)
    for row in frame.itertuples():
        payload = (data / row.path).read_bytes()
        assert row.sha256 == hashlib.sha256(payload).hexdigest()
        assert row.bytes == len(payload)
        statistics = describe(decode(payload).pixels)
        for name in STATISTICS:
            assert getattr(row, name) == pytest.approx(getattr(statistics, name), abs=1e-6)


def test_equal_data_give_equal_bytes(data: Path, params: Params, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_manifest(build_manifest(data, params.split), tmp_path / name / "manifest.parquet")
    one, two = (tmp_path / name / "manifest.parquet" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    assert digest(one) == hashlib.sha256(one.read_bytes()).hexdigest()


def test_it_reads_back_as_written(data: Path, params: Params, tmp_path: Path) -> None:
    frame, path = build_manifest(data, params.split), tmp_path / "manifest.parquet"
    write_manifest(frame, path)
    assert read_manifest(path).equals(frame)


def test_an_image_damaged_after_its_import_is_named(data: Path, params: Params) -> None:
    victim = data / "basophil/cell.bmp"
    victim.unlink()
    victim.write_bytes(picture(3, "BMP")[:500])
    with pytest.raises(DataError, match=r"cell\.bmp does not decode.*dvc checkout"):
        build_manifest(data, params.split)


def test_absent_things_say_what_writes_them(tmp_path: Path, params: Params) -> None:
    with pytest.raises(DataMissing, match="data import"):
        build_manifest(tmp_path / "data", params.split)
    with pytest.raises(DataMissing, match="data import"):
        read_dataset(tmp_path / "data")
    for absent in (read_manifest, digest):
        with pytest.raises(DataMissing, match="dvc repro validate"):
            absent(tmp_path / "manifest.parquet")
    with pytest.raises(DataMissing, match="dvc add data"):
        data_version(tmp_path)


def test_a_manifest_of_another_version_is_refused(data: Path, params: Params, tmp_path: Path) -> None:
    path = tmp_path / "manifest.parquet"
    frame = build_manifest(data, params.split)
    pq.write_table(pq.ParquetFile(_written(frame, path)).read().drop_columns(["part"]), path)
    with pytest.raises(DataError, match="other columns"):
        read_manifest(path)
    path.write_bytes(b"no parquet")
    with pytest.raises(DataError, match="no readable manifest"):
        read_manifest(path)


def test_the_data_version_is_what_dvc_wrote(tmp_path: Path) -> None:
    (tmp_path / "data.dvc").write_text("outs:\n- md5: 0123456789abcdef0123456789abcdef.dir\n  path: data\n")
    assert data_version(tmp_path) == "0123456789abcdef0123456789abcdef"
    (tmp_path / "data.dvc").write_text("outs: []\n")
    with pytest.raises(DataError, match="dvc add data"):
        data_version(tmp_path)


def _written(frame: object, path: Path) -> Path:
    write_manifest(frame, path)
    return path
