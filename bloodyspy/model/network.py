"""Networks by name: uint8 RGB (size, size, 3) in, eight probabilities out, every scaling of values inside the graph.

Each is a backbone (pictures to feature maps) and the same head: ``small_cnn``, ``efficientnet_lite0`` to ``2``, or a
network of ``keras.applications``.
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
from bloodyspy.model import efficientnet_lite
from bloodyspy.model import weights as weight_files
from bloodyspy.model.backend import keras
from bloodyspy.model.targets import membership
from bloodyspy.params import Candidate

layers = keras.layers

INPUT, OUTPUT = "pictures", "probabilities"
_OF_SUBTYPES = "probabilities_of_subtypes"

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
        case name if name in efficientnet_lite.VARIANTS:
            features = _efficientnet_lite(candidate, spec, file)(layers.Rescaling(1 / 128, -127 / 128)(values))
        case name:
            application, module = _application(name)
            backbone = _from_application(application, candidate, spec, file, weights_folder)
            features = backbone(module.preprocess_input(values))
    pooled = layers.GlobalAveragePooling2D(name="pool")(features)
    kept = layers.Dropout(_DROPOUT)(pooled)
    if candidate.targets == "types":
        probabilities = layers.Dense(len(CELL_TYPES), activation="softmax", name=OUTPUT)(kept)
    else:
        of_type = membership(candidate.targets)
        finer = layers.Dense(len(of_type), activation="softmax", name=_OF_SUBTYPES)(kept)
        total = layers.Dense(len(CELL_TYPES), use_bias=False, trainable=False, name=OUTPUT)
        probabilities = total(finer)
        total.set_weights([of_type])
    return keras.Model(pictures, probabilities, name=candidate.network.lower())


def taught(network: keras.Model) -> keras.Model:
    """The same network up to the answers that are compared with the targets: float32 (n, targets), rows sum to 1."""
    if not any(layer.name == _OF_SUBTYPES for layer in network.layers):
        return network
    return keras.Model(network.inputs, network.get_layer(_OF_SUBTYPES).output)


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


def _efficientnet_lite(candidate: Candidate, spec: InputSpec, file: Path | None) -> keras.Model:
    backbone = efficientnet_lite.build(candidate.network, spec.size, _BATCH_NORM_MOMENTUM)
    if candidate.weights == weight_files.IMAGENET:
        file = weight_files.lite_file(candidate.network)
    if file is not None and file.suffix == ".pth":
        efficientnet_lite.load_torch(backbone, file)
        return backbone
    return _with_weights(backbone, file)


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
    known = {known.lower(): known for known in ("small_cnn", *efficientnet_lite.VARIANTS, *found)}
    close = [known[word] for word in difflib.get_close_matches(name.lower(), known, n=4, cutoff=0.5)]
    raise ParamsError(
        f"There is no network {name!r}. "
        + (f"Close: {', '.join(close)}. " if close else "")
        + f"Known: small_cnn, {', '.join(efficientnet_lite.VARIANTS)} "
        "and the networks of keras.applications by class name, such as Xception."
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
