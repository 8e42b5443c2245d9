"""Accuracy of live answers (a stand-in, to be replaced)."""

import json
from dataclasses import dataclass
from datetime import datetime

from bloodyspy.evaluation.intervals import wilson
from bloodyspy.params import Params
from bloodyspy.settings import Settings


@dataclass(frozen=True, slots=True)
class LiveAccuracy:
    """Of the random audit share, with a 95 % interval."""

    answered: int
    audited: int
    settled: int
    right: int
    low: float
    high: float


def live_accuracy(s: Settings, p: Params, model_version: int, since: datetime | None = None) -> LiveAccuracy:
    """Of one version's answers."""
    del p, since
    place = s.state / "stand-in" / f"accuracy-{model_version}.json"
    if not place.is_file():
        return LiveAccuracy(0, 0, 0, 0, 0.0, 1.0)
    settled, right = json.loads(place.read_text())
    found = wilson(right, settled)
    return LiveAccuracy(settled * 20, settled, settled, right, found.low, found.high)
