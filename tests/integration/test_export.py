"""The exported graph is the network, or it is refused."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from tiny_project import SIZE, pictures

from bloodyspy.errors import ExportMismatch
from bloodyspy.images.preprocess import InputSpec
from bloodyspy.model.backend import keras
from bloodyspy.model.export import export, verify
from bloodyspy.model.inference import InferenceGraph
from bloodyspy.model.network import build
from bloodyspy.params import Candidate

# Keras 3.15 reads TensorFlow's variables through a call that NumPy 2.4 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


def saved(network: str, place: Path, seed: int) -> Path:
    """A network trained for a few steps, so that its batch norms have averages worth exporting."""
    keras.utils.set_random_seed(seed)
    facts = {"input": "px", "epochs": 1, "batch_size": 16, "learning_rate": 1e-3, "weight_decay": 0.0, "seed": seed}
    model = build(Candidate.model_validate({"network": network, "weights": "none", **facts}), InputSpec(size=SIZE))
    model.compile(keras.optimizers.AdamW(1e-3), "sparse_categorical_crossentropy", jit_compile=False)
    batch, labels = pictures(2, seed)
    for _ in range(3):
        model.train_on_batch(batch, labels)
    model.save(place)
    return place


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("exported")
    network = saved("small_cnn", folder / "network.keras", seed=1)
    export(network, folder / "graph.onnx")
    return network, folder / "graph.onnx"


def test_the_graph_takes_bytes_by_name_in_any_number(exported: tuple[Path, Path]) -> None:
    network, graph = exported
    session = onnxruntime.InferenceSession(graph)
    (pictures_in,), (probabilities_out,) = session.get_inputs(), session.get_outputs()
    assert (pictures_in.name, pictures_in.type, pictures_in.shape[1:]) == ("pictures", "tensor(uint8)", [SIZE, SIZE, 3])
    assert (probabilities_out.name, probabilities_out.type) == ("probabilities", "tensor(float)")
    batch, _ = pictures(10, seed=3)
    assert verify(network, graph, batch) < 1e-5
    one_by_one = np.concatenate([InferenceGraph(graph)(picture[None]) for picture in batch[:5]])
    np.testing.assert_allclose(one_by_one, InferenceGraph(graph)(batch[:5]), atol=1e-6)
    assert [path.name for path in graph.parent.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("network", ["efficientnet_lite0", "MobileNetV2"])
def test_other_families_export_alike(network: str, tmp_path: Path) -> None:
    place = saved(network, tmp_path / "network.keras", seed=1)
    export(place, tmp_path / "graph.onnx")
    assert verify(place, tmp_path / "graph.onnx", pictures(2, seed=3)[0]) < 1e-4


def test_a_graph_of_other_weights_is_refused(exported: tuple[Path, Path], tmp_path: Path) -> None:
    other = saved("small_cnn", tmp_path / "network.keras", seed=2)
    with pytest.raises(ExportMismatch, match="differ by up to"):
        verify(other, exported[1], pictures(2, seed=3)[0])


def test_what_the_engine_does_not_take_is_refused(exported: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "graph.onnx").write_bytes(exported[1].read_bytes()[:-1000])
    with pytest.raises(ExportMismatch, match="not a graph that the engine takes"):
        verify(exported[0], tmp_path / "graph.onnx", pictures(1, seed=3)[0])


def test_nothing_is_verified_on_nothing(exported: tuple[Path, Path]) -> None:
    with pytest.raises(ExportMismatch, match="no pictures"):
        verify(*exported, pictures(1, seed=3)[0][:0])
