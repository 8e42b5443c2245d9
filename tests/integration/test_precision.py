"""The parity gate: what serves is the network, or as good as it; everything else is refused and says why."""

import logging
from pathlib import Path

import numpy as np
import pytest
from handmade import write_graph
from networks import saved
from tiny_project import SIZE, pictures

from bloodyspy.errors import ExportMismatch
from bloodyspy.model import precision
from bloodyspy.model.artifact import GRAPH, GRAPH_INT8
from bloodyspy.model.export import export
from bloodyspy.model.inference import InferenceGraph, Precision, Runtime, computes_bfloat16
from bloodyspy.model.inference_report import InferenceReport
from bloodyspy.model.precision import choose

# Keras 3.15 reads TensorFlow's variables through a call that NumPy 2.4 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

VALIDATION, CALIBRATION = pictures(8, seed=3), pictures(6, seed=4)
MOST_DIFFER = 0.05
TYPICAL = pictures(8, seed=5)[0]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved("small_cnn", tmp_path_factory.mktemp("network") / "network.keras", seed=1, steps=30)


@pytest.fixture(scope="module")
def chosen(network: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, InferenceReport]:
    folder = tmp_path_factory.mktemp("chosen")
    return folder, choose(network, folder, TYPICAL, VALIDATION, CALIBRATION, MOST_DIFFER)


def test_every_runtime_and_precision_is_measured(chosen: tuple[Path, InferenceReport]) -> None:
    _, report = chosen
    kinds = [(variant.runtime, variant.precision) for variant in report.variants]
    assert kinds[:2] == [(Runtime.ONNXRUNTIME, Precision.FLOAT32), (Runtime.OPENVINO, Precision.FLOAT32)]
    missing = set() if computes_bfloat16() else {Precision.BFLOAT16}
    assert {computed_in for _, computed_in in kinds} == set(Precision) - missing
    for variant in report.variants[:2]:
        assert variant.accepted
        assert (variant.classes_differ, variant.max_difference < 1e-4) == (0, True)
    # A reduced precision that answered as float32 does would not be one.
    assert all(variant.max_difference > 1e-4 for variant in report.variants[2:])
    assert report.images_compared == len(VALIDATION[0])
    assert 30 < report.memory_mb < 500


def test_the_eight_bit_graph_is_kept_where_it_was_let_through(chosen: tuple[Path, InferenceReport]) -> None:
    folder, report = chosen
    eight_bits = [variant for variant in report.variants if variant.precision is Precision.INT8]
    assert [variant.accepted for variant in eight_bits] == [True, True]
    assert (folder / GRAPH_INT8).stat().st_size == pytest.approx(1e6 * eight_bits[0].megabytes)
    assert eight_bits[0].megabytes < 0.4 * report.variants[0].megabytes
    assert sorted(path.name for path in folder.iterdir()) == sorted((GRAPH, GRAPH_INT8))


def test_what_is_chosen_answers_as_the_report_says(chosen: tuple[Path, InferenceReport]) -> None:
    folder, report = chosen
    graph = InferenceGraph(folder / report.choice.file, 1, report.choice.runtime, report.choice.precision)
    images, labels = VALIDATION
    right = graph(images).argmax(axis=1) == labels
    assert np.mean([right[labels == label].mean() for label in range(8)]) == report.choice.balanced_accuracy


def test_an_export_that_succeeds_and_is_wrong_is_refused(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = saved("small_cnn", tmp_path / "other.keras", seed=2)
    monkeypatch.setattr(precision, "export", lambda _network, graph: export(other, graph))
    with pytest.raises(ExportMismatch, match="classes differ"):
        choose(network, tmp_path, TYPICAL, VALIDATION, CALIBRATION, MOST_DIFFER)


def test_eight_bits_calibrated_on_the_wrong_pictures_are_refused(
    network: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="bloodyspy"):
        report = choose(network, tmp_path, np.zeros_like(TYPICAL), VALIDATION, CALIBRATION, MOST_DIFFER)
    refused = [variant for variant in report.variants if variant.precision is Precision.INT8]
    assert refused
    assert not any(variant.accepted for variant in refused)
    assert report.choice.precision is not Precision.INT8
    assert not (tmp_path / GRAPH_INT8).exists()
    assert f"{report.choice.name} serves" in caplog.text


def test_a_graph_that_onnx_runtime_does_not_take_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = tmp_path / "network.keras"
    monkeypatch.setattr(precision, "export", lambda _network, graph: graph.write_bytes(b"no graph"))
    monkeypatch.setattr(precision, "answers", lambda _network, images: np.full((len(images), 8), 1 / 8, np.float32))
    with pytest.raises(ExportMismatch, match=f"{tmp_path / GRAPH} is not {network}.*onnxruntime does not take"):
        choose(network, tmp_path, TYPICAL, VALIDATION, CALIBRATION, MOST_DIFFER)


def test_without_eight_bits_the_others_serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise ValueError("this operator\ncannot be quantized")

    monkeypatch.setattr(precision, "export", lambda _network, graph: write_graph(graph, SIZE))
    monkeypatch.setattr(precision, "answers", lambda _network, images: InferenceGraph(tmp_path / GRAPH)(images))
    monkeypatch.setattr(precision, "quantize", failing)
    report = choose(tmp_path / "network.keras", tmp_path, TYPICAL, VALIDATION, CALIBRATION, MOST_DIFFER)
    assert Precision.INT8 not in {variant.precision for variant in report.variants}
    assert {variant.runtime for variant in report.variants} == set(Runtime)
    assert "int8 is left out: this operator cannot be quantized" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == [GRAPH]


def test_nothing_is_compared_with_nothing(network: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportMismatch, match="no pictures"):
        choose(network, tmp_path, TYPICAL, (VALIDATION[0][:0], VALIDATION[1][:0]), CALIBRATION, MOST_DIFFER)
