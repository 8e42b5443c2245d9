"""What the gate is given of a version, from real artefacts on a project of coloured pictures."""

from pathlib import Path

import coloured
import numpy as np
import onnx
import pytest
from handmade import make_artefact, scores_of, write_golden
from onnx import helper, numpy_helper
from PIL import Image

from bloodyspy.cells import CELL_TYPES
from bloodyspy.dataset.manifest import digest, read_manifest, write_manifest
from bloodyspy.errors import PromotionError
from bloodyspy.model import artifact
from bloodyspy.model.artifact import CARD, seal
from bloodyspy.params import load_params
from bloodyspy.promotion.evidence import card_fault, contend, newest, world
from bloodyspy.settings import Settings


@pytest.fixture
def s(settings: Settings) -> Settings:
    coloured.lay_out(settings)
    return settings


def test_a_version_is_scored_on_every_sealed_image_in_every_position(s: Settings, tmp_path: Path) -> None:
    place = make_artefact(tmp_path / "model", manifest_digest=digest(s.manifest)).path
    found = contend(7, place, s, load_params(s.root / "params.yaml"))
    assert found.version == 7
    assert found.sealed.right.shape == (160, 8)
    assert np.bincount(found.sealed.labels).tolist() == [20] * 8
    # a mean colour does not change when a picture is turned
    assert (found.sealed.right == found.sealed.right[:, :1]).all()
    assert 0 <= found.sealed.calibration_error <= 1
    assert found.sealed.synthetic
    assert found.trained_on_drawn
    assert (found.milliseconds, found.megabytes) == (3.0, 0.5)
    assert (found.export.variant, found.export.differ, found.export.images) == ("onnxruntime float32", 0, 400)
    assert found.card_fault is None


def test_each_position_is_answered_by_itself(s: Settings, tmp_path: Path) -> None:
    """A model that looks at one corner, pictures whose colour is on the left: right in four positions or in none."""
    for path in s.data.rglob("*.png"):
        picture = np.asarray(Image.open(path)).copy()
        picture[:, picture.shape[1] // 2 :] = 0
        Image.fromarray(picture).save(path)
    drafted = make_artefact(tmp_path / "model", manifest_digest=digest(s.manifest))
    graph = drafted.path / artifact.GRAPH
    model = onnx.load(graph)
    bounds = {"starts": [0, 0], "ends": [8, 8], "axes": [1, 2]}
    for name, values in bounds.items():
        model.graph.initializer.append(numpy_helper.from_array(np.array(values, dtype=np.int64), name))
    model.graph.node.insert(1, helper.make_node("Slice", ["values", *bounds], ["corner"]))
    next(node for node in model.graph.node if node.op_type == "ReduceMean").input[0] = "corner"
    onnx.save(model, graph)
    write_golden(drafted.path, drafted.spec)
    seal(drafted.path)
    found = contend(7, drafted.path, s, load_params(s.root / "params.yaml"))
    right = found.sealed.right[found.sealed.labels != 0]  # to black this model answers with the first type
    assert set(right.sum(axis=1)) == {0, 4}
    lit = right[right.any(axis=1)]
    assert lit[0][0]
    assert (lit == lit[0]).all()


def test_stress_is_measured_anew_where_it_was_measured_on_other_pictures(s: Settings, tmp_path: Path) -> None:
    params = load_params(s.root / "params.yaml")
    stale = contend(1, make_artefact(tmp_path / "stale").path, s, params)
    assert stale.stressed.digest != "9" * 64  # the artefact's own
    scores = scores_of(0.9)
    known = scores.stress.model_copy(update={"digest": stale.stressed.digest})
    fresh = make_artefact(tmp_path / "fresh", scores=scores.model_copy(update={"stress": known}))
    assert contend(2, fresh.path, s, params).stressed.error == known.mean_balanced_error


def test_the_same_graph_is_recognised_whatever_lies_beside_it(s: Settings, tmp_path: Path) -> None:
    params = load_params(s.root / "params.yaml")
    first = make_artefact(tmp_path / "1")
    again = make_artefact(tmp_path / "2", run_id="1" * 32, share_right=0.7)
    warmer, other = make_artefact(tmp_path / "3", temperature=1.5), make_artefact(tmp_path / "4", seed=3)
    assert first.digest != again.digest
    known = [contend(i, one.path, s, params).network for i, one in enumerate((first, again, warmer, other))]
    assert known[0] == known[1]
    assert len(set(known)) == 3


def test_a_card_that_lacks_a_fact_or_tells_another_is_found(tmp_path: Path) -> None:
    place = make_artefact(tmp_path / "model").path
    assert card_fault(place) is None
    whole = (place / CARD).read_text()
    (place / CARD).write_text(whole.replace("90.", "99.", 1))
    assert card_fault(place) == "card.md does not tell what the artefact's files hold"
    (place / CARD).write_text(whole)
    (place / "training.json").write_text('{"fit": {"seed": 2}, "candidate": {"network": "colours"}}')
    fault = card_fault(place)
    assert fault is not None
    assert "training.json" in fault


def test_a_world_has_the_sizes_of_the_sealed_part_and_looks_at_none_of_it(s: Settings) -> None:
    coloured.candidate(s, "good")
    drawn_from = world(None, s)
    assert drawn_from.images == dict.fromkeys(CELL_TYPES, 20)
    measured = scores_of(0.9).validation
    for cell in CELL_TYPES:
        hits = round(measured.sensitivity[cell].value * 50)
        assert drawn_from.sensitivity[cell] == pytest.approx((hits + 1) / 52)
    assert world("small_cnn", s) == drawn_from


def test_a_model_of_another_list_of_images_is_not_newest(s: Settings) -> None:
    coloured.candidate(s, "good")
    assert newest("small_cnn", s).spec.candidate == "small_cnn"
    write_manifest(read_manifest(s.manifest).iloc[1:], s.manifest)
    with pytest.raises(PromotionError, match="made of another list of images"):
        newest("small_cnn", s)
