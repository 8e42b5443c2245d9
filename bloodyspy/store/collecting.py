"""Takes what the workers' logs have gained since the last time into the store, each row exactly once.

A worker appends whole rows to ``<folder>/<UTC day>/<process id>.jsonl``. The record says for each log how many bytes
of it are in the store; rows and that number come to hold in one step. Where a log is not the file that the record
knows (it is shorter, was replaced, or came back from a copy), it is read from its beginning, and rows which the store
has of that log are left out.
"""

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from bloodyspy.errors import MonitoringError
from bloodyspy.store.parts import write_aside, write_part
from bloodyspy.store.place import Place
from bloodyspy.store.query import connected, urls
from bloodyspy.store.record import (
    Beaten,
    Mark,
    Record,
    commit,
    digest,
    failing,
    latest,
    sweep,
)
from bloodyspy.store.rows import KEPT, SCHEMA, Refused, parse

logger = logging.getLogger(__name__)

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_BLOCK = 4 << 20  # bytes of a log that are parsed at once
_BATCH = 64 << 20  # bytes of logs that come to hold at once: what memory is bounded by
_SMALL = 64 << 10  # bytes of a block that is parsed together with others
_MANY = 64  # of these at once: 4 MiB at most
_TAIL = 4 << 10  # bytes before a mark that tell whether it is still the same log
_SETTLED = timedelta(days=1)  # after a log's day; then nobody will end its last line any more
_TRIES = 5

_IDENTITY = ("time", "request_id", "picture", "model_version")
"""No two rows of one log have all of these in common."""


@dataclass(frozen=True, slots=True)
class Collected:
    """What one collection brought."""

    rows: int = 0
    """Observations that are in the store since."""
    corrupt: int = 0
    """Lines that are no observation, which were set aside."""
    torn: int = 0
    """Logs whose last line has no end yet: a worker is writing it, or was killed while it wrote."""
    known: int = 0
    """Rows of logs that were replaced or came back, which the store had already."""

    def after(self, before: "Collected") -> "Collected":
        """Both together."""
        known, rows, corrupt = before.known + self.known, before.rows + self.rows, before.corrupt + self.corrupt
        return Collected(rows, corrupt, self.torn, known)


def collect(logs: Path, place: Place, now: datetime | None = None) -> Collected:
    """Gather every whole line that the logs have gained.

    Args:
        logs: where the workers log: ``Settings.observations``, or ``Settings.shadow_observations``.
        place: of the store.
        now: for tests; a log of the day before yesterday or earlier is taken to its last byte.

    Raises:
        MonitoringError: a log or the store cannot be read, or the store cannot be written. What was collected until
            then holds, and the next collection goes on after it.
    """
    if not logs.is_dir():
        logger.warning(
            "There is no observation log in %s: the service has answered nobody yet, or logs elsewhere. Start it with "
            "`bentoml serve` and send it pictures, or set BLOODYSPY_OBSERVATIONS to its folder.",
            logs,
        )
        return Collected()
    today = (now or datetime.now(UTC)).date()
    done = Collected()
    with failing(place), place.lock():
        for _ in range(_TRIES):
            passage = _Passage(logs, place, today)
            beaten = False
            try:
                passage.run()
            except Beaten:
                beaten = True
            done = passage.done.after(done)
            if beaten:
                continue
            if done.corrupt:
                logger.warning(
                    "%d line(s) of the observation log in %s are no observations; they were set aside in %s",
                    *(done.corrupt, logs, place.url("aside")),
                )
            return done
    raise MonitoringError(f"Others keep changing the store of observations in {place.address}. Try again later.")


@dataclass(frozen=True, slots=True)
class _Block:
    """Whole lines of a log."""

    start: int
    length: int
    """Bytes."""
    lines: bytes
    """Shorter than ``length`` where it is the beginning of one line that is too long to be an observation."""

    @property
    def end(self) -> int:
        """Position behind it."""
        return self.start + self.length


@dataclass(slots=True)
class _Log:
    """A log that may have something to give."""

    name: str
    path: Path
    size: int
    finished: bool
    """Nobody will write to it any more."""
    mark: Mark
    known: set[tuple[object, ...]] | None = None
    """Identities of its rows in the store; None until somebody asks."""


@dataclass(slots=True)
class _Batch:
    """What is to hold next."""

    tables: list[pa.Table] = field(default_factory=list)
    refused: list[dict[str, object]] = field(default_factory=list)
    marks: dict[str, Mark] = field(default_factory=dict)
    small: list[tuple[_Log, _Block]] = field(default_factory=list)
    """Blocks that are not parsed yet."""
    known: int = 0
    bytes: int = 0


class _Passage:
    """One passage through the logs."""

    def __init__(self, folder: Path, place: Place, today: date) -> None:
        self._folder, self._place, self._today = folder, place, today
        self._record = latest(place)
        self._batch = _Batch()
        self.done = Collected()

    def run(self) -> None:
        sweep(self._place, self._record)
        for log in self._logs():
            self._read(log)
        self._commit()

    def _logs(self) -> Iterator[_Log]:
        stored = {name for part in self._record.parts for name in part.logs}
        for name, path, day in logs_in(self._folder):
            mark = self._record.logs.get(name)
            try:
                size = path.stat().st_size
                if mark is None or not is_marked(path, mark):
                    mark = Mark(offset=0, tail=0, digest="", doubtful=mark is not None or name in stored)
            except FileNotFoundError:
                continue  # removed this very moment
            if size > mark.offset:
                yield _Log(name, path, size, day + _SETTLED < self._today, mark)

    def _read(self, log: _Log) -> None:
        end = log.mark.offset
        try:
            stream = log.path.open("rb")
        except FileNotFoundError:
            return  # removed this very moment
        with stream:
            for block in _blocks(stream, end, log.size, log.finished):
                self._take(log, block, _tail(stream, block.end))
                end = block.end
                if self._batch.bytes >= _BATCH:
                    self._commit()
        self.done = replace(self.done, torn=self.done.torn + (end < log.size))

    def _take(self, log: _Log, block: _Block, tail: bytes) -> None:
        batch = self._batch
        if block.length == len(block.lines) < _SMALL and not log.mark.doubtful:
            batch.small.append((log, block))
            if len(batch.small) == _MANY:
                self._parse_small()
        else:
            self._parse(log, block)
        batch.bytes += block.length
        if tail.strip():
            log.mark = Mark(offset=block.end, tail=len(tail), digest=digest(tail), doubtful=log.mark.doubtful)
            batch.marks[log.name] = log.mark

    def _parse_small(self) -> None:
        """Many small blocks at once: a service that keeps restarting leaves thousands of logs of a few rows."""
        small, self._batch.small = self._batch.small, []
        counts = [sum(1 for line in block.lines.split(b"\n") if line.strip()) for _, block in small]
        table, refused = parse(b"\n".join(block.lines for _, block in small))
        if refused or len(table) != sum(counts):  # whose they are is seen in each by itself
            for log, block in small:
                self._parse(log, block)
            return
        names = [log.name for (log, _), count in zip(small, counts, strict=True) for _ in range(count)]
        self._batch.tables.append(table.append_column("log", pa.array(names, pa.string())))

    def _parse(self, log: _Log, block: _Block) -> None:
        if block.length > len(block.lines):
            table, refused = SCHEMA.empty_table(), [Refused(0, block.length, block.lines)]
        else:
            table, refused = parse(block.lines)
        if log.mark.doubtful:
            table = self._unknown(table, log)
        self._batch.tables.append(table.append_column("log", pa.array([log.name] * len(table), pa.string())))
        self._batch.refused += [
            {"log": log.name, "offset": block.start + one.offset, "length": one.length, "line": one.line}
            for one in refused
        ]

    def _unknown(self, table: pa.Table, log: _Log) -> pa.Table:
        """The rows that the store does not have of this log."""
        if log.known is None:
            log.known = _identities(self._place, self._record, log.name)
        seen = [row in log.known for row in zip(*(table[name].to_pylist() for name in _IDENTITY), strict=True)]
        self._batch.known += sum(seen)
        return table.filter(pa.array([not one for one in seen], pa.bool_()))

    def _commit(self) -> None:
        if self._batch.small:
            self._parse_small()
        batch, place = self._batch, self._place
        self._batch = _Batch()
        if not batch.marks:
            return
        parts = tuple(write_part(place, day, rows) for day, rows in _by_day(pa.concat_tables(batch.tables)))
        aside = (write_aside(place, batch.refused),) if batch.refused else ()
        record = self._record
        self._record = commit(
            place,
            record.changed(record.parts + parts, record.aside + aside, {**record.logs, **batch.marks}),
        )
        self.done = replace(
            self.done,
            rows=self.done.rows + sum(part.rows for part in parts),
            corrupt=self.done.corrupt + len(batch.refused),
            known=self.done.known + batch.known,
        )


def logs_in(folder: Path) -> Iterator[tuple[str, Path, date]]:
    """Name, place and UTC day of each log, the oldest first. Other files and folders are nobody's observations."""
    for day in sorted(folder.iterdir()) if folder.is_dir() else []:
        if _DAY.fullmatch(day.name) and day.is_dir():
            for path in sorted(day.glob("*.jsonl")):
                yield f"{day.name}/{path.name}", path, date.fromisoformat(day.name)


def is_marked(path: Path, mark: Mark) -> bool:
    """Whether this is still the log that was collected up to the mark."""
    with path.open("rb") as stream:
        stream.seek(mark.offset - mark.tail)
        tail = stream.read(mark.tail)
    return len(tail) == mark.tail and digest(tail) == mark.digest


def _tail(stream: BinaryIO, end: int) -> bytes:
    """The last whole lines before a position: several, because a line that is no observation is like another."""
    start = max(0, end - _TAIL)
    stream.seek(start)
    piece = stream.read(end - start)
    if start == 0:
        return piece
    # a specimen's id that is cut in two would not be known as one: digest() leaves ids out
    return piece[piece.find(b"\n", 0, -1) + 1 :]


def _by_day(rows: pa.Table) -> Iterator[tuple[date, pa.Table]]:
    days = rows["time"].cast(pa.date32())
    for day in sorted(pc.unique(days).to_pylist()):
        yield day, rows.filter(pc.equal(days, pa.scalar(day, pa.date32())))


def _identities(place: Place, record: Record, log: str) -> set[tuple[object, ...]]:
    parts = [part.name for part in record.parts if log in part.logs]
    if not parts:
        return set()
    with connected(place) as connection:
        asked = f"SELECT {', '.join(_IDENTITY)} FROM read_parquet($parts) WHERE log = $log"  # noqa: S608 - our names
        found = connection.sql(asked, params={"parts": urls(place, parts), "log": log}).to_arrow_table()
    return set(zip(*(found[name].to_pylist() for name in _IDENTITY), strict=True))


def _blocks(stream: BinaryIO, position: int, size: int, finished: bool) -> Iterator[_Block]:
    """Whole lines from a position on; of a finished log the last one, too, if nothing ends it."""
    while position < size:
        stream.seek(position)
        piece = stream.read(min(_BLOCK, size - position))
        length = piece.rfind(b"\n") + 1
        if length:
            yield _Block(position, length, piece[:length])
        elif position + len(piece) < size and piece:
            end = _line_end(stream, size)
            if end is None and not finished:
                return
            length = (size if end is None else end) - position
            yield _Block(position, length, piece[:KEPT])
        else:
            if finished and piece:
                yield _Block(position, len(piece), piece)
            return
        position += length


def _line_end(stream: BinaryIO, size: int) -> int | None:
    """Position behind the next line break."""
    while (position := stream.tell()) < size:
        piece = stream.read(min(_BLOCK, size - position))
        if not piece:
            return None
        if b"\n" in piece:
            return position + piece.index(b"\n") + 1
    return None
