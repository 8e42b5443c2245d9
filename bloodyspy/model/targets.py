"""What a network is taught to tell apart: the eight types, or the sub-types of those that have some.

Who reads a smear tells a band neutrophil from a metamyelocyte, not a neutrophil from an immature granulocyte. A network
that is taught what the reader saw learns the border between the two types where it runs; its answer for a type is the
sum of those for its sub-types.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bloodyspy.cells import CELL_TYPES, SUBTYPES_OF

Targets = Literal["types", "subtypes"]


def membership(targets: Targets) -> NDArray[np.float32]:
    """Which target belongs to which type: ones and zeros, (targets, 8), each row with a single one."""
    names = [_names(targets, position) for position in range(len(CELL_TYPES))]
    return np.repeat(np.eye(len(CELL_TYPES), dtype=np.float32), [len(one) for one in names], axis=0)


def targets_of(
    targets: Targets, labels: NDArray[np.int64], subtypes: Sequence[str | None] | NDArray[np.object_]
) -> NDArray[np.float32]:
    """What is taught with each picture.

    Args:
        targets: what the network tells apart.
        labels: (n,), 0 to 7.
        subtypes: names, n of them; None or another name where the source does not tell.

    Returns:
        (n, targets), rows sum to 1: a single one, or spread evenly over the sub-types of the type where the sub-type is
        not told.
    """
    names = np.array([name for position in range(len(CELL_TYPES)) for name in _names(targets, position)])
    of_type = membership(targets).T[labels]
    told = of_type * (names == np.array(subtypes, dtype=object)[:, None])
    chosen = np.where(told.any(axis=1, keepdims=True), told, of_type)
    return np.asarray(chosen / chosen.sum(axis=1, keepdims=True), np.float32)


def _names(targets: Targets, position: int) -> tuple[str, ...]:
    cell = CELL_TYPES[position]
    return SUBTYPES_OF.get(cell, (cell,)) if targets == "subtypes" else (cell,)
