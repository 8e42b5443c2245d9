"""Feeding the network: the prepared array that training uses beside Keras' folder loader, over the same pictures."""

import keras
import numpy as np

from benchmarks.side_by_side import measure, show
from bloodyspy.dataset.manifest import read_manifest
from bloodyspy.dataset.preparation import load_prepared
from bloodyspy.params import load_params
from bloodyspy.settings import load_settings

BATCH = 32


def main() -> None:
    settings = load_settings()
    params = load_params(settings.root / "params.yaml")
    name, input_params = next(iter(params.inputs.items()))
    images = load_prepared(settings.prepared(name))
    folder = keras.utils.image_dataset_from_directory(
        settings.data, image_size=(input_params.size, input_params.size), batch_size=BATCH, verbose=False
    )
    pictures = len(read_manifest(settings.manifest))

    def from_array() -> None:
        held = np.asarray(images)
        for chosen in np.array_split(np.random.default_rng(0).permutation(len(held)), len(held) // BATCH):
            held[chosen].sum()

    def from_folder() -> None:
        for batch, _ in folder:
            batch.numpy().sum()

    medians = measure({"prepared array": from_array, "folder loader": from_folder}, per=pictures, rounds=3)
    show(f"One epoch of batches of {BATCH}, {input_params.size} px, {pictures} pictures", medians, "prepared array")
