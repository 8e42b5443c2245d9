"""Small networks of real families, trained for a moment on eight colours and saved."""

from pathlib import Path

from tiny_project import SIZE, pictures

from bloodyspy.model.backend import keras
from bloodyspy.model.network import build
from bloodyspy.params import Candidate, InputSpec

_FACTS = {
    "weights": "none",
    "input": "px",
    "epochs": 1,
    "patience": 1,
    "batch_size": 16,
    "learning_rate": 1e-3,
    "warm_up": 0.0,
    "weight_decay": 0.0,
    "label_smoothing": 0.0,
    "weight_averaging": 0.0,
    "augmentation": "none",
    "targets": "types",
}


def saved(network: str, place: Path, seed: int, steps: int = 3) -> Path:
    """A network trained for a few steps, so that its batch norms have averages worth exporting."""
    keras.utils.set_random_seed(seed)
    model = build(Candidate.model_validate({"network": network, "seed": seed, **_FACTS}), InputSpec(size=SIZE))
    model.compile(keras.optimizers.AdamW(1e-3), "sparse_categorical_crossentropy", jit_compile=False)
    batch, labels = pictures(2, seed)
    for _ in range(steps):
        model.train_on_batch(batch, labels)
    model.save(place)
    return place
