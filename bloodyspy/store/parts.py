"""The Parquet files of a store. They are nobody's until a record names them."""

import uuid
from collections.abc import Sequence
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bloodyspy.errors import MonitoringError
from bloodyspy.store.place import Place
from bloodyspy.store.query import connected, urls
from bloodyspy.store.record import Aside, Part
from bloodyspy.store.rows import SCHEMA

STORED = SCHEMA.append(pa.field("log", pa.string()))
"""A part's columns: a window's, and the name of the log that a row is from."""

_WORDS = [field.name for field in STORED if pa.types.is_string(field.type)]
_GROUP = 100_000  # rows
_ASIDE = pa.schema([("log", pa.string()), ("offset", pa.int64()), ("length", pa.int64()), ("line", pa.binary())])


def write_part(place: Place, day: date, rows: pa.Table) -> Part:
    """A part of rows of one day, which are sorted by time for it."""
    name = _name(day)
    with place.new(name) as file:
        pq.write_table(rows.sort_by("time"), file, compression="zstd", use_dictionary=_WORDS, row_group_size=_GROUP)
        size = file.stat().st_size
    return Part(
        name=name,
        day=day,
        rows=len(rows),
        size=size,
        first=pc.min(rows["time"]).as_py(),
        last=pc.max(rows["time"]).as_py(),
        runs=tuple(sorted(pc.unique(rows["run_id"]).to_pylist())),
        logs=tuple(sorted(pc.unique(rows["log"]).to_pylist())),
    )


def rewrite(place: Place, parts: Sequence[Part], without: str | None = None) -> Part:
    """One part, sorted by time, with the rows of several of one day, whatever their size.

    Args:
        place: of the store.
        parts: at least one.
        without: a specimen's id, that is blanked.

    Raises:
        MonitoringError: it does not have as many rows as they say that they have.
    """
    name = _name(parts[0].day)
    given: dict[str, object] = {"parts": urls(place, [part.name for part in parts])}
    asked = "SELECT * FROM read_parquet($parts, hive_partitioning = false)"
    if without is not None:
        given["without"] = without
        asked = asked.replace("*", "* REPLACE (CASE WHEN specimen = $without THEN '' ELSE specimen END AS specimen)")
    with place.new(name) as file:
        with connected(place, file.parent) as connection:
            sorted_rows = connection.sql(f"{asked} ORDER BY time, request_id, picture", params=given)
            sorted_rows.write_parquet(str(file), compression="zstd", row_group_size=_GROUP)
        rows, size = pq.read_metadata(file).num_rows, file.stat().st_size
        if rows != sum(part.rows for part in parts):
            raise MonitoringError(
                f"The parts of {parts[0].day} in {place.address} have {rows:,} rows together, and their record says "
                f"{sum(part.rows for part in parts):,}. Restore them from a copy; nothing was changed."
            )
    return Part(
        name=name,
        day=parts[0].day,
        rows=rows,
        size=size,
        first=min(part.first for part in parts),
        last=max(part.last for part in parts),
        runs=tuple(sorted({run for part in parts for run in part.runs})),
        logs=tuple(sorted({log for part in parts for log in part.logs})),
    )


def naming(place: Place, parts: Sequence[Part], specimen: str) -> dict[str, int]:
    """Rows of a specimen in each part that has any, by the part's name."""
    if not parts:
        return {}
    asked = (
        "SELECT filename, count(*) FROM read_parquet($parts, filename = true, hive_partitioning = false) "
        "WHERE specimen = $specimen GROUP BY filename"
    )
    given = {"parts": urls(place, [part.name for part in parts]), "specimen": specimen}
    with connected(place) as connection:
        found = connection.sql(asked, params=given).fetchall()
    return {"/".join(str(path).split("/")[-2:]): int(rows) for path, rows in found}


def write_aside(place: Place, refused: list[dict[str, object]]) -> Aside:
    """Lines that are no observation: ``log``, ``offset``, ``length`` and ``line`` of each."""
    name = f"aside/{uuid.uuid4().hex}.parquet"
    with place.new(name) as file:
        pq.write_table(pa.Table.from_pylist(refused, _ASIDE), file, compression="zstd")
    days = sorted(date.fromisoformat(str(one["log"]).partition("/")[0]) for one in refused)
    return Aside(name=name, first=days[0], last=days[-1], rows=len(refused))


def read_aside(place: Place, aside: Aside) -> list[dict[str, Any]]:
    """The lines of one such file."""
    found: list[dict[str, Any]] = pq.read_table(pa.BufferReader(place.read(aside.name))).to_pylist()
    return found


def _name(day: date) -> str:
    return f"day={day}/{uuid.uuid4().hex}.parquet"
