"""Batch normalisation in one kernel while a network trains.

Keras computes the statistics of a batch and their gradients from a dozen element-wise operations, which take two fifths
of the time of an EfficientNet-Lite on a CPU. TensorFlow's fused kernel does the same arithmetic in two passes. The
network that is kept is the plain Keras one: it loads without this module.
"""

from typing import Any

from bloodyspy.model.backend import keras, tensorflow


class FusedBatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
    """Computes as its parent does, by ``FusedBatchNormV3`` while it trains.

    The one difference: the running variance is fed with the unbiased variance of a batch, n / (n - 1) times the other.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise (n, height, width, channels) over all but the channels."""
        if not training or not self.trainable or len(inputs.shape) != 4 or mask is not None:
            return super().call(inputs, training=training, mask=mask)
        normalised, mean, variance, *_ = tensorflow.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=self.gamma.value,
            offset=self.beta.value,
            mean=self.moving_mean.value,
            variance=self.moving_variance.value,
            epsilon=self.epsilon,
            is_training=True,
        )
        for running, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            running.assign(running * self.momentum + batch * (1 - self.momentum))
        return normalised


def fused(network: keras.Model) -> keras.Model:
    """The same network with the fused kernel in every batch normalisation, and weights of its own, equal at first.

    Both list their variables in the same order.
    """

    def replaced(layer: keras.Layer) -> keras.Layer:
        plain = (
            type(layer) is keras.layers.BatchNormalization and layer.scale and layer.center and layer.axis in (3, -1)
        )
        return (FusedBatchNormalization if plain else type(layer)).from_config(layer.get_config())

    copy = keras.models.clone_model(network, clone_function=replaced, recursive=True)
    copy.set_weights(network.get_weights())
    return copy
