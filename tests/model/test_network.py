"""Networks by name: shapes, scaling inside, pretrained weights, and that they can learn at all."""

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_sample_image
from tiny_project import pictures

from bloodyspy.errors import ParamsError, WeightsUnavailable
from bloodyspy.images.preprocess import InputSpec, to_array
from bloodyspy.model import weights as weight_files
from bloodyspy.model.backend import keras, tensorflow
from bloodyspy.model.network import build, taught
from bloodyspy.model.normalization import FusedBatchNormalization, fused
from bloodyspy.model.targets import membership
from bloodyspy.params import Candidate

# Keras 3.15 reads TensorFlow's variables through a call that NumPy 2.4 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

MOBILENET_FILE = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_96_no_top.h5"


def candidate(network: str, weights: str = "none") -> Candidate:
    return Candidate(
        network=network,
        weights=weights,
        input="px",
        epochs=1,
        patience=1,
        batch_size=16,
        learning_rate=1e-3,
        warm_up=0.0,
        weight_decay=0.0,
        label_smoothing=0.0,
        weight_averaging=0.0,
        augmentation="none",
        targets="types",
        seed=1,
    )


def noise(n: int, size: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("network", "weights", "size", "parameters"),
    [
        ("small_cnn", "none", 64, 469_792),
        ("efficientnet_lite0", "imagenet", 96, 3_381_256),
        ("VGG16", "none", 32, None),
    ],
)
def test_bytes_in_and_probabilities_out(network: str, weights: str, size: int, parameters: int | None) -> None:
    model = build(candidate(network, weights), InputSpec(size=size))
    assert model.input_shape == (None, size, size, 3)
    assert model.inputs[0].dtype == "uint8"
    probabilities = model.predict(noise(5, size), verbose=0)
    assert probabilities.shape == (5, 8)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    if parameters is not None:
        assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) == parameters


def test_a_network_that_is_taught_sub_types_sums_them_up(tmp_path: Path) -> None:
    finer = candidate("small_cnn").model_copy(update={"targets": "subtypes"})
    plain = build(finer, InputSpec(size=32))
    model = fused(plain)
    learner = taught(model)
    learner.compile("sgd", "categorical_crossentropy")
    for _ in range(3):  # what is summed up by is not learned
        learner.train_on_batch(noise(22, 32), np.tile(np.eye(11, dtype=np.float32), (2, 1)))
    plain.set_weights(model.get_weights())
    plain.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras", compile=False)
    finest, answers = learner.predict(noise(5, 32), verbose=0), loaded.predict(noise(5, 32), verbose=0)
    assert (finest.shape, answers.shape) == ((5, 11), (5, 8))
    np.testing.assert_allclose(answers, finest @ membership("subtypes"), atol=1e-6)
    assert taught(build(candidate("small_cnn"), InputSpec(size=32))).output_shape == (None, 8)


def test_a_saved_network_answers_alike_and_augments_nothing(tmp_path: Path) -> None:
    model = build(candidate("efficientnet_lite0", "imagenet"), InputSpec(size=64))
    model.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras", compile=False)
    expected = model.predict(noise(3, 64), verbose=0)
    np.testing.assert_allclose(loaded.predict(noise(3, 64), verbose=0), expected, atol=1e-6)
    names = {type(layer).__name__ for layer in loaded._flatten_layers()}
    assert not [name for name in names if name.startswith("Random")]


@pytest.mark.parametrize(
    ("variant", "flower"),  # a daisy; the largest takes the florets for a honeycomb
    [("efficientnet_lite0", 985), ("efficientnet_lite1", 985), ("efficientnet_lite2", 599)],
)
def test_imagenet_weights_see_what_is_in_a_photograph(variant: str, flower: int) -> None:
    model = build(candidate(variant, "imagenet"), InputSpec(size=224))
    photographs = np.stack(
        [to_array(load_sample_image(f"{name}.jpg"), InputSpec(size=224)) for name in ("china", "flower")]
    )
    features = model.get_layer(variant)((photographs.astype(np.float32) - 127) / 128).numpy()
    head = weight_files.read_torch(weight_files.lite_file(variant))
    logits = features.mean(axis=(1, 2)) @ head["_fc.weight"].T + head["_fc.bias"]
    assert logits.argmax(axis=1).tolist() == [698, flower]  # palace
    np.testing.assert_allclose(model.predict(photographs, verbose=0).sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("network", ["VGG16", "MobileNetV2", "DenseNet121"])  # the three ways in which Keras scales
def test_a_network_of_keras_gets_its_own_scaling_inside_the_graph(network: str, tmp_path: Path) -> None:
    modules = {"VGG16": "vgg16", "MobileNetV2": "mobilenet_v2", "DenseNet121": "densenet"}
    model = build(candidate(network), InputSpec(size=32))
    model.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras", compile=False)
    backbone = next(layer for layer in loaded.layers if isinstance(layer, keras.Model))
    values = getattr(keras.applications, modules[network]).preprocess_input(noise(2, 32).astype(np.float32))
    features = backbone(values, training=False).numpy().mean(axis=(1, 2))
    kernel, bias = loaded.get_layer("probabilities").get_weights()
    expected = np.exp(features @ kernel + bias)
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(loaded.predict(noise(2, 32), verbose=0), expected, rtol=1e-3, atol=1e-5)


def test_every_normalisation_is_fused_and_every_weight_keeps_its_place() -> None:
    keras.utils.set_random_seed(1)
    plain = build(candidate("efficientnet_lite0", "imagenet"), InputSpec(size=32))
    quick = fused(plain)
    kinds = [type(layer).__name__ for layer in quick._flatten_layers()]
    assert kinds.count("FusedBatchNormalization") == 49
    assert "BatchNormalization" not in kinds
    assert [w.path for w in plain.weights] == [w.path for w in quick.weights]


def test_a_fused_normalisation_computes_what_the_plain_one_does() -> None:
    maps = np.random.default_rng(0).normal(3, 2, (8, 6, 6, 5)).astype(np.float32)
    pull = np.random.default_rng(1).normal(0, 1, maps.shape).astype(np.float32)
    found = {}
    for kind in (keras.layers.BatchNormalization, FusedBatchNormalization):
        layer = kind(momentum=0.9, epsilon=1e-3)
        layer.build(maps.shape)
        layer.set_weights([np.linspace(0.5, 1.5, 5), np.linspace(-1, 1, 5), np.zeros(5), np.ones(5)])
        with tensorflow.GradientTape() as tape:
            entered = tensorflow.Variable(maps)
            loss = tensorflow.reduce_sum(layer(entered, training=True) * pull)
        gradients = tape.gradient(loss, [entered, layer.gamma.value, layer.beta.value])
        found[kind] = [float(loss), *(np.asarray(one) for one in gradients), *layer.get_weights()[2:]]
        found[kind].append(np.asarray(layer(maps, training=False)))
    *plain, variance, answer = found[keras.layers.BatchNormalization]
    *quick, unbiased, other = found[FusedBatchNormalization]
    for mine, theirs in zip(plain, quick, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-4)
    n = maps[..., 0].size
    np.testing.assert_allclose((unbiased - 0.9) * (n - 1) / n, variance - 0.9, rtol=1e-4)
    np.testing.assert_allclose(answer, other, rtol=1e-2, atol=5e-3)


def test_one_batch_is_learned_by_heart() -> None:
    keras.utils.set_random_seed(1)
    model = build(candidate("small_cnn"), InputSpec(size=32))
    model.compile(keras.optimizers.AdamW(2e-3), "sparse_categorical_crossentropy", jit_compile=False)
    batch, labels = noise(16, 32), np.arange(16) % 8  # nothing but memory can tell these apart
    losses = [float(model.train_on_batch(batch, labels)) for _ in range(60)]
    assert losses[0] > 1.5
    assert min(losses) < 0.1


def test_colours_are_told_apart_on_new_pictures() -> None:
    keras.utils.set_random_seed(1)
    model = build(candidate("small_cnn"), InputSpec(size=32))
    model.compile(keras.optimizers.AdamW(2e-3), "sparse_categorical_crossentropy", jit_compile=False)
    batch, labels = pictures(4, seed=1)
    for _ in range(40):
        model.train_on_batch(batch, labels)
    new, answers = pictures(4, seed=2)
    assert (model.predict(new, verbose=0).argmax(axis=1) == answers).mean() > 0.95


def test_an_unknown_network_is_answered_with_close_names() -> None:
    with pytest.raises(ParamsError, match=r"'Xeption'.*Xception"):
        build(candidate("Xeption"), InputSpec(size=96))
    with pytest.raises(ParamsError, match="efficientnet_lite0"):
        build(candidate("efficientnet-lite0"), InputSpec(size=96))


def test_a_network_that_needs_a_larger_input_says_so() -> None:
    with pytest.raises(ParamsError, match=r"Xception cannot take 64 x 64.*71"):
        build(candidate("Xception"), InputSpec(size=64))


def test_a_small_cnn_has_no_imagenet_weights() -> None:
    with pytest.raises(WeightsUnavailable, match="weights: none"):
        build(candidate("small_cnn", "imagenet"), InputSpec(size=64))


def test_a_file_of_another_network_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build(candidate("small_cnn"), InputSpec(size=32)).get_layer("small_cnn").save_weights(tmp_path / "small.weights.h5")
    with pytest.raises(WeightsUnavailable, match="mobilenetv2"):
        build(candidate("MobileNetV2", "small.weights.h5"), InputSpec(size=32), tmp_path)
    tensors = weight_files.read_torch(weight_files.lite_file("efficientnet_lite0"))
    monkeypatch.setattr(weight_files, "read_torch", lambda _: {**tensors, "_blocks.16._conv.weight": np.zeros(1)})
    with pytest.raises(WeightsUnavailable, match=r"holds more.*_blocks\.16"):
        build(candidate("efficientnet_lite0", "imagenet"), InputSpec(size=64))
    tensors.pop("_conv_head.weight")
    with pytest.raises(WeightsUnavailable, match="another network"):
        build(candidate("efficientnet_lite0", "imagenet"), InputSpec(size=64))


def test_a_weights_file_is_loaded_into_the_backbone(tmp_path: Path) -> None:
    trained = build(candidate("small_cnn"), InputSpec(size=32)).get_layer("small_cnn")
    trained.save_weights(tmp_path / "small.weights.h5")
    again = build(candidate("small_cnn", "small.weights.h5"), InputSpec(size=32), tmp_path).get_layer("small_cnn")
    for kept, loaded in zip(trained.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, loaded)


class Served:
    """MobileNetV2's ImageNet weights, or a file in their place, where Keras downloads them from."""

    def __init__(self, folder: Path, backbone: "keras.Model", monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.backbone, self._monkeypatch = folder, backbone, monkeypatch

    def origin(self, url: str) -> None:
        self._monkeypatch.setitem(keras.applications.MobileNetV2.__globals__, "BASE_WEIGHT_PATH", url)

    def assert_loaded(self, model: "keras.Model") -> None:
        loaded = next(layer for layer in model.layers if isinstance(layer, keras.Model))
        for expected, found in zip(self.backbone.get_weights(), loaded.get_weights(), strict=True):
            np.testing.assert_array_equal(expected, found)


@pytest.fixture
def keras_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "keras"
    home.mkdir()
    monkeypatch.setenv("KERAS_HOME", str(home))
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(home))  # read once, when Keras was imported
    return home


@pytest.fixture
def served(tmp_path: Path, keras_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    folder = tmp_path / "server"
    folder.mkdir()
    backbone = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(96, 96, 3))
    backbone.save(folder / MOBILENET_FILE)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        one = Served(folder, backbone, monkeypatch)
        one.origin(f"http://127.0.0.1:{server.server_port}/")
        yield one
        server.shutdown()


def test_weights_are_downloaded_once_and_then_found_in_the_cache(served: Served, keras_home: Path) -> None:
    served.assert_loaded(build(candidate("MobileNetV2", "imagenet"), InputSpec(size=96)))
    assert (keras_home / "models" / MOBILENET_FILE).is_file()
    served.origin("http://127.0.0.1:9/")
    served.assert_loaded(build(candidate("MobileNetV2", "imagenet"), InputSpec(size=96)))


def test_without_a_network_the_weights_folder_is_enough(served: Served) -> None:
    served.origin("http://127.0.0.1:9/")
    (served.folder / "xception_weights_tf_dim_ordering_tf_kernels_notop.h5").touch()
    served.assert_loaded(build(candidate("MobileNetV2", "imagenet"), InputSpec(size=96), served.folder))


@pytest.mark.parametrize("reason", ["offline", "not found"])
def test_weights_that_cannot_be_had_say_what_to_do(served: Served, reason: str) -> None:
    if reason == "offline":
        served.origin("http://127.0.0.1:9/")
    else:
        (served.folder / MOBILENET_FILE).unlink()
    with pytest.raises(WeightsUnavailable, match=rf"http://.*{MOBILENET_FILE}.*BLOODYSPY_WEIGHTS.*weights: none"):
        build(candidate("MobileNetV2", "imagenet"), InputSpec(size=96))


def test_a_download_cut_short_is_told_from_weights(served: Served, keras_home: Path) -> None:
    (keras_home / "models").mkdir()
    whole = (served.folder / MOBILENET_FILE).read_bytes()
    (keras_home / "models" / MOBILENET_FILE).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsUnavailable, match="Delete them from"):
        build(candidate("MobileNetV2", "imagenet"), InputSpec(size=96))
