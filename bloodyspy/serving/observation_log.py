"""Appends one row for each classified picture, the rows of a request in one write.

The log is a :class:`~bloodyspy.daily_log.DailyLog` in the folder of observations, with the keys
:data:`~bloodyspy.observation.COLUMNS` and :data:`~bloodyspy.observation.LIVE_COLUMNS`. A row that cannot be written is
counted and logged, and never costs an answer: docs/decisions/0039.
"""

import functools
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from prometheus_client import Counter

from bloodyspy.daily_log import DailyLog
from bloodyspy.errors import ImageError
from bloodyspy.observation import NOWHERE, Observation, Origin

logger = logging.getLogger(__name__)


class ObservationLog:
    """The observation log of this process. Safe to call from several threads."""

    def __init__(self, folder: Path) -> None:
        self._log = DailyLog(folder)
        _lost()  # so that the metric says 0 before the first loss

    def append(
        self,
        outcomes: Sequence[Observation | ImageError],
        request_id: str,
        model_version: int,
        picture: int = 0,
        origin: Origin = NOWHERE,
    ) -> None:
        """One row for each observation; what cannot be written is counted, logged and not raised.

        Args:
            outcomes: of pictures of one request that follow each other. A picture that was refused has no row.
            request_id: of the request.
            model_version: that answered.
            picture: the first one's place among the pictures of the request, from 0; the others follow it.
            origin: of the pictures.
        """
        time = datetime.now(UTC)
        stamp = time.isoformat(timespec="microseconds")
        rows = [
            {
                **outcome.row(),
                "time": stamp,
                "request_id": request_id,
                "picture": place,
                "model_version": model_version,
                "site": origin.site,
                "instrument": origin.instrument,
                "specimen": origin.specimen,
            }
            for place, outcome in enumerate(outcomes, picture)
            if isinstance(outcome, Observation)
        ]
        if not rows:
            return
        try:
            self._log.append(rows, time)
        except (OSError, ValueError) as exc:
            _lost().inc(len(rows))
            logger.error("%d observation(s) lost: %s", len(rows), exc)


@functools.cache
def _lost() -> Counter:
    return Counter("bloodyspy_observations_lost_total", "Rows that could not be appended to the observation log")
