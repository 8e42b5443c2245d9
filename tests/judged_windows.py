"""Verdicts made up for tests of what tells them."""

from datetime import UTC, datetime, timedelta

from observed import RUN, START

from bloodyspy.images.statistics import STATISTICS
from monitoring.accuracy import Accuracy
from monitoring.causes import Cause
from monitoring.verdict import ColumnVerdict, Kind, Overall, Verdict

MOVED = {
    Cause.STAIN: ("blue_yellow", "saturation", "green_red"),
    Cause.EXPOSURE: ("brightness", "background"),
    Cause.FOCUS: ("sharpness", "edges"),
    Cause.SIZE: ("width",),
    Cause.CAMERA: ("noise", "edges"),
    Cause.DIRT: ("darkest", "edges"),
    Cause.OTHER: ("red", "foreignness"),
    Cause.CONTENT: ("embedding", "novelty"),
    Cause.CASE_MIX: ("predicted",),
}


def column(name: str, ratio: float) -> ColumnVerdict:
    kind = Kind.OPTICS
    if name in ("embedding", "novelty", "confidence"):
        kind = Kind.NETWORK
    if name == "predicted":
        kind = Kind.CASE_MIX
    centre = ("platelet 20%", "lymphocyte 61%") if name == "predicted" else (131.2, 149.6)
    return ColumnVerdict(
        name=name,
        kind=kind,
        statistic=ratio * 0.21,
        threshold=0.21,
        drifted=ratio > 1,
        reference=centre[0],
        current=centre[1],
    )


def verdict(
    overall: Overall, cause: Cause | None = None, *, end: datetime = START, strength: float = 2.0, **changed: object
) -> Verdict:
    """A verdict whose columns fit its cause; ``strength`` is the ratio of the worst."""
    columns: tuple[ColumnVerdict, ...] = ()
    if overall is not Overall.INSUFFICIENT:
        moved = MOVED[cause] if cause else ()
        names = (*STATISTICS, "foreignness", "novelty", "confidence", "embedding", "predicted")
        ratios = {name: 0.15 + 0.03 * (place % 20) for place, name in enumerate(names)}
        ratios |= {name: max(1.05, strength - 0.3 * place) for place, name in enumerate(moved)}
        columns = tuple(sorted((column(*one) for one in ratios.items()), key=lambda c: c.ratio, reverse=True))
    facts: dict[str, object] = {
        "overall": overall,
        "cause": cause,
        "reason": f"Made up: {cause or overall}.",
        "rows": 200 if columns else 12,
        "start": end - timedelta(hours=1),
        "end": end,
        "columns": columns,
        "accuracy": Accuracy(value=0.93, low=0.9, high=0.96) if columns else None,
        "accuracy_withheld": "" if columns else "the window is too small",
        "reference_rows": 400,
        "false_alarm_rate": 0.01,
        "run_id": RUN,
        "data_version": "d" * 32,
        "model_version": 3,
        "site": "",
        "instrument": "",
        "synthetic": False,
        "checked": datetime.now(UTC),
    }
    return Verdict.model_validate(facts | changed)
