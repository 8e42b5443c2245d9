"""Cell types, params, settings."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bloodyspy.cells import CELL_TYPES, SUBTYPES, CellType, cell_type_of_folder, subtype_of
from bloodyspy.errors import ParamsError, SettingsError
from bloodyspy.params import load_params
from bloodyspy.settings import Settings, load_settings


def test_cell_types_are_in_alphabetical_order_and_eight() -> None:
    assert list(CELL_TYPES) == sorted(CELL_TYPES)
    assert len(CELL_TYPES) == 8


@pytest.mark.parametrize(
    ("folder", "cell"),
    [
        ("basophil", CellType.BASOPHIL),
        ("Neutrophils", CellType.NEUTROPHIL),
        ("immature_granulocytes", CellType.IG),
        ("IG", CellType.IG),
        ("Immature Granulocyte", CellType.IG),
        ("platelets", CellType.PLATELET),
        ("macrophage", None),
        ("", None),
    ],
)
def test_folder_names(folder: str, cell: CellType | None) -> None:
    assert cell_type_of_folder(folder) is cell


@pytest.mark.parametrize(
    ("name", "subtype"),
    [
        ("BNE_191112.jpg", "band neutrophil"),
        ("SNE_1.jpg", "segmented neutrophil"),
        ("PMY_22.jpg", "promyelocyte"),
        ("MY_22.jpg", "myelocyte"),
        ("cell_1.jpg", None),
        ("1.jpg", None),
    ],
)
def test_subtypes(name: str, subtype: str | None) -> None:
    assert subtype_of(name) == subtype


@given(st.text(max_size=30))
def test_any_name_is_answered(name: str) -> None:
    assert subtype_of(name) in {*SUBTYPES.values(), None}
    assert cell_type_of_folder(name) in {*CELL_TYPES, None}


def changed(tmp_path: Path, path: Path, keys: str, value: object) -> Path:
    content = yaml.safe_load(path.read_text())
    *parents, last = keys.split(".")
    place = content
    for key in parents:
        place = place[key]
    place[last] = value
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    return tmp_path / "params.yaml"


@pytest.mark.parametrize(
    ("keys", "value", "said"),
    [
        ("split.tset", 0.2, "split.tset"),
        ("split.test", 0.9, "split.test"),
        ("candidates.small_cnn.input", "px65", "px65"),
        ("candidates.small_cnn.epochs", 0, "candidates.small_cnn.epochs"),
        ("candidates", {}, "no candidate"),
        ("monitoring.minimum_rows", 5000, "minimum_rows"),
        ("promotion.metric", "luck", "promotion.metric"),
    ],
)
def test_wrong_params_are_refused_by_name(
    settings: Settings, tmp_path: Path, keys: str, value: object, said: str
) -> None:
    with pytest.raises(ParamsError, match=said):
        load_params(changed(tmp_path, settings.root / "params.yaml", keys, value))


def test_absent_and_broken_params(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="not there"):
        load_params(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("a: [")
    with pytest.raises(ParamsError, match="not YAML"):
        load_params(tmp_path / "params.yaml")


def test_places_are_absolute_and_a_wrong_one_is_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.state == settings.root / "var"
    assert settings.mlflow_uri == f"sqlite:///{settings.root}/var/mlflow.db"
    monkeypatch.setenv("BLOODYSPY_THREADS", "many")
    with pytest.raises(SettingsError, match="BLOODYSPY_THREADS"):
        load_settings()
