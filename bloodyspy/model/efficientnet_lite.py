"""EfficientNet-Lite: EfficientNet without squeeze-and-excite, with ReLU6, as published in tensorflow/tpu.

What a CPU is good at: no channel attention, no swish, so that every graph engine fuses it whole.
"""

import math
from pathlib import Path

from bloodyspy.errors import WeightsUnavailable
from bloodyspy.model import weights as weight_files
from bloodyspy.model.backend import keras

layers = keras.layers

VARIANTS: dict[str, tuple[float, float]] = {
    "efficientnet_lite0": (1.0, 1.0),
    "efficientnet_lite1": (1.0, 1.1),
    "efficientnet_lite2": (1.1, 1.2),
}
"""How much wider (channels) and deeper (repeats) each is than the first (``efficientnet_lite_builder.py`` there)."""

# Repeats, kernel, stride, expansion, filters of each stage (Tan & Le 2019, table 1).
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def build(variant: str, size: int, momentum: float) -> keras.Model:
    """A backbone with fresh weights: float32 (n, size, size, 3), scaled to about -1 to 1, to feature maps.

    The stem, the head and the repeats of the first and the last stage are the same in all variants.

    Args:
        variant: a name of :data:`VARIANTS`.
        size: side of the input, pixels.
        momentum: of the running averages in batch normalisation.
    """
    width, depth = VARIANTS[variant]
    pictures = keras.Input((size, size, 3))
    x = _convolution(pictures, layers.Conv2D(32, 3, 2, "same", use_bias=False, name="stem_conv"), momentum)
    block = 0
    for number, (repeats, kernel, stride, expansion, filters) in enumerate(_STAGES):
        inner = 0 < number < len(_STAGES) - 1
        for repeat in range(math.ceil(depth * repeats) if inner else repeats):
            step = stride if repeat == 0 else 1
            x = _inverted_bottleneck(x, f"block{block}", kernel, step, expansion, _rounded(filters * width), momentum)
            block += 1
    x = _convolution(x, layers.Conv2D(1280, 1, padding="same", use_bias=False, name="head_conv"), momentum)
    return keras.Model(pictures, x, name=variant)


def _rounded(filters: float) -> int:
    """To the nearest multiple of eight, never more than a tenth down."""
    rounded = max(8, int(filters + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * filters else rounded


def _convolution(
    x: keras.KerasTensor, convolution: keras.Layer, momentum: float, *, activated: bool = True
) -> keras.KerasTensor:
    name = convolution.name.removesuffix("_conv")
    x = layers.BatchNormalization(momentum=momentum, epsilon=1e-3, name=f"{name}_bn")(convolution(x))
    return layers.ReLU(6.0, name=f"{name}_relu")(x) if activated else x


def _inverted_bottleneck(
    x: keras.KerasTensor, name: str, kernel: int, stride: int, expansion: int, filters: int, momentum: float
) -> keras.KerasTensor:
    entered, width = x, x.shape[-1]
    if expansion != 1:
        expand = layers.Conv2D(width * expansion, 1, use_bias=False, name=f"{name}_expand_conv")
        x = _convolution(x, expand, momentum)
    depthwise = layers.DepthwiseConv2D(kernel, stride, "same", use_bias=False, name=f"{name}_depthwise_conv")
    x = _convolution(x, depthwise, momentum)
    project = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_project_conv")
    x = _convolution(x, project, momentum, activated=False)
    return layers.Add(name=f"{name}_add")([entered, x]) if stride == 1 and width == filters else x


def load_torch(backbone: keras.Model, file: Path) -> None:
    """Move every tensor of a PyTorch file into its layer; what is left over may only be the ImageNet head.

    PyTorch keeps kernels as (out, in, height, width), Keras as (height, width, in, out), depthwise ones as
    (height, width, out, 1).

    Raises:
        WeightsUnavailable: the file cannot be read, or holds another network.
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
        raise WeightsUnavailable(f"{file} holds the weights of another network than {backbone.name}: {exc}.") from exc
    left = [name for name in tensors if not name.startswith("_fc.") and not name.endswith("num_batches_tracked")]
    if left:
        raise WeightsUnavailable(f"{file} holds more than {backbone.name}: {', '.join(left[:3])} and so on.")


def _torch_name(layer: str) -> str:
    """``block3_expand_bn`` is ``_blocks.3._bn0`` there. Norms are numbered in the order of a block's convolutions."""
    place, *step, kind = layer.split("_")
    if place == "stem":
        return "_conv_stem" if kind == "conv" else "_bn0"
    if place == "head":
        return "_conv_head" if kind == "conv" else "_bn1"
    number = ("expand", "depthwise", "project").index(step[0])
    return f"_blocks.{place.removeprefix('block')}._" + (f"{step[0]}_conv" if kind == "conv" else f"bn{number}")
