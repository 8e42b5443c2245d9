"""What has changed in a window, how far, and what has probably happened: a verdict without its circumstances."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from monitoring.causes import SAID, Cause, Marks, Match, listed
from monitoring.comparison import CASE_MIX, FEATURES, JUDGED, OPTICS, SEEN, Comparison
from monitoring.thresholds import Thresholds
from monitoring.verdict import ColumnVerdict, Kind

_CUT = ("width", "height")
_BEFORE, _ELSEWHERE = "as before", "elsewhere"

KINDS: Mapping[str, Kind] = {
    **dict.fromkeys(OPTICS, Kind.OPTICS),
    **dict.fromkeys((*SEEN, FEATURES), Kind.NETWORK),
    CASE_MIX: Kind.CASE_MIX,
}
"""Of each judged distance."""


@dataclass(frozen=True, slots=True)
class Found:
    """How far a window is from a reference, and what has probably changed."""

    columns: tuple[ColumnVerdict, ...]
    """The furthest from normal first."""
    match: Match | None
    """The fault that the window is most like."""

    @property
    def cause(self) -> Cause | None:
        """None where nothing is over its threshold."""
        if moved := self.moved(Kind.OPTICS):
            return Cause.SIZE if self.match is None or set(moved) <= set(_CUT) else self.match.cause
        if self.moved(Kind.NETWORK):
            return Cause.CONTENT
        return Cause.CASE_MIX if self.moved(Kind.CASE_MIX) else None

    def moved(self, kind: Kind) -> list[str]:
        """Names of the distances of one kind that are over their thresholds."""
        return [column.name for column in self.columns if column.drifted and column.kind is kind]

    def reason(self, rows: int) -> str:
        """One sentence for a person."""
        cause = self.cause
        if cause is None:
            nearest = self.columns[0]
            return (
                f"Nothing in {rows} observations is over its threshold; nearest is {nearest.name} at "
                f"{nearest.ratio:.0%} of it."
            )
        mix = next(column for column in self.columns if column.name == CASE_MIX)
        shares = f"{mix.reference} in the reference, {str(mix.current).rsplit(' ', 1)[1]} now"
        if cause is Cause.CASE_MIX:
            return (
                f"Only the mix of predicted types changed ({shares}): other patients look like this, and so does a "
                "network that errs; within each type the pictures measure as before."
            )
        also = f"; the mix of predicted types changed too ({shares})" if mix.drifted else ""
        seen, moved = self.moved(Kind.NETWORK), self.moved(Kind.OPTICS)
        if cause is Cause.CONTENT:
            return (
                f"The network sees other cells than it was measured on ({listed(seen)}), though within each type the "
                f"pictures measure as before{also}."
            )
        like = "nearest is" if cause is Cause.OTHER else "most like"
        named = "" if self.match is None or set(moved) <= set(_CUT) else str(self.match.fault).replace("_", " ")
        fault = f", {like} {named}" if named not in ("", str(cause)) else ""
        otherwise = ", and the network sees them otherwise" if seen else ""
        return (
            f"{SAID[cause]}{fault}: within each predicted type {len(moved)} of {len(OPTICS)} measures of the pictures "
            f"moved ({listed(moved)}){otherwise}{also}."
        )


NOTHING = Found((), None)
"""Of a window that was not compared."""


def find(comparison: Comparison, known: Thresholds, marks: Marks, current: pd.DataFrame, rate: float) -> Found:
    """Hold a window against a reference that was made ready.

    Args:
        comparison: of the reference.
        known: its thresholds for windows of this size.
        marks: of known faults, in the reference's own measure.
        current: the window, with the columns of an observation.
        rate: share of windows without any change that may have a distance over its threshold.
    """
    thresholds, distances = known.of(comparison, current, rate), comparison.distances(current)
    expected: dict[str, float | str] = {**comparison.expected(current), FEATURES: _BEFORE}
    seen: dict[str, float | str] = {name: float(current[name].mean()) for name in (*OPTICS, *SEEN)}
    seen[FEATURES] = _ELSEWHERE if distances[FEATURES] > thresholds[FEATURES] else _BEFORE
    moved, before, now = comparison.moved_type(current)
    expected[CASE_MIX], seen[CASE_MIX] = f"{moved} {before:.0%}", f"{moved} {now:.0%}"
    columns = [
        ColumnVerdict(
            name=name,
            kind=KINDS[name],
            statistic=distances[name],
            threshold=thresholds[name],
            drifted=distances[name] > thresholds[name],
            reference=expected[name],
            current=seen[name],
        )
        for name in JUDGED
    ]
    ordered = tuple(sorted(columns, key=lambda column: column.ratio, reverse=True))
    return Found(ordered, marks.nearest(comparison, current))
