"""Preparing: the array of each manifest row, by the one road."""

from pathlib import Path

import numpy as np
import pytest
from pictures import delivery, picture

from bloodyspy.dataset.importing import import_images
from bloodyspy.dataset.manifest import build_manifest, read_manifest, write_manifest
from bloodyspy.dataset.preparation import load_prepared, prepare
from bloodyspy.errors import DataError, DataMissing, ParamsError
from bloodyspy.images.decode import decode
from bloodyspy.images.preprocess import centre, to_array
from bloodyspy.params import Params
from bloodyspy.settings import Settings


@pytest.fixture
def project(tmp_path: Path, settings: Settings, params: Params) -> Settings:
    import_images(str(delivery(tmp_path / "d", 3)), settings, params)
    write_manifest(build_manifest(settings.data, params.split), settings.manifest)
    return settings


@pytest.mark.parametrize("input_name", ["px64", "centre128"])
def test_each_row_is_the_prepared_image_of_the_manifests_row(
    project: Settings, params: Params, input_name: str
) -> None:
    images = load_prepared(prepare(project, params, input_name))
    spec = params.inputs[input_name]
    manifest = read_manifest(project.manifest)
    assert images.shape == (24, spec.field, spec.field, 3)
    assert images.dtype == np.uint8
    for row, path in enumerate(manifest["path"]):
        expected = to_array(decode((project.data / path).read_bytes()).pixels, spec)
        np.testing.assert_array_equal(centre(images[row], spec), expected)


def test_prepared_images_are_mapped_and_cannot_be_changed(project: Settings, params: Params) -> None:
    images = load_prepared(prepare(project, params, "px64"))
    assert isinstance(images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 0


def test_it_is_repeatable_and_leaves_one_file(project: Settings, params: Params) -> None:
    folder = prepare(project, params, "px64")
    first = (folder / "images.npy").read_bytes()
    assert (prepare(project, params, "px64") / "images.npy").read_bytes() == first
    assert [path.name for path in folder.iterdir()] == ["images.npy"]


def test_an_image_other_than_listed_stops_it_and_leaves_no_result(project: Settings, params: Params) -> None:
    victim = project.data / "ig" / "IG_1.png"
    victim.unlink()
    victim.write_bytes(picture(123_456))
    with pytest.raises(DataError, match=r"IG_1\.png is not the image that the manifest lists"):
        prepare(project, params, "px64")
    with pytest.raises(DataMissing, match="dvc repro prepare@px64"):
        load_prepared(project.prepared("px64"))
    victim.unlink()
    with pytest.raises(DataMissing, match="dvc checkout"):
        prepare(project, params, "px64")


def test_an_unknown_input_is_named(project: Settings, params: Params) -> None:
    with pytest.raises(ParamsError, match=r"'px7' .* px64, centre128"):
        prepare(project, params, "px7")


@pytest.mark.real
def test_images_of_another_laboratory(real_data: Path, settings: Settings, params: Params) -> None:
    import_images(str(real_data / "other-labs" / "bccd"), settings, params)
    write_manifest(build_manifest(settings.data, params.split), settings.manifest)
    manifest = read_manifest(settings.manifest)
    images = load_prepared(prepare(settings, params, "px64"))
    assert images.shape == (len(manifest), 64, 64, 3)
    assert images.reshape(len(images), -1).std(axis=1).min() > 5  # no image came out blank
