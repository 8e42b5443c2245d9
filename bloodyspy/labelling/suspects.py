"""Labels of data/ that the rest of data/ contradicts.

A network that was trained on a wrong label has learnt it by heart, so what it says of that image is no witness. Here
the witness is a logistic regression on the features of a network that never saw a label of ours, EfficientNet-Lite0
with its ImageNet weights, fitted without the image that it judges (:mod:`bloodyspy.labelling.doubts`). The features
are mean and deviation of the maps after each of its residual blocks: of 22 labels among 476 that were made wrong, 18
are among the first 22 suspects, where the maps before the head alone bring 9.
The sealed part is not looked at: whoever corrects it by a model measures that model by itself.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from bloodyspy.cells import CELL_TYPES, CellType
from bloodyspy.dataset.manifest import read_manifest
from bloodyspy.dataset.split import Part
from bloodyspy.errors import DataMissing
from bloodyspy.images.decode import decode
from bloodyspy.images.files import read
from bloodyspy.images.preprocess import InputSpec, to_array
from bloodyspy.labelling.doubts import doubtful, groups, out_of_sample
from bloodyspy.model import efficientnet_lite, weights
from bloodyspy.model.backend import keras
from bloodyspy.params import Params
from bloodyspy.settings import Settings

_NETWORK = "efficientnet_lite0"
_INPUT = InputSpec(size=128, resize=170)
_BATCH = 64


@dataclass(frozen=True, slots=True)
class Suspect:
    """An image whose label is doubtful."""

    path: str
    """Relative to data/."""
    label: CellType
    likely: CellType
    """What the rest of data/ says it is."""
    quality: float
    """Probability that the rest of data/ gives to its label, 0 to 1."""
    part: Part


def suspects(s: Settings, p: Params) -> list[Suspect]:
    """The doubtful labels of the training, validation and calibration part, the most doubtful first.

    Takes some ten milliseconds an image.

    Raises:
        DataMissing: there is no manifest, or an image is gone.
        LabellingError: a type has fewer images than there are folds.
    """
    manifest = read_manifest(s.manifest)
    rows = manifest[manifest["part"].isin([Part.TRAIN, Part.VALIDATION, Part.CALIBRATION])].reset_index(drop=True)
    labels = np.array([CellType(cell).position for cell in rows["cell_type"]])
    together = groups(list(rows["phash"]), p.split.near_duplicate_bits)
    probabilities = out_of_sample(_features(s, list(rows["path"])), labels, together)
    return [
        Suspect(
            path=str(rows["path"].iat[i]),
            label=CELL_TYPES[labels[i]],
            likely=CELL_TYPES[int(probabilities[i].argmax())],
            quality=float(quality),
            part=Part(str(rows["part"].iat[i])),
        )
        for i, quality in doubtful(labels, probabilities)
    ]


def _features(s: Settings, paths: list[str]) -> NDArray[np.float32]:
    """What an ImageNet network sees of each picture, (n, 2048)."""
    backbone = efficientnet_lite.build(_NETWORK, _INPUT.size, 0.9)
    efficientnet_lite.load_torch(backbone, weights.lite_file(_NETWORK))
    blocks = [layer.output for layer in backbone.layers if layer.name.endswith("_add")]
    network = keras.Model(backbone.input, blocks)
    found = []
    with ThreadPoolExecutor(min(16, len(os.sched_getaffinity(0))), thread_name_prefix="images") as pool:
        starts = range(0, len(paths), _BATCH)
        for start in track(starts, "Looking at data/", console=Console(stderr=True)):
            pictures = np.stack(list(pool.map(lambda path: _picture(s.data / path), paths[start : start + _BATCH])))
            maps = [np.asarray(one) for one in network((pictures.astype(np.float32) - 127) / 128, training=False)]
            found.append(np.concatenate([f(one, axis=(1, 2)) for one in maps for f in (np.mean, np.std)], axis=1))
    return np.concatenate(found)


def _picture(path: Path) -> NDArray[np.uint8]:
    try:
        return to_array(decode(read(path)).pixels, _INPUT)
    except FileNotFoundError as exc:
        raise DataMissing(path, "dvc checkout data.dvc") from exc
