"""Where the audit log is kept: one file by default, one PostgreSQL table where ``BLOODYSPY_AUDIT_URI`` names one.

One entry is appended at a time, whoever else appends, and is on the disk when :func:`record` returns.
"""

import fcntl
import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from bloodyspy.errors import AuditError
from bloodyspy.promotion.audit import Entry, Fault, chained, read_chain, read_line
from bloodyspy.promotion.events import Event, Mended
from bloodyspy.settings import Settings

logger = logging.getLogger(__name__)

_BLOCK = 65_536  # bytes; longer than an entry, most of the time
_LOCK = 0x_B100_D5B1  # PostgreSQL's advisory lock of whoever appends

# The trigger is no secret-keeper: whoever owns the table can drop it. It stops a slip of the hand; the chain tells.
_TABLE = """
CREATE TABLE IF NOT EXISTS bloodyspy_audit (number bigint PRIMARY KEY CHECK (number > 0), line text NOT NULL);
CREATE OR REPLACE FUNCTION bloodyspy_audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the audit log is only ever appended to'; END $$;
CREATE OR REPLACE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON bloodyspy_audit
EXECUTE FUNCTION bloodyspy_audit_is_append_only();
"""


class _Log(Protocol):
    """An open log: nobody else appends while it is open for that."""

    def last(self) -> str | None: ...
    def append(self, entry: Entry) -> None: ...


def record(event: Event, s: Settings) -> Entry:
    """Append an event.

    Raises:
        AuditError: the log cannot be reached or written, or its last entry was altered. Nothing was appended.
    """
    with _appending(s) as log:
        return _append(log, event, s)


def record_change(event: Event, s: Settings) -> None:
    """Append an event unless the newest of its kind says the same: what a killed run had recorded is not told twice.

    Raises:
        AuditError: as :func:`record`, or the log does not hold together.
    """
    known = [entry.event for entry in entries(s) if entry.event.kind == event.kind]
    if known[-1:] != [event]:
        record(event, s)


def record_once(event: Event, s: Settings) -> None:
    """Append an event that can happen only once, unless it is there.

    Raises:
        AuditError: as :func:`record_change`.
    """
    if all(entry.event != event for entry in entries(s)):
        record(event, s)


def entries(s: Settings) -> list[Entry]:
    """Every entry, oldest first; none where nothing was recorded yet. A line that a kill cut off is put aside first.

    Raises:
        AuditError: the log cannot be read, or does not hold together.
    """
    if s.audit_uri is None and _is_cut_off(s.audit_log):
        with _appending(s):
            pass  # opening mends
    found, faults = checked(s)
    if faults:
        raise AuditError(f"The audit log is damaged. {faults[0]} Look at `bloodyspy verify`.")
    return found


def checked(s: Settings) -> tuple[list[Entry], list[Fault]]:
    """The entries that can be read, and what is wrong with the log.

    Raises:
        AuditError: the log cannot be reached.
    """
    if s.audit_uri is not None:
        with _table(s) as connection:
            rows = connection.execute(text("SELECT line FROM bloodyspy_audit ORDER BY number"))
            return read_chain([str(row.line) for row in rows], place(s))
    lines, rest = _split(_bytes(s.audit_log))
    found, faults = read_chain([line.decode("utf-8", "replace") for line in lines], s.audit_log.name)
    if rest:
        where = f"{s.audit_log.name}, line {len(lines) + 1}"
        faults.append(Fault(where=where, what="it does not end: it was cut off, or its end was changed."))
    return found, faults


def place(s: Settings) -> str:
    """Where the log is, for people; a password is hidden."""
    if s.audit_uri is None:
        return str(s.audit_log)
    return f"the table bloodyspy_audit of {s.audit_place}"


def _append(log: _Log, event: Event, s: Settings) -> Entry:
    last = log.last()
    before: Entry | None = None
    if last is not None:
        # Only the last line: whether all hold together is asked by whoever reads them.
        fault, before = read_line(last)
        if fault is not None:
            raise AuditError(
                f"The last entry of the audit log ({place(s)}) was altered, so nothing is appended to it. "
                "`bloodyspy verify` names what was changed: restore the log from a copy."
            )
    entry = chained(event, before, s.actor_name, datetime.now(UTC))
    log.append(entry)
    return entry


@contextmanager
def _appending(s: Settings) -> Iterator[_Log]:
    if s.audit_uri is not None:
        with _table(s) as connection:
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
            yield _TableLog(connection)
            connection.commit()
        return
    try:
        s.audit_log.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(s.audit_log, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640), "r+b", 0) as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)  # the kernel lets go when the holder dies
            log = _FileLog(stream.fileno())
            _mend(log, s)
            yield log
    except OSError as exc:
        raise AuditError(f"The audit log {s.audit_log} cannot be written: {exc}.") from exc


class _FileLog:
    def __init__(self, handle: int) -> None:
        self.handle = handle

    def last(self) -> str | None:
        size = os.fstat(self.handle).st_size
        tail, start = b"", size
        while start and b"\n" not in tail[:-1]:
            taken = min(_BLOCK, start)
            start -= taken
            tail = os.pread(self.handle, taken, start) + tail
        return tail[:-1].rpartition(b"\n")[2].decode("utf-8", "replace") if tail else None

    def append(self, entry: Entry) -> None:
        size = os.fstat(self.handle).st_size
        payload = f"{entry.line}\n".encode()
        try:
            written = os.pwrite(self.handle, payload, size)
            if written != len(payload):
                raise OSError(f"only {written} of {len(payload)} bytes were taken")
            os.fsync(self.handle)
        except OSError:
            os.ftruncate(self.handle, size)  # nobody has seen it: the lock is held
            raise


class _TableLog:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def last(self) -> str | None:
        found = self._connection.execute(text("SELECT line FROM bloodyspy_audit ORDER BY number DESC LIMIT 1"))
        row = found.first()
        return None if row is None else str(row.line)

    def append(self, entry: Entry) -> None:
        statement = text("INSERT INTO bloodyspy_audit (number, line) VALUES (:number, :line)")
        self._connection.execute(statement, {"number": entry.number, "line": entry.line})


def _mend(log: _FileLog, s: Settings) -> None:
    """Put a line aside that a kill cut off: it was never acknowledged. An end that was changed is left for `verify`."""
    if not _is_cut_off(s.audit_log):
        return
    content = os.pread(log.handle, os.fstat(log.handle).st_size, 0)
    _, rest = _split(content)
    fault, entry = read_line(rest.decode("utf-8", "replace"))
    if entry is not None and fault is None:
        os.pwrite(log.handle, b"\n", len(content))  # all was written but the end of the line
        return
    try:
        json.JSONDecoder().raw_decode(rest.decode("utf-8", "replace"))
    except json.JSONDecodeError:
        pass
    else:
        raise AuditError(
            f"The last entry of the audit log ({s.audit_log}) is whole, but its end was changed. Nothing is appended: "
            "restore the log from a copy. `bloodyspy verify` names the line."
        )
    digest = hashlib.sha256(rest).hexdigest()
    aside = s.audit_log.with_name(f"{s.audit_log.name}.cut-off-{digest[:12]}")
    aside.write_bytes(rest)
    os.ftruncate(log.handle, len(content) - len(rest))
    logger.warning("The audit log's last line was cut off by a kill; it is in %s now.", aside)
    _append(log, Mended(kept_in=aside.name, bytes=len(rest), sha256=digest), s)


def _is_cut_off(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            return size > 0 and os.pread(stream.fileno(), 1, size - 1) != b"\n"
    except FileNotFoundError:
        return False
    except OSError as exc:
        raise AuditError(f"The audit log {path} cannot be read: {exc}.") from exc


def _split(content: bytes) -> tuple[list[bytes], bytes]:
    """Whole lines without their ends, and what comes after the last end."""
    *lines, rest = content.split(b"\n")
    return lines, rest


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH)  # not in the middle of a line that is being appended
            return stream.read()
    except FileNotFoundError:
        return b""
    except OSError as exc:
        raise AuditError(f"The audit log {path} cannot be read: {exc}.") from exc


@contextmanager
def _table(s: Settings) -> Iterator[Connection]:
    uri = str(s.audit_uri)
    if not re.match(r"postgres(ql)?(\+psycopg2)?://", uri):
        raise AuditError(
            "BLOODYSPY_AUDIT_URI names no PostgreSQL database (postgresql://user@host/database). "
            "Unset it to keep the audit log in a file."
        )
    try:
        engine = create_engine(re.sub(r"^postgres(ql)?(\+psycopg2)?:", "postgresql+psycopg2:", uri), poolclass=NullPool)
        with engine.connect() as connection:
            if not connection.execute(text("SELECT to_regclass('bloodyspy_audit')")).scalar():
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
                connection.execute(text(_TABLE))
                connection.commit()
            yield connection
    except SQLAlchemyError as exc:
        reason = str(exc.__cause__ or exc).strip().splitlines()[0]
        raise AuditError(f"The audit log in {s.audit_place} cannot be used: {reason}.") from exc
