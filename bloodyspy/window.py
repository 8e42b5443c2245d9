"""The newest observations of a log.

The service appends one JSON object a line to ``<folder>/<YYYY-MM-DD>/<worker>.jsonl``, the UTC day of the row and one
file a worker process. Days are read newest first and files backwards, so a check costs what its window costs and not
what was logged since the beginning; memory is bounded by the window and one block of each of a day's files.
"""

import heapq
import json
import logging
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path

import pandas as pd

from bloodyspy.cells import CELL_TYPES
from bloodyspy.errors import MonitoringError
from bloodyspy.observation import COLUMNS, LIVE_COLUMNS
from bloodyspy.policy import Action

logger = logging.getLogger(__name__)

Value = str | int | float | datetime
Row = dict[str, Value]

# Columns that do not hold a floating-point number, in the reference and in the live log.
_WORDS = ("predicted", "action", "reasons", "run_id", "data_version", "request_id")
_NAMES = {"predicted": tuple(CELL_TYPES), "action": tuple(Action)}  # what alone such a column may say
_WHOLE = ("width", "height", "picture", "model_version")
_ALL = (*COLUMNS, *LIVE_COLUMNS)
_DTYPES = (
    dict.fromkeys(_ALL, "float64")
    | dict.fromkeys(_WORDS, "str")
    | dict.fromkeys(_WHOLE, "int64")
    | {"time": "datetime64[us, UTC]"}
)

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_BLOCK = 1 << 16
# An observation takes some 900 bytes; what a broken disk left without a line break is not gathered in memory.
_LONGEST_LINE = 1 << 20


@dataclass(slots=True)
class Unreadable:
    """Lines of the log that are no observation: counted, never hidden."""

    torn: int = 0
    """A file's last line, without its end: a worker is writing it, or was killed while it wrote."""
    corrupt: int = 0
    """Any other line that is not an observation."""


@dataclass(frozen=True, slots=True)
class Window:
    """The newest observations."""

    frame: pd.DataFrame
    """COLUMNS and LIVE_COLUMNS, sorted by time."""
    unreadable: Unreadable = field(default_factory=Unreadable)
    """What was met on the way to these rows."""


def read_window(folder: Path, size: int, run_id: str | None = None) -> pd.DataFrame:
    """The frame of :func:`gather`."""
    return gather(folder, size, run_id).frame


def gather(folder: Path, size: int, run_id: str | None = None) -> Window:
    """The newest observations of all workers.

    Args:
        folder: where the service logs: ``Settings.observations``, or ``Settings.shadow_observations``.
        size: rows wanted; fewer come where fewer were logged.
        run_id: only this model's rows, because another model's cannot be held against this one's reference.

    Raises:
        MonitoringError: the log cannot be read. No folder is no fault: nobody has asked the service anything yet.
    """
    unreadable = Unreadable()
    if not folder.is_dir():
        logger.warning(
            "There is no observation log in %s: the service has answered nobody yet, or logs elsewhere. Start it with "
            "`bentoml serve` and send it pictures, or set BLOODYSPY_OBSERVATIONS to its folder.",
            folder,
        )
        return Window(pd.DataFrame({name: [] for name in _ALL}).astype(_DTYPES), unreadable)
    try:
        newest = list(islice(_newest_first(folder, run_id, unreadable), size))
    except OSError as exc:
        raise MonitoringError(f"The observation log in {folder} cannot be read: {exc}.") from exc
    if unreadable.corrupt or unreadable.torn:
        logger.warning(
            "Left out of the window: %d corrupt and %d torn lines of the observation log in %s",
            *(unreadable.corrupt, unreadable.torn, folder),
        )
    # Threads of one worker write within milliseconds of one another and not always in order of time.
    newest.sort(key=_time)
    frame = pd.DataFrame({name: [row[name] for row in newest] for name in _ALL}).astype(_DTYPES)
    return Window(frame, unreadable)


def _newest_first(folder: Path, run_id: str | None, unreadable: Unreadable) -> Iterator[Row]:
    days = sorted((day for day in folder.iterdir() if day.is_dir() and _DAY.fullmatch(day.name)), reverse=True)
    for day in days:
        workers = (_rows_backwards(path, run_id, unreadable) for path in sorted(day.glob("*.jsonl")))
        yield from heapq.merge(*workers, key=_time, reverse=True)


def _rows_backwards(path: Path, run_id: str | None, unreadable: Unreadable) -> Iterator[Row]:
    wanted = b"" if run_id is None else json.dumps(run_id).encode()
    for line, whole in _lines_backwards(path):
        # Looking for the id in the bytes spares the parsing of another model's rows, of which there may be millions.
        if wanted not in line and line.startswith(b"{") and line.endswith(b"}"):
            continue
        row = _observation(line)
        if row is None and whole:
            unreadable.corrupt += 1
        elif row is None:
            unreadable.torn += 1
        elif run_id is None or row["run_id"] == run_id:
            yield row


def _lines_backwards(path: Path) -> Iterator[tuple[bytes, bool]]:
    """Lines from a file's end to its beginning, each with whether a line break ends it."""
    position = path.stat().st_size
    rest, whole = b"", False
    while position:
        step = min(_BLOCK, position)
        position -= step
        # Opened for each block: a day of a service that keeps restarting may have more files than a process may open.
        with path.open("rb") as stream:
            stream.seek(position)
            pieces = (stream.read(step) + rest).split(b"\n")
        rest = pieces[0][:_LONGEST_LINE]
        for piece in reversed(pieces[1:]):
            if piece.strip():
                yield piece.strip(), whole
            whole = True
    if rest.strip():
        yield rest.strip(), whole


def _observation(line: bytes) -> Row | None:
    """A line as a row; None where it is no observation."""
    try:
        # Rows of the first releases have no place within their request.
        content = {"picture": 0, **json.loads(line)}
        row: Row = {name: _value(name, content[name]) for name in _ALL}
    except (ValueError, KeyError, TypeError):
        return None
    return row


def _value(name: str, value: object) -> Value:
    """One cell of a row, or ValueError: a log is foreign input, and a single NaN would spoil a whole column."""
    if name == "time" and isinstance(value, str):
        time = datetime.fromisoformat(value)
        if time.tzinfo is not None:
            return time
    elif name in _WORDS and isinstance(value, str):
        if value in _NAMES.get(name, (value,)):
            return value
    elif name not in _WORDS and isinstance(value, int | float) and math.isfinite(value):
        return int(value) if name in _WHOLE else float(value)
    raise ValueError(f"{name} cannot be {value!r}")


def _time(row: Row) -> datetime:
    time = row["time"]
    assert isinstance(time, datetime)
    return time
