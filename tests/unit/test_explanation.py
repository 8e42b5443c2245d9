"""Heat maps: what a place of the feature maps adds to an answer, and whether the answer rests on it."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from handmade import make_artefact
from PIL import Image

from bloodyspy.cells import CELL_TYPES, CellType
from bloodyspy.errors import ArtefactInvalid, UnreadableImage
from bloodyspy.images.cell_mask import cell_mask
from bloodyspy.images.decode import decode
from bloodyspy.images.preprocess import InputSpec, to_array
from bloodyspy.images.synthetic import draw_picture
from bloodyspy.model.classifier import Classifier
from bloodyspy.model.explanation import HEAD, Head, erased, explain, hottest, spread
from bloodyspy.model.inference import Inferred

RNG = np.random.default_rng(1)
OF_SUBTYPES = np.repeat(np.eye(8, dtype=np.float32), [1, 1, 1, 3, 1, 1, 2, 1], axis=0)
HEAD_OF_SUBTYPES = Head(
    RNG.normal(size=(6, 11)).astype(np.float32), RNG.normal(size=11).astype(np.float32), OF_SUBTYPES
)


@pytest.mark.parametrize("position", range(8))
def test_heat_is_the_slope_of_the_log_probability_times_the_maps(position: int) -> None:
    """By finite differences: more of a channel at one place moves log p as its slope says."""
    features = np.random.default_rng(2).normal(size=(3, 4, 6)).astype(np.float32)
    step = 1e-3

    def log_p(maps: np.ndarray) -> float:
        return float(np.log(HEAD_OF_SUBTYPES.probabilities(maps[None].astype(np.float32))[0, position]))

    slopes = np.zeros(6)
    for channel in range(6):
        up, down = features.copy(), features.copy()
        up[1, 2, channel] += step * 12
        down[1, 2, channel] -= step * 12
        slopes[channel] = (log_p(up) - log_p(down)) / (2 * step)
    expected = np.maximum(features @ slopes, 0)
    np.testing.assert_allclose(HEAD_OF_SUBTYPES.heat(features, position), expected / expected.max(), atol=0.02)


def test_where_nothing_speaks_for_a_type_there_is_no_heat() -> None:
    features = np.zeros((2, 2, 6), np.float32)
    assert HEAD_OF_SUBTYPES.heat(features, 0).max() == 0
    assert not hottest(spread(HEAD_OF_SUBTYPES.heat(features, 0), 32)).any()


def test_the_hottest_part_is_the_stated_share_and_is_painted_as_the_border() -> None:
    heat = spread(np.array([[1.0, 0.0], [0.0, 0.0]], np.float32), 40)
    part = hottest(heat)
    assert part.mean() == pytest.approx(0.2, abs=0.01)
    assert part[:5, :5].all()
    array = np.full((40, 40, 3), 200, np.uint8)
    array[10:30, 10:30] = 20
    painted = erased(array, part)
    assert (painted[part] == 200).all()
    assert (painted[~part] == array[~part]).all()


def test_a_network_that_looks_at_one_place_is_seen_to() -> None:
    """Its only feature is red in a corner: all heat lies there, and without it the answer is lost."""
    head = Head(np.array([[6.0, -6.0]], np.float32), np.array([-3.0, 3.0], np.float32), np.eye(2, 8, dtype=np.float32))

    def infer(batch: np.ndarray) -> Inferred:
        maps = np.zeros((len(batch), 4, 4, 1), np.float32)
        maps[:, 0, 0, 0] = (batch[:, :8, :8, 0].mean(axis=(1, 2)) > 100) * 16.0
        return Inferred(head.probabilities(maps), maps)

    array = np.zeros((32, 32, 3), np.uint8)
    for place in (slice(0, 6), slice(26, 32)):  # in each corner, so that it is there in every position
        array[:6, place, 0] = array[26:, place, 0] = 255
    found = explain(array, head, infer, temperature=1.0)
    assert found.drop > 0.9
    with Image.open(BytesIO(found.picture)) as picture:
        assert (picture.format, picture.size) == ("PNG", (64, 64))
        told = np.asarray(picture).astype(int)
    assert np.abs(told[28:36, 28:36]).sum() == 0  # where there is no heat the picture stays as it is


@pytest.mark.parametrize("cell", [cell for cell in CELL_TYPES if cell is not CellType.PLATELET])
def test_the_mask_holds_the_nucleus_and_not_the_rest(cell: CellType) -> None:
    for index in range(4):
        _, payload = draw_picture(cell, index=index, seed=5)
        array = to_array(decode(payload).pixels, InputSpec(size=128))
        mask = cell_mask(array)
        assert mask[64, 64]
        assert 0.03 < mask.mean() < 0.75, (cell, index)


def test_of_an_empty_field_nothing_can_be_told() -> None:
    assert cell_mask(np.full((64, 64, 3), 220, np.uint8)).all()


def test_the_one_loader_explains(tmp_path: Path) -> None:
    classifier = Classifier(make_artefact(tmp_path / "model"))
    _, payload = draw_picture(CellType.NEUTROPHIL, index=0, seed=0)
    found = classifier.explain(payload)
    assert 0 <= found.inside <= 1
    assert -1 <= found.drop <= 1
    with pytest.raises(UnreadableImage):
        classifier.explain(b"no picture")


def test_what_is_of_another_format_is_told(tmp_path: Path) -> None:
    (tmp_path / HEAD).write_bytes(b"no head")
    with pytest.raises(ArtefactInvalid, match=f"{HEAD} is of another format"):
        Head.read(tmp_path)
