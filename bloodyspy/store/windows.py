"""Windows of a store: the newest rows, or those of a time, of one model, site, instrument or specimen."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import groupby

import duckdb
import pandas as pd
import pyarrow as pa

from bloodyspy.errors import MonitoringError
from bloodyspy.store.place import Place
from bloodyspy.store.query import connected, urls
from bloodyspy.store.record import Part, Record, failing, latest
from bloodyspy.store.rows import ALL, DTYPES, SCHEMA

_TRIES = 8
_ORDER = ("time", "request_id", "picture")
_LATEST_FIRST = "time DESC, request_id DESC, picture DESC"


@dataclass(slots=True)
class Unreadable:
    """Lines of the log that are no observation: counted, never hidden."""

    torn: int = 0
    """Logs whose last line has no end yet: a worker is writing it, or was killed while it wrote."""
    corrupt: int = 0
    """Any other line that is not an observation; the store has them set aside."""


@dataclass(frozen=True, slots=True)
class Window:
    """Observations that are judged together."""

    frame: pd.DataFrame
    """COLUMNS and LIVE_COLUMNS, sorted by time."""
    unreadable: Unreadable = field(default_factory=Unreadable)
    """Of the days that the window covers."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows."""

    run_id: str | None = None
    """Of one model: another's rows cannot be held against this one's reference."""
    since: datetime | None = None
    """From then on, this moment included."""
    until: datetime | None = None
    """Up to then, this moment not included."""
    site: str | None = None
    instrument: str | None = None
    specimen: str | None = None
    request_id: str | None = None

    @property
    def condition(self) -> tuple[str, dict[str, object]]:
        """For a query, with its values."""
        given = {
            name: value
            for name in ("run_id", "site", "instrument", "specimen", "request_id", "since", "until")
            if (value := getattr(self, name)) is not None
        }
        terms = [{"since": "time >= $since", "until": "time < $until"}.get(name, f"{name} = ${name}") for name in given]
        return " AND ".join(terms) or "true", given

    def may_be_in(self, part: Part) -> bool:
        """Whether the part could have such a row."""
        return (
            (self.run_id is None or self.run_id in part.runs)
            and (self.since is None or part.last >= self.since)
            and (self.until is None or part.first < self.until)
        )


EVERY = Wanted()
"""Every row."""


def window(place: Place, wanted: Wanted = EVERY, size: int | None = None, columns: Sequence[str] = ALL) -> Window:
    """The newest rows of those wanted.

    Args:
        place: of the store.
        wanted: which rows.
        size: how many at most; all of them where it is not said. Fewer come where there are fewer.
        columns: of the frame, beside time, request_id and picture; all where it is not said.

    Raises:
        MonitoringError: the store cannot be read, or a time has no zone.
    """
    for time in (wanted.since, wanted.until):
        if time is not None and time.tzinfo is None:
            raise MonitoringError(f"{time} has no time zone. Say for instance {time}+00:00.")
    names = [name for name in ALL if name in {*columns, *_ORDER}]
    schema = pa.schema([SCHEMA.field(name) for name in names])
    with failing(place):
        record, found = _consistent(place, wanted, size, names)
    table = pa.concat_tables(found) if found else schema.empty_table()
    table = table.cast(schema).sort_by([(name, "ascending") for name in _ORDER])
    frame = pd.DataFrame({name: table[name].to_pandas() for name in names}).astype({n: DTYPES[n] for n in names})
    since = frame["time"].iloc[0] if size is not None and len(frame) else wanted.since
    return Window(frame, Unreadable(corrupt=_corrupt(record, since, wanted.until)))


def _consistent(place: Place, wanted: Wanted, size: int | None, names: Sequence[str]) -> tuple[Record, list[pa.Table]]:
    """Rows of one record: where files of it are gone because the next one holds, that one is asked."""
    for _ in range(_TRIES):
        record = latest(place)
        parts = [part for part in record.parts if wanted.may_be_in(part)]
        try:
            with connected(place) as connection:
                return record, list(_newest_first(connection, place, parts, wanted, size, names))
        except (duckdb.Error, OSError):
            if latest(place).number == record.number:
                raise
    raise MonitoringError(f"The store in {place.address} changes faster than it can be read. Try again.")


def _newest_first(
    connection: duckdb.DuckDBPyConnection,
    place: Place,
    parts: Sequence[Part],
    wanted: Wanted,
    size: int | None,
    names: Sequence[str],
) -> Iterator[pa.Table]:
    """A day at a time, so that a window costs what it holds and not what the store does."""
    condition, given = wanted.condition
    ordered = sorted(parts, key=lambda part: part.day, reverse=True)
    missing = size
    for _, several in groupby(ordered, key=lambda part: part.day):
        if missing == 0:
            return
        limit = "" if missing is None else f" ORDER BY {_LATEST_FIRST} LIMIT {missing:d}"
        asked = f"SELECT {', '.join(names)} FROM read_parquet($parts) WHERE {condition}{limit}"  # noqa: S608 - ours
        files = urls(place, [part.name for part in several])
        found = connection.sql(asked, params={"parts": files, **given}).to_arrow_table()
        if missing is not None:
            missing -= len(found)
        yield found


def _corrupt(record: Record, since: datetime | None, until: datetime | None) -> int:
    first = since.astimezone(UTC).date() if since is not None else date.min
    last = until.astimezone(UTC).date() if until is not None else date.max
    return sum(aside.rows for aside in record.aside if aside.last >= first and aside.first <= last)
