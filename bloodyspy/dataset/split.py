"""Which part an image belongs to: by its content alone, so that nothing moves when images are added.

Pictures that came in by labels of live answers have their part from how they were chosen, whatever their content. Those
of the random audit are like all live ones and held out, for calibration; the others are for training, because people
chose most of them as a model doubted them, and nothing may be measured on what was chosen so (docs/decisions/0049).
"""

from collections.abc import Collection, Sequence
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from bloodyspy.params import Split


class Part(StrEnum):
    """A part of the data set."""

    TRAIN = "train"
    VALIDATION = "validation"
    CALIBRATION = "calibration"
    TEST = "test"
    WITHHELD = "withheld"  # used for nothing: too like an image of a part that ranks higher


# Where two near-duplicates fall into different parts, the image of the part named later gives way.
RANK = (Part.TEST, Part.CALIBRATION, Part.VALIDATION, Part.TRAIN)


def part_of(sha256: str, split: Split) -> Part:
    """The part that an image's SHA-256 alone decides.

    The first 64 bits are a position in [0, 1): the sealed test part is taken from the low end and the validation part
    next to it, the calibration part from the high end. So a change of ``split.validation`` or ``split.calibration``
    never moves an image into or out of the test part, nor into or out of the other one of them.

    Args:
        sha256: 64 hex digits.
        split: the shares, from params.yaml.
    """
    position = int(sha256[:16], 16) / 2**64
    if position < split.test:
        return Part.TEST
    if position < split.test + split.validation:
        return Part.VALIDATION
    if position >= 1 - split.calibration:
        return Part.CALIBRATION
    return Part.TRAIN


def assign(
    digests: Sequence[str],
    near: NDArray[np.int64],
    split: Split,
    *,
    labelled: Collection[int] = (),
    audited: Collection[int] = (),
) -> list[Part]:
    """Parts of all images, near-duplicates across parts withheld.

    An image is withheld when a near-duplicate's hash puts that one into a part of higher rank, withheld itself or not:
    so an image's fate hangs on its own neighbours only, and no chain of them moves anything far away.

    Args:
        digests: SHA-256 of each image, n of them.
        near: pairs of near-duplicates, indices of shape (k, 2).
        split: the shares.
        labelled: indices of images that came in by labels and are of the training part.
        audited: indices of those that the random audit drew, which are of the calibration part.
    """
    given = dict.fromkeys(labelled, Part.TRAIN) | dict.fromkeys(audited, Part.CALIBRATION)
    parts = [given.get(i) or part_of(digest, split) for i, digest in enumerate(digests)]
    rank = np.array([RANK.index(part) for part in parts], dtype=np.int64)
    first, second = near[:, 0], near[:, 1]
    for loser in (*second[rank[first] < rank[second]], *first[rank[second] < rank[first]]):
        parts[loser] = Part.WITHHELD
    return parts
