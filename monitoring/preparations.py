"""The ways of making pictures that a model knows, each with a reference of its own.

A laboratory that changes its stain for good, and teaches the new one, has two kinds of normal pictures; held against a
mixture of both, a window of either has drifted. The imported held-out pictures are one preparation. Held-out pictures
of the random audit (docs/decisions/0049) tell of others: in the order in which they were answered, group by group, they
join the preparation that the drift check cannot tell them from, and where it can tell them from every one, they are a
new one. So a preparation is never finer than what the check sees, and its few pictures never stand in for others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bloodyspy.cells import CELL_TYPES
from bloodyspy.observation import ANSWERED
from monitoring.comparison import FEWEST, Comparison
from monitoring.drift import Rule
from monitoring.thresholds import Thresholds

LEAST = FEWEST * len(CELL_TYPES)
"""Pictures of a group at least: with fewer, few types could be compared."""


@dataclass(frozen=True, slots=True)
class _Nearest:
    place: int
    ratio: float
    """Of its furthest distance and that one's threshold: above 1 is drift."""


def known(reference: pd.DataFrame, rule: Rule, thresholds: Path | None = None) -> list[pd.DataFrame]:
    """The preparations in a model's reference, the imported pictures first.

    Args:
        reference: observations of held-out pictures, with COLUMNS, and ANSWERED where some were answered live.
        rule: by which a group of audited pictures is told from others; groups have its least number of rows, and
            :data:`LEAST`. Fewer audited pictures than that are in no preparation: too few to tell.
        thresholds: folder where thresholds are kept; without it they are made anew.

    Raises:
        MonitoringError: a part of the reference cannot be compared with.
    """
    if ANSWERED not in reference:
        return [reference]
    audited = reference[reference[ANSWERED].notna()].sort_values(ANSWERED)
    found = [imported(reference)]
    groups = len(audited) // max(LEAST, rule.minimum_rows)
    for rows in np.array_split(np.arange(len(audited)), groups) if groups else ():
        group = audited.iloc[rows].reset_index(drop=True)
        nearest = _nearest(found, group, rule, thresholds)
        if nearest.ratio > 1:
            found.append(group)
        else:
            found[nearest.place] = pd.concat([found[nearest.place], group], ignore_index=True)
    return found


def imported(reference: pd.DataFrame) -> pd.DataFrame:
    """The rows of a model's reference whose pictures were imported."""
    if ANSWERED not in reference:
        return reference
    return reference[reference[ANSWERED].isna()].reset_index(drop=True)


def nearest(
    preparations: Sequence[pd.DataFrame], window: pd.DataFrame, rule: Rule, thresholds: Path | None = None
) -> pd.DataFrame:
    """The preparation that a window is to be held against: the one whose check it comes closest to passing.

    A window like one of them is called drifted at most as often as if that one alone were known.
    """
    if len(preparations) == 1 or len(window) < rule.minimum_rows:
        return preparations[0]
    return preparations[_nearest(preparations, window, rule, thresholds).place]


def _nearest(
    preparations: Sequence[pd.DataFrame], window: pd.DataFrame, rule: Rule, thresholds: Path | None
) -> _Nearest:
    ratios = []
    for reference in preparations:
        comparison = Comparison(reference)
        limits = Thresholds.kept(comparison, reference, len(window), thresholds).of(comparison, window, rule.rate)
        ratios.append(max(distance / limits[name] for name, distance in comparison.distances(window).items()))
    place = int(np.argmin(ratios))
    return _Nearest(place, ratios[place])
