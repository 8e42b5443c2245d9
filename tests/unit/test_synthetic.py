"""Drawn pictures: the same everywhere, labelled, and neither trivial nor hopeless to tell apart."""

import ast
import hashlib
import io
import os
import subprocess
import sys
from dataclasses import astuple
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin

from bloodyspy.cells import CELL_TYPES, SUBTYPES, CellType, subtype_of
from bloodyspy.images import camera, corruption, fields, optics, painting, staining, synthetic, white_cells
from bloodyspy.images.decode import decode
from bloodyspy.images.preprocess import InputSpec, to_array
from bloodyspy.images.statistics import describe
from bloodyspy.images.synthetic import PREFIXES, Smear, draw_cell, draw_dataset, draw_picture

SEED = 20

# First digits of the SHA-256 of picture 3 of each type. Where they change, so does every synthetic data set: then the
# data.dvc of a fresh `bloodyspy data import synthetic` has to be committed too.
PINNED = {
    CellType.BASOPHIL: "7203ff46dac028c2",
    CellType.EOSINOPHIL: "2180281da5a6330e",
    CellType.ERYTHROBLAST: "fbb5de3936d0f0a2",
    CellType.IG: "3b3a96c658b5bbe9",
    CellType.LYMPHOCYTE: "6b9d25e54ee0b60d",
    CellType.MONOCYTE: "8d8d20ac967b1260",
    CellType.NEUTROPHIL: "91f1ba55b63d61b0",
    CellType.PLATELET: "79bf639e8ec77cda",
}


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def small_set() -> dict[CellType, list[NDArray[np.uint8]]]:
    """Twelve pictures of each type, decoded."""
    return {cell: [decode(draw_picture(cell, index, SEED)[1]).pixels for index in range(12)] for cell in CELL_TYPES}


@pytest.mark.parametrize("cell", CELL_TYPES)
def test_pictures_do_not_drift(cell: CellType) -> None:
    assert hashlib.sha256(draw_picture(cell, 3, SEED)[1]).hexdigest()[:16] == PINNED[cell]


def test_older_processors_draw_the_same_bytes() -> None:
    # numpy, the C library and libjpeg choose faster code where the processor has it; here they are told that it has not
    from numpy._core import _multiarray_umath

    drawing = (
        "import hashlib; from bloodyspy.cells import CELL_TYPES; from bloodyspy.images.synthetic import draw_picture;"
        "from numpy._core import _multiarray_umath as core;"
        "print(any(map(core.__cpu_features__.get, core.__cpu_dispatch__)));"
        f"print([hashlib.sha256(draw_picture(cell, 3, {SEED})[1]).hexdigest()[:16] for cell in CELL_TYPES])"
    )
    old = {
        "NPY_DISABLE_CPU_FEATURES": " ".join(_multiarray_umath.__cpu_dispatch__),
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-AVX,-FMA,-FMA4,-AVX512F,-SSE4_1",
        "JSIMD_FORCENONE": "1",
    }
    drawn = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", drawing],
        env=os.environ | old,
        capture_output=True,
        text=True,
        check=True,
    )
    faster_code_used, found = drawn.stdout.splitlines()
    assert faster_code_used == "False"
    assert found == str(list(PINNED.values()))


@pytest.mark.parametrize(
    "module", [fields, painting, white_cells, synthetic, corruption, staining, optics, camera], ids=lambda m: m.__name__
)
def test_only_exact_functions_of_numpy_are_used(module: ModuleType) -> None:
    exact = {
        *("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"),
        *("array", "asarray", "empty", "empty_like", "zeros"),
        *("arange", "pad", "sqrt", "abs", "minimum", "maximum", "clip", "where", "rint", "bincount", "searchsorted"),
    }
    tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
    names = (node for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    used = {name.attr for name in names if isinstance(name.value, ast.Name) and name.value.id == "np"}
    assert used <= exact


def test_a_picture_is_made_by_its_seed_type_and_index() -> None:
    cell = CellType.NEUTROPHIL
    assert draw_picture(cell, 5, SEED) == draw_picture(cell, 5, SEED)
    others = [draw_picture(cell, 5, SEED + 1), draw_picture(cell, 6, SEED), draw_picture(CellType.IG, 5, SEED)]
    assert len({payload for _, payload in [draw_picture(cell, 5, SEED), *others]}) == 4


def test_neither_the_number_of_pictures_nor_of_processes_matters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_dataset(tmp_path / "few", 2, SEED)
    draw_dataset(tmp_path / "more", 3, SEED)
    monkeypatch.setattr(synthetic, "_FEW", 0)
    monkeypatch.setattr(synthetic, "_CHUNK", 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    draw_dataset(tmp_path / "spawned", 2, SEED)
    few, more, spawned = (digests(tmp_path / name) for name in ("few", "more", "spawned"))
    assert len(few) == 16
    assert spawned == few
    assert few.items() < more.items()
    assert len(set(more.values())) == 24


def test_folders_and_names_are_those_of_pbc(tmp_path: Path) -> None:
    draw_dataset(tmp_path, 8, SEED)
    drawn = {cell: sorted(path.name for path in (tmp_path / cell).iterdir()) for cell in CELL_TYPES}
    assert all(len(names) == 8 for names in drawn.values())
    assert drawn[CellType.BASOPHIL][0] == "BA_000001.jpg"
    for cell, names in drawn.items():
        assert {name.split("_")[0] for name in names} == set(PREFIXES[cell])
    assert {subtype_of(name) for names in drawn.values() for name in names} == set(SUBTYPES.values())


def test_files_are_like_those_of_pbc() -> None:
    image = Image.open(io.BytesIO(draw_picture(CellType.MONOCYTE, 0, SEED)[1]))
    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (360, 363))
    assert JpegImagePlugin.get_sampling(image) == 0  # 4:4:4


def test_draw_cell_gives_pixels_and_heeds_the_subtype() -> None:
    smear = Smear.of(1)
    band, segmented = (draw_cell(CellType.NEUTROPHIL, 4, smear, prefix) for prefix in ("BNE", "SNE"))
    assert band.shape == segmented.shape == (363, 360, 3)
    assert band.dtype == np.uint8
    assert (band != segmented).any()
    assert (draw_cell(CellType.NEUTROPHIL, 4, smear) == draw_cell(CellType.NEUTROPHIL, 4, smear)).all()


def test_smears_differ_in_stain_and_light() -> None:
    backgrounds = np.array([Smear.of(seed).background for seed in range(30)])
    assert (backgrounds.std(axis=0) > 2).all()
    assert len({Smear.of(seed) for seed in range(30)}) == 30
    one, other = (describe(draw_cell(CellType.MONOCYTE, 7, Smear.of(seed))) for seed in (1, 2))
    assert (one.red, one.green, one.blue) != (other.red, other.green, other.blue)


def test_pictures_of_one_type_differ_visibly(small_set: dict[CellType, list[NDArray[np.uint8]]]) -> None:
    for pictures in small_set.values():
        small = np.array([to_array(picture, InputSpec(size=32)) for picture in pictures], dtype=np.int16)
        apart = [np.abs(a - b).mean() for i, a in enumerate(small) for b in small[:i]]
        assert min(apart) > 5  # grey levels, on average over the picture


def test_types_can_be_told_apart_but_not_by_colour_and_size_alone(
    small_set: dict[CellType, list[NDArray[np.uint8]]],
) -> None:
    # nearest centroid on the statistics of the middle: far better than chance (1/8), far from what a network must reach
    measured = np.array(
        [[astuple(describe(picture[80:283, 80:280]))[2:] for picture in pictures] for pictures in small_set.values()]
    )
    measured = (measured - measured.mean(axis=(0, 1))) / measured.std(axis=(0, 1))
    learnt, asked = measured[:, :6].mean(axis=1), measured[:, 6:]
    distance = ((asked[:, :, None, :] - learnt) ** 2).sum(axis=-1)
    accuracy = (distance.argmin(axis=-1) == np.arange(8)[:, None]).mean()
    assert 0.45 < accuracy < 0.95


def test_drawn_cells_look_like_real_ones(real_data: Path, small_set: dict[CellType, list[NDArray[np.uint8]]]) -> None:
    # the mean of a statistic over drawn pictures lies among the real pictures' values
    names = ("brightness", "contrast", "darkest", "lightest", "green_red", "blue_yellow", "nucleus_share", "background")
    for cell, pictures in small_set.items():
        files = sorted((real_data / "pbc" / cell).glob("[!.]*.jpg"))[::20]  # neighbours come from one smear
        real = [describe(decode(path.read_bytes()).pixels) for path in files]
        drawn = [describe(picture) for picture in pictures]
        for name in names:
            values = np.array([getattr(statistics, name) for statistics in real])
            mean = np.mean([getattr(statistics, name) for statistics in drawn])
            assert abs(mean - values.mean()) < 3 * max(values.std(), 4 if name != "nucleus_share" else 0.02), (
                cell,
                name,
            )
