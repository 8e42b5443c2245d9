"""Why it said so: which part of a picture an answer rests on, from the feature maps that the graph gives anyway.

Behind its last feature maps a network only averages them over the picture and weighs the averages. So what each place
contributed is known exactly, without a backward pass: the derivative of the answer by the average, times the maps.
That is Grad-CAM (Selvaraju et al. 2017), which for such networks is the same as HiResCAM (Draelos & Carin 2020). The
padding of convolutions moves what a place sees, by up to half a place and always to the same side; so a picture is
asked in its eight positions, and the mean of the maps, laid back on one another, has no such side.
"""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from zipfile import BadZipFile

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bloodyspy.errors import ArtefactInvalid
from bloodyspy.images.cell_mask import cell_mask
from bloodyspy.images.positions import EIGHT, back, placed
from bloodyspy.model.calibration import tempered
from bloodyspy.model.familiarity import pooled
from bloodyspy.model.inference import Inferred

HEAD = "head.npz"

ERASED = 0.2
"""Share of the picture, its hottest part, that is erased to see whether the answer rests on it."""


@dataclass(frozen=True, slots=True)
class Head:
    """What a network does with its pooled features; ``head.npz`` of an artefact."""

    weights: NDArray[np.float32]
    """(channels, targets)."""
    bias: NDArray[np.float32]
    """(targets,)."""
    membership: NDArray[np.float32]
    """Which target belongs to which type: ones and zeros, (targets, 8)."""

    def probabilities(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Of maps (n, rows, columns, channels), before the temperature: what the graph itself answers, (n, 8)."""
        return np.asarray(_softmax(pooled(features) @ self.weights + self.bias) @ self.membership, np.float32)

    def heat(self, features: NDArray[np.float32], position: int) -> NDArray[np.float32]:
        """What each place of the maps adds to the logarithm of a type's probability; what speaks against it counts 0.

        Args:
            features: maps of one picture, (rows, columns, channels).
            position: of the type, 0 to 7.

        Returns:
            (rows, columns), 0 to 1; all 0 where no place speaks for the type.
        """
        finer = _softmax(pooled(features[None]) @ self.weights + self.bias)[0]
        own = finer * self.membership[:, position]
        slope = self.weights @ (own / max(float(own.sum()), 1e-12) - finer)  # of log p by the pooled features
        heat = np.maximum(features @ slope, 0)
        return np.asarray(heat / (heat.max() or 1), np.float32)

    def write(self, folder: Path) -> None:
        """Into an artefact that is being assembled."""
        np.savez(folder / HEAD, weights=self.weights, bias=self.bias, membership=self.membership)

    @classmethod
    def read(cls, folder: Path) -> "Head":
        """Of an artefact.

        Raises:
            ArtefactInvalid: ``head.npz`` is of another format.
        """
        try:
            with np.load(folder / HEAD, allow_pickle=False) as held:
                return cls(*(held[name] for name in ("weights", "bias", "membership")))
        except (ValueError, KeyError, BadZipFile, EOFError) as exc:
            raise ArtefactInvalid(folder, f"{HEAD} is of another format ({exc})") from exc


def spread(heat: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Heat on the places of a feature map, spread over the input's pixels: (side, side), 0 to 1."""
    return np.asarray(np.clip(cv2.resize(heat, (side, side), interpolation=cv2.INTER_CUBIC), 0, 1), np.float32)


def hottest(heat: NDArray[np.float32]) -> NDArray[np.bool_]:
    """The :data:`ERASED` share of the pixels with the most heat, (side, side); none where there is no heat."""
    count = round(heat.size * ERASED)
    chosen = np.zeros(heat.size, np.bool_)
    chosen[np.argsort(-heat, axis=None, kind="stable")[:count]] = True
    return np.asarray(chosen.reshape(heat.shape) & (heat > 0))


def erased(array: NDArray[np.uint8], part: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The input (side, side, 3) with a part (side, side) of it painted in the colour of its border."""
    border = np.concatenate([array[0], array[-1], array[:, 0], array[:, -1]])
    painted = array.copy()
    painted[part] = np.median(border, axis=0).astype(np.uint8)
    return painted


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


@dataclass(frozen=True, slots=True)
class Explanation:
    """A heat map, and two numbers that tell whether to believe it."""

    picture: bytes
    """PNG of the network's input with the heat over it."""
    inside: float
    """Share of the heat that lies on the cell (:func:`bloodyspy.images.cell_mask.cell_mask`), 0 to 1."""
    drop: float
    """Of the answer's probability when the hottest part is erased, -1 to 1: near 0, the answer does not rest on it."""


def explain(
    array: NDArray[np.uint8], head: Head, infer: Callable[[NDArray[np.uint8]], Inferred], temperature: float
) -> Explanation:
    """Why a network gives the answer that it gives to one input.

    Args:
        array: the input, (side, side, 3).
        head: of the network.
        infer: its graph.
        temperature: of its probabilities.
    """
    seen = infer(np.concatenate([placed(array[None], *position) for position in EIGHT]))
    answer = tempered(seen.probabilities[:1], temperature)[0]
    position = int(answer.argmax())
    maps = [head.heat(features, position)[None] for features in seen.features]
    mean = np.mean([back(one, *turned)[0] for one, turned in zip(maps, EIGHT, strict=True)], axis=0)
    heat = spread(np.asarray(mean / (mean.max() or 1), np.float32), array.shape[0])
    without = tempered(infer(erased(array, hottest(heat))[None]).probabilities, temperature)[0]
    total = float(heat.sum())
    return Explanation(
        picture=_over(array, heat),
        inside=float(heat[cell_mask(array)].sum()) / total if total else 0.0,
        drop=float(answer[position] - without[position]),
    )


def _over(array: NDArray[np.uint8], heat: NDArray[np.float32]) -> bytes:
    """The input in the colours of its heat, twice as large: where there is none the picture stays as it is."""
    side = 2 * array.shape[0]
    large = cv2.resize(array, (side, side), interpolation=cv2.INTER_LINEAR).astype(np.float32)
    strength = cv2.resize(heat, (side, side), interpolation=cv2.INTER_LINEAR)[..., None]
    coloured = cv2.applyColorMap((strength * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    mixed = large + 0.6 * strength * (coloured - large)
    stream = BytesIO()
    Image.fromarray(np.clip(np.rint(mixed), 0, 255).astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()
