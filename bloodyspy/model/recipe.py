"""How a network is optimised: the loss, AdamW with its schedule, the moving average of the weights."""

import contextlib
from collections.abc import Iterator

from bloodyspy.model.backend import keras
from bloodyspy.params import Candidate


def compile_for(model: keras.Model, candidate: Candidate, steps: int) -> None:
    """Make a network ready to be trained for ``steps`` batches an epoch.

    AdamW (Loshchilov & Hutter 2019): in each step weights shrink by the learning rate times the decay; biases and the
    scales of batch normalisation do not. The learning rate rises linearly and falls as a cosine to nothing.
    """
    total = steps * candidate.epochs
    warm_up = round(total * candidate.warm_up)
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0 if warm_up else candidate.learning_rate,
        max(1, total - warm_up),
        warmup_target=candidate.learning_rate if warm_up else None,
        warmup_steps=warm_up,
    )
    averaging = candidate.weight_averaging
    optimizer = keras.optimizers.AdamW(
        schedule, weight_decay=candidate.weight_decay, use_ema=averaging > 0, ema_momentum=averaging
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=candidate.label_smoothing)
    # XLA is slower on these networks, where it ever finishes compiling.
    model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=False)
    optimizer.build(model.trainable_variables)


@contextlib.contextmanager
def averaged(model: keras.Model) -> Iterator[None]:
    """The network has its averaged weights while the block runs, where the candidate averages them.

    The average is Polyak's, exponentially weighted; batch normalisation keeps its own running averages.
    """
    if not model.optimizer.use_ema:
        yield
        return
    last = [keras.ops.convert_to_numpy(variable) for variable in model.trainable_variables]
    model.optimizer.finalize_variable_values(model.trainable_variables)
    try:
        yield
    finally:
        for variable, value in zip(model.trainable_variables, last, strict=True):
            variable.assign(value)
