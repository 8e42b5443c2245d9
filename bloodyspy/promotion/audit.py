"""The audit log's entries, and the chain that holds them together. Pure: where they are kept is :mod:`.trail`.

An entry is one line of JSON. It names the SHA-256 of the line before it, so that no line can be changed, taken out or
put in without changing every line after it. What a chain proves, and what it does not: ``docs/audit.md``.
"""

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PrivateAttr

from bloodyspy.promotion.events import Digest, Event

NOTHING = "0" * 64
"""What the first entry names as the one before it."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Entry(_Frozen):
    """One line of the audit log."""

    number: int = Field(ge=1)
    time: AwareDatetime
    """UTC; never before the entry before it."""
    by: str
    """Who says so: the account and the machine that wrote it, or what BLOODYSPY_ACTOR claims."""
    event: Event
    previous: Digest
    """:attr:`hash` of the entry before."""
    hash: Digest
    """SHA-256 over the rest of the line."""
    _line: str = PrivateAttr("")

    @property
    def line(self) -> str:
        """The entry as it is kept, to the byte, without the end of the line; a later release might write another."""
        return self._line


def chained(event: Event, before: Entry | None, by: str, now: datetime) -> Entry:
    """The entry that comes after ``before`` (None for the first)."""
    fields = {
        "number": 1 if before is None else before.number + 1,
        "time": max(now.astimezone(UTC), before.time) if before else now.astimezone(UTC),
        "by": by,
        "event": event,
        "previous": NOTHING if before is None else before.hash,
    }
    unhashed = Entry.model_validate({**fields, "hash": NOTHING}).model_dump(mode="json", exclude={"hash"})
    _, entry = read_line(_canonical({**unhashed, "hash": _hash(unhashed)}))
    assert entry is not None  # it was an entry a line ago
    return entry


class Fault(_Frozen):
    """Something that is not as it was recorded."""

    where: str
    """What was changed: a file, a line, a version."""
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


def read_chain(lines: Iterable[str], name: str) -> tuple[list[Entry], list[Fault]]:
    """Read a log's lines and check each: that it is written as it was, and follows the one before.

    Args:
        lines: without the ends of lines.
        name: of the log, for the faults.

    Returns:
        The entries that can be read, and what is wrong, each fault with its line.
    """
    entries: list[Entry] = []
    faults: list[Fault] = []
    before: Entry | None = None
    broken = False
    for number, line in enumerate(lines, start=1):
        fault, entry = read_line(line)
        if entry is not None and fault is None and not broken:
            # After a fault the next line is held against nothing, so that one change is one fault.
            fault = _gap(entry, before)
        if fault is not None:
            faults.append(Fault(where=f"{name}, line {number}", what=fault))
        broken, before = fault is not None, entry
        if entry is not None:
            entries.append(entry)
    return entries, faults


def read_line(line: str) -> tuple[str | None, Entry | None]:
    """What is wrong with a line by itself, None where nothing is, and the entry, None where it is none."""
    # The line's own JSON is hashed, not the entry: a later release may know more fields than the line has.
    try:
        entry = Entry.model_validate_json(line)
        fields = json.loads(line)
        stated = fields.pop("hash")
        whole = line == _canonical({**fields, "hash": stated}) and stated == _hash(fields)
    except ValueError:  # no JSON, no entry, or a number that JSON does not have
        return "it is no entry: it was changed, or lines were joined.", None
    entry._line = line
    return (None if whole else "it was changed after it was written: its hash is another one."), entry


def _gap(entry: Entry, before: Entry | None) -> str | None:
    number, digest = (1, NOTHING) if before is None else (before.number + 1, before.hash)
    if entry.number != number or entry.previous != digest:
        return "it does not follow the line before it: a line was taken out, put in, or written anew."
    if before is not None and entry.time < before.time:
        return "it is older than the line before it."
    return None


def _hash(fields: dict[str, object]) -> str:
    return hashlib.sha256(_canonical(fields).encode()).hexdigest()


def _canonical(fields: dict[str, object]) -> str:
    """JSON with sorted keys, ASCII, no spaces: the same fields give the same bytes."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
