"""From lines of a log to a table of observations, and to the lines that are none.

A log is foreign input. Arrow reads a block of lines at once; where it finds anything that is not as declared, each
line of the block is judged by itself (:func:`_observation`), and that alone says what is refused.
"""

import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import json as arrow_json

from bloodyspy.cells import CELL_TYPES
from bloodyspy.observation import COLUMNS, EMBEDDING, LIVE_COLUMNS
from bloodyspy.policy import Action

ALL: tuple[str, ...] = (*COLUMNS, *LIVE_COLUMNS)
"""Columns of an observation in the store, and of a window."""

LONGEST = 1 << 20
"""Bytes of a line. An observation takes some 1,000; what a broken disk left without a line break is not parsed."""

KEPT = 64 << 10
"""Bytes of a refused line that are set aside."""

# Columns that do not hold a floating-point number, in the reference and in the live log.
_WORDS = {
    *("predicted", "action", "reasons", "run_id", "data_version", "request_id"),
    *("site", "instrument", "specimen"),
}
_WHOLE = {"width", "height", "picture", "model_version"}
_NAMES = {"predicted": [str(cell) for cell in CELL_TYPES], "action": [str(action) for action in Action]}
"""What alone such a column may say."""
_OPTIONAL: dict[str, str | int | float] = {
    **{"picture": 0, "site": "", "instrument": "", "specimen": ""},
    **dict.fromkeys(EMBEDDING, 0.0),
}
"""What rows of earlier releases, which have no such column, are taken to say."""

_TIME = pa.timestamp("us", "UTC")


def _type(name: str) -> pa.DataType:
    if name == "time":
        return _TIME
    return pa.string() if name in _WORDS else pa.int64() if name in _WHOLE else pa.float64()


SCHEMA = pa.schema([(name, _type(name)) for name in ALL])
DTYPES = {
    name: "datetime64[us, UTC]" if name == "time" else {"string": "str", "int64": "int64"}.get(str(kind), "float64")
    for name, kind in zip(SCHEMA.names, SCHEMA.types, strict=True)
}
"""Of a window's frame."""

_SENT = pa.schema([(name, pa.string() if name == "time" else _type(name)) for name in ALL])

Value = str | int | float | datetime


@dataclass(frozen=True, slots=True)
class Refused:
    """A line that is no observation."""

    offset: int
    """Of its first byte, in its block."""
    length: int
    """Bytes."""
    line: bytes
    """Its beginning, at most :data:`KEPT`."""


def parse(block: bytes) -> tuple[pa.Table, list[Refused]]:
    """The observations of a block of lines, with :data:`SCHEMA`, and its other lines; blank ones are nothing."""
    try:
        return _at_once(block), []
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError, _NotAsDeclared):
        return _each(block)


class _NotAsDeclared(Exception):
    pass


def _at_once(block: bytes) -> pa.Table:
    block.decode("utf-8")  # Arrow would believe it
    if not block.strip():
        return SCHEMA.empty_table()
    sent = arrow_json.read_json(
        io.BytesIO(block),
        arrow_json.ReadOptions(use_threads=False, block_size=LONGEST),
        arrow_json.ParseOptions(explicit_schema=_SENT, unexpected_field_behavior="ignore"),
    )
    columns = {name: sent[name] for name in ALL}
    columns["time"] = columns["time"].cast(_TIME)
    for name, value in _OPTIONAL.items():
        columns[name] = columns[name].fill_null(value)
    columns["specimen"] = pc.utf8_trim_whitespace(columns["specimen"])
    for name, column in columns.items():
        if column.null_count:
            raise _NotAsDeclared
        if name in _NAMES:
            fits = pc.all(pc.is_in(column, pa.array(_NAMES[name])))
        elif pa.types.is_floating(column.type):
            fits = pc.all(pc.is_finite(column))
        else:
            continue
        if len(column) and not fits.as_py():
            raise _NotAsDeclared
    return pa.table(columns, schema=SCHEMA)


def _each(block: bytes) -> tuple[pa.Table, list[Refused]]:
    rows: list[dict[str, Value]] = []
    refused: list[Refused] = []
    offset = 0
    for line in block.split(b"\n"):
        if line.strip():
            row = _observation(line) if len(line) <= LONGEST else None
            if row is None:
                refused.append(Refused(offset, len(line), line[:KEPT]))
            else:
                rows.append(row)
        offset += len(line) + 1
    return pa.table({name: [row[name] for row in rows] for name in ALL}, schema=SCHEMA), refused


def _observation(line: bytes) -> dict[str, Value] | None:
    """A line as a row; None where it is no observation."""
    try:
        content = json.loads(line)
        if not isinstance(content, Mapping):
            return None
        sent = {name: value for name, value in content.items() if value is not None}
        return {name: _value(name, {**_OPTIONAL, **sent}[name]) for name in ALL}
    except (ValueError, KeyError, OverflowError, RecursionError):
        return None


def _value(name: str, value: object) -> Value:
    """One cell of a row, or ValueError: a single NaN would spoil a whole column."""
    if name == "time" and isinstance(value, str):
        time = datetime.fromisoformat(value)
        if time.tzinfo is not None:
            return time
    elif name in _WORDS and isinstance(value, str):
        value.encode()  # ValueError for half of a surrogate pair
        if value in _NAMES.get(name, (value,)):
            return value.strip() if name == "specimen" else value
    elif name in _WHOLE and isinstance(value, int | float) and math.isfinite(value):
        if -(2**63) <= value < 2**63:
            return int(value)
    elif name not in _WORDS and isinstance(value, int | float) and math.isfinite(value):
        return float(value)
    raise ValueError(f"{name} cannot be {value!r}")
