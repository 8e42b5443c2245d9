"""The exported graph is the network, in bytes and by name."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from networks import saved
from tiny_project import SIZE, pictures

from bloodyspy.errors import GraphRefused
from bloodyspy.model.backend import keras
from bloodyspy.model.export import answers, export
from bloodyspy.model.familiarity import pooled
from bloodyspy.model.inference import BATCH, InferenceGraph, Runtime

# Keras 3.15 reads TensorFlow's variables through a call that NumPy 2.4 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("exported")
    network = saved("small_cnn", folder / "network.keras", seed=1)
    export(network, folder / "graph.onnx")
    return network, folder / "graph.onnx"


def test_the_graph_takes_bytes_by_name_in_any_number(exported: tuple[Path, Path]) -> None:
    _, graph = exported
    session = onnxruntime.InferenceSession(graph)
    (pictures_in,), (probabilities_out, features_out) = session.get_inputs(), session.get_outputs()
    assert (pictures_in.name, pictures_in.type, pictures_in.shape[1:]) == ("pictures", "tensor(uint8)", [SIZE, SIZE, 3])
    assert (probabilities_out.name, probabilities_out.type) == ("probabilities", "tensor(float)")
    assert (features_out.name, features_out.type, len(features_out.shape)) == ("features", "tensor(float)", 4)
    assert [path.name for path in graph.parent.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("runtime", Runtime)
def test_the_feature_maps_are_those_that_the_head_sees(exported: tuple[Path, Path], runtime: Runtime) -> None:
    """Pooled and put through the head's own layers, they give the network's answers."""
    network, path = exported
    batch, _ = pictures(10, seed=3)
    model = keras.models.load_model(network, compile=False)
    answer = pooled(InferenceGraph(path, runtime=runtime).infer(batch).features)
    for layer in model.layers[[layer.name for layer in model.layers].index("pool") + 1 :]:
        answer = layer(answer)
    np.testing.assert_allclose(np.asarray(answer), answers(network, batch), atol=1e-4)


@pytest.mark.parametrize("runtime", Runtime)
def test_any_number_of_pictures_gets_the_networks_answers(exported: tuple[Path, Path], runtime: Runtime) -> None:
    network, path = exported
    batch, _ = pictures(10, seed=3)
    expected, graph = answers(network, batch), InferenceGraph(path, runtime=runtime)
    for n in (0, 1, 5, BATCH // 2 + 1, BATCH, BATCH + 3, len(batch)):
        found = graph(batch[:n])
        assert found.shape == (n, 8)
        np.testing.assert_allclose(found, expected[:n], atol=1e-5)


@pytest.mark.parametrize("network", ["efficientnet_lite0", "MobileNetV2"])
def test_other_families_export_alike(network: str, tmp_path: Path) -> None:
    place, batch = saved(network, tmp_path / "network.keras", seed=1), pictures(2, seed=3)[0]
    export(place, tmp_path / "graph.onnx")
    np.testing.assert_allclose(InferenceGraph(tmp_path / "graph.onnx")(batch), answers(place, batch), atol=1e-4)


@pytest.mark.parametrize("runtime", Runtime)
def test_an_engine_refuses_half_a_graph(exported: tuple[Path, Path], tmp_path: Path, runtime: Runtime) -> None:
    (tmp_path / "graph.onnx").write_bytes(exported[1].read_bytes()[:-1000])
    with pytest.raises(GraphRefused, match=f"{runtime} does not take"):
        InferenceGraph(tmp_path / "graph.onnx", runtime=runtime)
