"""Appends one row for each classified picture, through ``bentoml.monitor``.

The log is ``<observations>/<UTC day>/<process id>.jsonl``: one JSON object a line, with the keys
:data:`~bloodyspy.observation.COLUMNS` and :data:`~bloodyspy.observation.LIVE_COLUMNS`. BentoML's own file monitor hides
what it could not write and claims the name ``request_id`` for itself; this one counts and logs each loss.
"""

import contextvars
import functools
import json
import logging
import os
import threading
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bentoml
from bentoml.monitoring import MonitorBase
from prometheus_client import Counter

from bloodyspy.observation import COLUMNS, LIVE_COLUMNS, PROBABILITIES, Observation

logger = logging.getLogger(__name__)

_CATEGORICAL = {"predicted", "action", "reasons", "run_id", "data_version", *LIVE_COLUMNS}
_PREDICTION = {*PROBABILITIES, "predicted", "confidence", "novelty", "foreignness", "action", "reasons"}
_SCHEMA = {
    column: (
        "prediction" if column in _PREDICTION else "feature",
        "categorical" if column in _CATEGORICAL else "numerical",
    )
    for column in (*COLUMNS, *LIVE_COLUMNS)
}


class JsonLines(MonitorBase[Any]):
    """A BentoML monitor whose data are lines of JSON in a folder."""

    def __init__(self, name: str, folder: str, **_: Any) -> None:
        super().__init__(name)
        self._folder = Path(folder)
        self._broken_line = False

    def export_schema(self, columns_schema: dict[str, dict[str, str]]) -> None:
        """Nothing: :mod:`bloodyspy.observation` is the schema."""

    def export_data(self, datas: dict[str, deque[Any]]) -> None:
        """Append the rows; never raises, because a full disk must not cost an answer."""
        columns, lines = list(datas), zip(*datas.values(), strict=True)
        rows = [dict(zip(columns, values, strict=True)) for values in lines]
        try:
            self._append("".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))
        except (OSError, ValueError) as exc:
            _lost().inc(len(rows))
            logger.error("%d observation(s) lost: %s", len(rows), exc)

    def _append(self, text: str) -> None:
        """One write a request: the rows of several threads do not mix, and a kill loses whole rows only.

        The file is opened each time (some 20 microseconds), so that a folder that was moved or deleted comes back.
        """
        path = self._folder / datetime.now(UTC).strftime("%Y-%m-%d") / f"{os.getpid()}.jsonl"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            handle = os.open(path, flags, 0o640)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, flags, 0o640)
        try:
            payload = (("\n" if self._broken_line else "") + text).encode()
            written = os.write(handle, payload)
            self._broken_line = written != len(payload)
            if self._broken_line:
                raise OSError(f"only {written} of {len(payload)} bytes fit into {path}")
        finally:
            os.close(handle)


class ObservationLog:
    """The observation log of this process. Safe to call from several threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._lock = threading.Lock()
        _lost()  # so that the metric says 0 before the first loss

    def append(
        self, observations: Sequence[Observation], request_id: str, model_version: int, picture: int = 0
    ) -> None:
        """One row for each; what cannot be written is counted, logged and not raised.

        Args:
            observations: of one request.
            request_id: its id.
            model_version: that answered.
            picture: the first one's place among the pictures of the request, from 0; the others follow it.
        """
        if not observations:
            return
        time = datetime.now(UTC).isoformat(timespec="microseconds")
        rows: list[dict[str, str | int | float]] = [
            {
                **observation.row(),
                "time": time,
                "request_id": request_id,
                "picture": place,
                "model_version": model_version,
            }
            for place, observation in enumerate(observations, picture)
        ]
        # BentoML keeps an open record in a context variable and leaves it there when anything fails on the way:
        # in a context of its own, one failure cannot spoil the next record of this thread.
        with self._lock:
            contextvars.copy_context().run(self._record, rows)

    def _record(self, rows: list[dict[str, str | int | float]]) -> None:
        with bentoml.monitor(
            f"observations in {self._folder}",
            monitor_class=f"{__name__}.{JsonLines.__name__}",
            monitor_options={"folder": self._folder},
        ) as monitor:
            for row in rows:
                for column, (role, kind) in _SCHEMA.items():
                    monitor.log(row[column], column, role, kind)


@functools.cache
def _lost() -> Counter:
    return Counter("bloodyspy_observations_lost_total", "Rows that could not be appended to the observation log")
