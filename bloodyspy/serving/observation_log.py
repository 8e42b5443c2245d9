"""Appends one row for each classified picture, the rows of a request in one write.

The log is ``<observations>/<UTC day>/<process id>.jsonl``: one JSON object a line, with the keys
:data:`~bloodyspy.observation.COLUMNS` and :data:`~bloodyspy.observation.LIVE_COLUMNS`. A row that cannot be written is
counted and logged, and never costs an answer: docs/decisions/0039.
"""

import functools
import json
import logging
import os
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from prometheus_client import Counter

from bloodyspy.errors import ImageError
from bloodyspy.observation import Observation

logger = logging.getLogger(__name__)

_JSON = json.JSONEncoder(allow_nan=False)  # one for all rows: json.dumps would make one for each


class ObservationLog:
    """The observation log of this process. Safe to call from several threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._broken_line = False
        _lost()  # so that the metric says 0 before the first loss

    def append(
        self, outcomes: Sequence[Observation | ImageError], request_id: str, model_version: int, picture: int = 0
    ) -> None:
        """One row for each observation; what cannot be written is counted, logged and not raised.

        Args:
            outcomes: of pictures of one request that follow each other. A picture that was refused has no row.
            request_id: of the request.
            model_version: that answered.
            picture: the first one's place among the pictures of the request, from 0; the others follow it.
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
            }
            for place, outcome in enumerate(outcomes, picture)
            if isinstance(outcome, Observation)
        ]
        if not rows:
            return
        try:
            text = "".join(_JSON.encode(row) + "\n" for row in rows)
            with self._lock:
                self._write(text, self._folder / time.strftime("%Y-%m-%d"))
        except (OSError, ValueError) as exc:
            _lost().inc(len(rows))
            logger.error("%d observation(s) lost: %s", len(rows), exc)

    def _write(self, text: str, day: Path) -> None:
        """One write: rows of other processes and requests do not come in between, and a kill loses whole rows only.

        The file is opened each time (some 20 microseconds), so that a folder that was moved or deleted comes back.
        """
        path = day / f"{os.getpid()}.jsonl"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            handle = os.open(path, flags, 0o640)
        except FileNotFoundError:
            day.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, flags, 0o640)
        try:
            payload = (("\n" if self._broken_line else "") + text).encode()
            written = os.write(handle, payload)
            self._broken_line = written != len(payload)
            if self._broken_line:
                raise OSError(f"only {written} of {len(payload)} bytes fit into {path}")
        finally:
            os.close(handle)


@functools.cache
def _lost() -> Counter:
    return Counter("bloodyspy_observations_lost_total", "Rows that could not be appended to the observation log")
