"""Golden answers: an artefact that answers as it did is taken, one that answers otherwise is named and refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from handmade import make_artefact, write_graph
from pictures import tinted

from bloodyspy.cells import CELL_TYPES, CellType
from bloodyspy.errors import ArtefactInvalid, GoldenMismatch, ModelError, UnreadableImage
from bloodyspy.images.decode import decode
from bloodyspy.images.synthetic import HEIGHT, WIDTH, draw_each
from bloodyspy.model import artifact, golden
from bloodyspy.model.artifact import Artefact
from bloodyspy.model.classifier import Classifier
from bloodyspy.model.golden import TOLERANCE, GoldenAnswers
from bloodyspy.model.inference import Precision, Runtime


@pytest.fixture
def made(tmp_path: Path) -> Artefact:
    return make_artefact(tmp_path / "artefact", temperature=3.0)


def rewrite(made: Artefact, number: int, probabilities: list[float]) -> None:
    """Let the golden answer of one picture be another one."""
    content = json.loads((made.path / artifact.GOLDEN).read_text())
    content["answers"][number]["probabilities"] = probabilities
    (made.path / artifact.GOLDEN).write_text(json.dumps(content))


def answers(made: Artefact) -> list[list[float]]:
    kept = GoldenAnswers.model_validate_json((made.path / artifact.GOLDEN).read_bytes())
    return [list(answer.probabilities) for answer in kept.answers]


def in_precision(made: Artefact, precision: Precision) -> Classifier:
    """The same graph, said to compute in another precision: what is compared is the same, the tolerance is another."""
    runtime = Runtime.OPENVINO if precision is Precision.BFLOAT16 else Runtime.ONNXRUNTIME
    if precision is Precision.INT8:
        (made.path / artifact.GRAPH_INT8).write_bytes((made.path / artifact.GRAPH).read_bytes())
    return Classifier(replace(made, spec=made.spec.model_copy(update={"precision": precision, "runtime": runtime})))


def exchanged(answer: list[float], by: float) -> tuple[list[float], CellType, CellType]:
    """An answer with its two most probable types exchanged, the new first ahead ``by``; the old first, the new."""
    expected = list(answer)
    second, first = (int(i) for i in np.argsort(expected)[-2:])
    middle = (expected[first] + expected[second]) / 2
    expected[first], expected[second] = middle - by / 2, middle + by / 2
    return expected, CELL_TYPES[first], CELL_TYPES[second]


@pytest.mark.parametrize("runtime", Runtime)
def test_every_engine_answers_as_it_did(tmp_path: Path, runtime: Runtime) -> None:
    made = make_artefact(tmp_path / "artefact", runtime=runtime, temperature=2.0)
    golden.check(Classifier.load(made.path))


def test_the_file_holds_the_pictures_and_the_answers_of_the_whole_road(made: Artefact) -> None:
    classifier = Classifier.load(made.path)
    pictures = {cell: tinted(100 + cell.position) for cell in CELL_TYPES}
    written = golden.make(classifier, pictures).model_dump_json()
    kept = GoldenAnswers.model_validate_json(written)
    assert {answer.cell_type: answer.picture for answer in kept.answers} == pictures
    for answer in kept.answers:
        assert answer.probabilities == classifier.observe(answer.picture).probabilities
        assert decode(answer.picture).pixels.shape == (72, 72, 3)


def test_another_network_is_named_with_what_it_answers(made: Artefact) -> None:
    write_graph(made.path / artifact.GRAPH, 64, seed=1)
    classifier = Classifier(made)
    with pytest.raises(GoldenMismatch, match="dvc repro --force evaluate@NAME") as refused:
        golden.check(classifier)
    assert isinstance(refused.value, ModelError)
    assert refused.value.picture in CELL_TYPES
    number = list(CELL_TYPES).index(CellType(refused.value.picture))
    cell, probability = refused.value.expected.split()
    assert float(probability) == pytest.approx(answers(made)[number][CellType(cell).position], abs=1e-4)
    found = classifier.observe(tinted(number)).probabilities
    cell, probability = refused.value.found.split()
    assert float(probability) == pytest.approx(found[CellType(cell).position], abs=1e-4)
    for words in (str(made.path), refused.value.picture, refused.value.expected, refused.value.found):
        assert words in str(refused.value)


def test_a_network_that_fails_on_one_picture_only_is_found(made: Artefact) -> None:
    for number, cell in enumerate(CELL_TYPES):
        kept = answers(made)[number]
        rewrite(made, number, [*kept[1:], kept[0]])
        with pytest.raises(GoldenMismatch) as refused:
            golden.check(Classifier(made))
        assert refused.value.picture == cell
        rewrite(made, number, kept)
    golden.check(Classifier(made))


@pytest.mark.parametrize("precision", Precision)
@pytest.mark.parametrize("share", [0.9, -0.9, 1.1, -1.1])
def test_the_tolerance_is_that_of_the_precision(made: Artefact, precision: Precision, share: float) -> None:
    expected = answers(made)[3]
    least = int(np.argmin(expected)) if share > 0 else int(np.argmax(expected))
    expected[least] += share * TOLERANCE[precision]
    rewrite(made, 3, expected)
    classifier = in_precision(made, precision)
    if abs(share) < 1:
        golden.check(classifier)
        return
    with pytest.raises(GoldenMismatch, match=CELL_TYPES[least]):
        golden.check(classifier)


def test_types_as_good_as_equally_probable_may_change_places(tmp_path: Path) -> None:
    # so flat that every exchange is one within the tolerance of each probability
    made = make_artefact(tmp_path / "artefact", temperature=300.0)
    tolerance = TOLERANCE[Precision.INT8]
    answer = answers(made)[0]
    assert max(answer) - min(answer) < tolerance / 2
    rewrite(made, 0, exchanged(answer, 0.9 * tolerance)[0])
    golden.check(in_precision(made, Precision.INT8))
    expected, was, becomes = exchanged(answer, 1.1 * tolerance)
    rewrite(made, 0, expected)
    with pytest.raises(GoldenMismatch) as refused:
        golden.check(in_precision(made, Precision.INT8))
    assert refused.value.expected.startswith(becomes)
    assert refused.value.found.startswith(was)


def test_no_number_is_no_answer(made: Artefact) -> None:
    import onnx
    from onnx import numpy_helper

    model = onnx.load(made.path / artifact.GRAPH)
    broken = numpy_helper.from_array(np.full((3, 8), np.nan, dtype=np.float32), "weights")
    model.graph.initializer[0].CopyFrom(broken)
    onnx.save(model, made.path / artifact.GRAPH)
    with pytest.raises(GoldenMismatch, match="nan"):
        golden.check(Classifier(made))


@pytest.mark.parametrize("content", ["{}", '{"answers": []}', '{"answers": [{"cell_type": "basophil"}]}', "answers"])
def test_a_file_of_another_format_is_refused(made: Artefact, content: str) -> None:
    (made.path / artifact.GOLDEN).write_text(content)
    with pytest.raises(ArtefactInvalid, match=r"golden\.json is of another format"):
        golden.check(Classifier(made))


def test_only_readable_pictures_become_golden(made: Artefact) -> None:
    with pytest.raises(UnreadableImage):
        golden.make(Classifier(made), {CELL_TYPES[0]: b"no picture"})


def test_a_cell_of_each_type_is_drawn() -> None:
    drawn = draw_each(0)
    assert list(drawn) == list(CELL_TYPES)
    assert all(decode(picture).pixels.shape == (HEIGHT, WIDTH, 3) for picture in drawn.values())
    assert all(picture.startswith(b"\x89PNG") for picture in drawn.values())
    assert draw_each(0) == drawn
    assert not set(draw_each(1).values()) & set(drawn.values())
