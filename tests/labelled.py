"""Answers that were given and what people said of them, as the service leaves them: logs, labels, kept images."""

from datetime import UTC, datetime
from uuid import uuid4

import numpy as np
from handmade import judged
from pictures import tinted

from bloodyspy.cells import CELL_TYPES
from bloodyspy.kept import Kept, store_of
from bloodyspy.labelling.labels import KeptLabel, Labels
from bloodyspy.observation import Provenance
from bloodyspy.serving.observation_log import ObservationLog
from bloodyspy.settings import Settings


def answer_and_label(
    s: Settings, count: int, *, version: int, right: int, run_id: str, keep: bool, first: int = 0
) -> None:
    """Answers of a version, each of which two people agree on; the last ``count - right`` of them are wrong."""
    log, labels, store = ObservationLog(s.observations), Labels(s.labels), store_of(s)
    given, kept = [], []
    for number in range(count):
        cell, request = CELL_TYPES[number % 8], uuid4().hex
        answer = np.full(8, 0.01)
        answer[cell.position] = 0.93
        log.append([judged(answer, Provenance(run_id, "d" * 32))], request, version)
        label = cell if number < right else CELL_TYPES[(number + 1) % 8]
        for reviewer in ("ben", "dora"):
            named = {"time": datetime.now(UTC), "request_id": request, "picture": 0}
            given.append(KeptLabel(**named, label=label, reviewer=reviewer, blind=True))
        kept.append(Kept(tinted(first + number), "", request, 0, "review"))
    labels.keep_all(given)
    if keep:
        store.keep(kept)
