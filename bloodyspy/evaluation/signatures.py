"""What each fault of the laboratory does to the image statistics: by it the drift check names a probable cause.

Pictures of the calibration part are measured as they are and under each corruption; what is told is the mean change of
each statistic. No network is asked, and nothing here depends on a label.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bloodyspy.dataset.parallel import in_threads
from bloodyspy.evaluation.stress import choose
from bloodyspy.images.corruption import Shift, shift
from bloodyspy.images.decode import decode
from bloodyspy.images.statistics import describe
from bloodyspy.model.familiarity import COMPARED, compared
from bloodyspy.model.signatures import Signature, Signatures
from bloodyspy.settings import Settings

_PER_TYPE = 4  # the change is of one and the same picture: a few tell it
_SEVERITIES = (2, 4)


def measure(s: Settings, rows: pd.DataFrame) -> Signatures:
    """Measure a few pictures of each type under each fault.

    Args:
        s: where the pictures are.
        rows: of the manifest, of a part that is not sealed.
    """
    return of_pictures([decode((s.data / path).read_bytes()).pixels for path in choose(rows, _PER_TYPE)["path"]])


def of_pictures(pictures: Sequence[NDArray[np.uint8]]) -> Signatures:
    """Measure pictures (height, width, 3), at least one, under each fault."""
    faults = [(kind, severity) for kind in Shift for severity in _SEVERITIES]

    def changes(pixels: NDArray[np.uint8]) -> list[NDArray[np.float64]]:
        before = compared(describe(pixels))
        return [compared(describe(shift(pixels, kind, severity))) - before for kind, severity in faults]

    measured = np.mean(in_threads(changes, pictures, "Learning the marks of faults"), axis=0).round(6)
    return Signatures(
        images=len(pictures),
        known=tuple(
            Signature(kind=kind, severity=severity, changes=dict(zip(COMPARED, change.tolist(), strict=True)))
            for (kind, severity), change in zip(faults, measured, strict=True)
        ),
    )
