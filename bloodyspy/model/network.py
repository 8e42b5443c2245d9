"""Networks by name: uint8 RGB (size, size, 3) in, eight probabilities out, every scaling of values inside the graph.

Each is a backbone (pictures to feature maps) and the same head. ``small_cnn`` and ``efficientnet_lite0`` are built
here, any other name is a network of ``keras.applications``.
"""

import difflib
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from bloodyspy.cells import CELL_TYPES
from bloodyspy.errors import ParamsError, WeightsUnavailable
from bloodyspy.images.preprocess import InputSpec
from bloodyspy.model import weights as weight_files
from bloodyspy.model.backend import keras
from bloodyspy.params import Candidate

layers = keras.layers

INPUT, OUTPUT = "pictures", "probabilities"

# Short fits never fill the running averages that ImageNet training uses (0.99): a few dozen batches must do.
_BATCH_NORM_MOMENTUM = 0.9
_DROPOUT = 0.2


def build(candidate: Candidate, spec: InputSpec, weights_folder: Path | None = None) -> keras.Model:
    """A network, its backbone's weights loaded as the candidate says, its head fresh.

    Args:
        candidate: names the network and its weights: ``none``, ``imagenet`` or the path of a file for the backbone.
        spec: geometry of the input.
        weights_folder: BLOODYSPY_WEIGHTS: looked through before anything is downloaded.

    Returns:
        uint8 (n, size, size, 3) in, float32 (n, 8) out, rows sum to 1. No augmentation is inside.

    Raises:
        ParamsError: no such network, or one that needs a larger input; the message lists close names.
        WeightsUnavailable: the weights cannot be had here, or are of another network.
    """
    file = weight_files.locate(candidate.weights, weights_folder)
    pictures = keras.Input((spec.size, spec.size, 3), dtype="uint8", name=INPUT)
    values = keras.ops.cast(pictures, "float32")
    match candidate.network:
        case "small_cnn":
            features = _small_cnn(candidate, spec, file)(layers.Rescaling(1 / 127.5, -1.0)(values))
        case "efficientnet_lite0":
            features = _efficientnet_lite0(candidate, spec, file)(layers.Rescaling(1 / 128, -127 / 128)(values))
        case name:
            application, module = _application(name)
            backbone = _from_application(application, candidate, spec, file, weights_folder)
            features = backbone(module.preprocess_input(values))
    pooled = layers.GlobalAveragePooling2D(name="pool")(features)
    probabilities = layers.Dense(len(CELL_TYPES), activation="softmax", name=OUTPUT)(layers.Dropout(_DROPOUT)(pooled))
    return keras.Model(pictures, probabilities, name=candidate.network.lower())


def _small_cnn(candidate: Candidate, spec: InputSpec, file: Path | None) -> keras.Model:
    """Five convolutions, each halving the picture, 0.47 M weights: cheap enough to train from scratch on one core."""
    if candidate.weights == weight_files.IMAGENET:
        raise WeightsUnavailable("There are no ImageNet weights of small_cnn. Set `weights: none` in params.yaml.")
    pictures = keras.Input((spec.size, spec.size, 3))
    x = pictures
    for number, filters in enumerate((24, 48, 96, 160, 192), start=1):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"block{number}_conv")(x)
        x = layers.BatchNormalization(momentum=_BATCH_NORM_MOMENTUM, name=f"block{number}_bn")(x)
        x = layers.ReLU(name=f"block{number}_relu")(x)
        if number < 5:
            x = layers.MaxPooling2D(name=f"block{number}_pool")(x)
    return _with_weights(keras.Model(pictures, x, name="small_cnn"), file)


# Repeats, kernel, stride, expansion, filters of each stage (Tan & Le 2019, table 1). Lite0 scales none of them.
_LITE0_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def _efficientnet_lite0(candidate: Candidate, spec: InputSpec, file: Path | None) -> keras.Model:
    """EfficientNet without squeeze-and-excite, with ReLU6, as published in tensorflow/tpu, ``efficientnet_lite``."""
    pictures = keras.Input((spec.size, spec.size, 3))
    x = _convolution(pictures, layers.Conv2D(32, 3, 2, "same", use_bias=False, name="stem_conv"))
    block = 0
    for repeats, kernel, stride, expansion, filters in _LITE0_STAGES:
        for repeat in range(repeats):
            x = _inverted_bottleneck(x, f"block{block}", kernel, stride if repeat == 0 else 1, expansion, filters)
            block += 1
    x = _convolution(x, layers.Conv2D(1280, 1, padding="same", use_bias=False, name="head_conv"))
    backbone = keras.Model(pictures, x, name="efficientnet_lite0")
    if candidate.weights == weight_files.IMAGENET:
        file = weight_files.lite0_file()
    if file is not None and file.suffix == ".pth":
        _load_lite0(backbone, file)
        return backbone
    return _with_weights(backbone, file)


def _convolution(x: keras.KerasTensor, convolution: keras.Layer, *, activated: bool = True) -> keras.KerasTensor:
    name = convolution.name.removesuffix("_conv")
    x = layers.BatchNormalization(momentum=_BATCH_NORM_MOMENTUM, epsilon=1e-3, name=f"{name}_bn")(convolution(x))
    return layers.ReLU(6.0, name=f"{name}_relu")(x) if activated else x


def _inverted_bottleneck(
    x: keras.KerasTensor, name: str, kernel: int, stride: int, expansion: int, filters: int
) -> keras.KerasTensor:
    entered, width = x, x.shape[-1]
    if expansion != 1:
        x = _convolution(x, layers.Conv2D(width * expansion, 1, use_bias=False, name=f"{name}_expand_conv"))
    x = _convolution(x, layers.DepthwiseConv2D(kernel, stride, "same", use_bias=False, name=f"{name}_depthwise_conv"))
    x = _convolution(x, layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_project_conv"), activated=False)
    return layers.Add(name=f"{name}_add")([entered, x]) if stride == 1 and width == filters else x


def _load_lite0(backbone: keras.Model, file: Path) -> None:
    """Move every tensor of the PyTorch file into its layer; what is left over may only be the ImageNet head.

    PyTorch keeps kernels as (out, in, height, width), Keras as (height, width, in, out), depthwise ones as
    (height, width, out, 1).
    """
    tensors = weight_files.read_torch(file)
    try:
        for layer in backbone.layers:
            if isinstance(layer, layers.BatchNormalization):
                prefix = _torch_name(layer.name)
                parts = ("weight", "bias", "running_mean", "running_var")
                layer.set_weights([tensors.pop(f"{prefix}.{part}") for part in parts])
            elif isinstance(layer, layers.DepthwiseConv2D):
                layer.set_weights([tensors.pop(f"{_torch_name(layer.name)}.weight").transpose(2, 3, 0, 1)])
            elif isinstance(layer, layers.Conv2D):
                layer.set_weights([tensors.pop(f"{_torch_name(layer.name)}.weight").transpose(2, 3, 1, 0)])
    except (KeyError, ValueError) as exc:
        raise WeightsUnavailable(
            f"{file} holds the weights of another network than EfficientNet-Lite0: {exc}."
        ) from exc
    left = [name for name in tensors if not name.startswith("_fc.") and not name.endswith("num_batches_tracked")]
    if left:
        raise WeightsUnavailable(f"{file} holds more than EfficientNet-Lite0: {', '.join(left[:3])} and so on.")


def _torch_name(layer: str) -> str:
    """``block3_expand_bn`` is ``_blocks.3._bn0`` there. Norms are numbered in the order of a block's convolutions."""
    place, *step, kind = layer.split("_")
    if place == "stem":
        return "_conv_stem" if kind == "conv" else "_bn0"
    if place == "head":
        return "_conv_head" if kind == "conv" else "_bn1"
    number = ("expand", "depthwise", "project").index(step[0])
    return f"_blocks.{place.removeprefix('block')}._" + (f"{step[0]}_conv" if kind == "conv" else f"bn{number}")


def _application(name: str) -> tuple[Callable[..., keras.Model], ModuleType]:
    """Constructor of a network of keras.applications, and the module that holds its ``preprocess_input``."""
    found = {
        network: constructor
        for network, constructor in vars(keras.applications).items()
        if network[0].isupper() and callable(constructor)
    }
    if name in found:
        # ``keras.src.applications.resnet`` is public as ``keras.applications.resnet``
        module: ModuleType = getattr(keras.applications, found[name].__module__.rpartition(".")[2])
        return found[name], module
    known = {known.lower(): known for known in ("small_cnn", "efficientnet_lite0", *found)}
    close = [known[word] for word in difflib.get_close_matches(name.lower(), known, n=4, cutoff=0.5)]
    raise ParamsError(
        f"There is no network {name!r}. "
        + (f"Close: {', '.join(close)}. " if close else "")
        + "Known: small_cnn, efficientnet_lite0 and the networks of keras.applications by class name, such as Xception."
    )


def _from_application(
    application: Callable[..., keras.Model],
    candidate: Candidate,
    spec: InputSpec,
    file: Path | None,
    folder: Path | None,
) -> keras.Model:
    shape = (spec.size, spec.size, 3)
    try:
        backbone = application(include_top=False, weights=None, input_shape=shape)
    except ValueError as exc:
        raise ParamsError(f"{candidate.network} cannot take {spec.size} x {spec.size} pixels: {exc}") from exc
    if candidate.weights == weight_files.IMAGENET:
        backbone = _with_imagenet_weights(application, candidate.network, shape, folder)
    for layer in backbone.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = _BATCH_NORM_MOMENTUM
    return _with_weights(backbone, file)


def _with_imagenet_weights(
    application: Callable[..., keras.Model], network: str, shape: tuple[int, int, int], folder: Path | None
) -> keras.Model:
    """Keras' own road: its cache, then its download, with the digests it knows."""
    cache = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "models"
    if folder is not None:
        _offer(folder, cache, network)
    advice = (
        "into the folder that BLOODYSPY_WEIGHTS names, set `weights` of this candidate in params.yaml to the path of a "
        f"weights file, or train from scratch with `weights: {weight_files.NONE}`."
    )
    try:
        return application(include_top=False, weights="imagenet", input_shape=shape)
    except (ValueError, OSError) as exc:
        raise WeightsUnavailable(
            f"The ImageNet weights of {network} came broken: {exc}. Delete them from {cache} and try again, or "
            f"copy the file {advice}"
        ) from exc
    except Exception as exc:
        # Keras reports a failed download with a bare Exception that only its text tells apart.
        _, failed, rest = str(exc).partition("URL fetch failure on ")
        if not failed:
            raise
        url, _, reason = rest.partition(": ")
        raise WeightsUnavailable(
            f"The ImageNet weights of {network} cannot be downloaded here ({reason}). Copy {url} {advice}"
        ) from exc


def _offer(folder: Path, cache: Path, network: str) -> None:
    """Copy what BLOODYSPY_WEIGHTS holds for a network to where Keras looks before it downloads.

    A copy, because Keras overwrites or deletes a file of its cache whose digest is wrong.
    """
    for file in folder.glob("*.h5"):
        if _plain(network) in _plain(file.name) and not (cache / file.name).exists():
            cache.mkdir(parents=True, exist_ok=True)
            copying = cache / f".{file.name}.{os.getpid()}"
            shutil.copyfile(file, copying)
            copying.replace(cache / file.name)


def _plain(name: str) -> str:
    """``EfficientNetV2B0`` and ``efficientnetv2-b0_notop.h5`` begin alike in this spelling."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _with_weights(backbone: keras.Model, file: Path | None) -> keras.Model:
    if file is None:
        return backbone
    try:
        with warnings.catch_warnings():
            # Keras warns and leaves what a file does not hold as it was drawn: half a backbone is no backbone.
            warnings.simplefilter("error", UserWarning)
            backbone.load_weights(file)
    except (ValueError, OSError, UserWarning) as exc:
        raise WeightsUnavailable(
            f"{file} does not hold weights of the backbone {backbone.name}: {exc} "
            "A file is needed that `save_weights` of the same network without its top wrote."
        ) from exc
    return backbone
