"""Keeps a store small and lawful: many parts of a day become one, old rows go, a specimen is forgotten."""

import mmap
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bloodyspy.errors import MonitoringError
from bloodyspy.store.collecting import is_marked, logs_in
from bloodyspy.store.parts import naming, read_aside, rewrite, write_aside
from bloodyspy.store.place import Place
from bloodyspy.store.record import Beaten, Mark, commit, failing, latest, sweep

_MANY = 32  # parts of a day that is not over, which become one all the same
_TRIES = 5


@dataclass(frozen=True, slots=True)
class Compacted:
    """What a compaction did."""

    days: int = 0
    parts: int = 0
    """Of these days, before; each has one now."""


@dataclass(frozen=True, slots=True)
class Expired:
    """What was too old."""

    rows: int = 0
    """Observations of the store."""
    logs: int = 0
    """Logs that were removed; every row of theirs had been collected."""
    waiting: int = 0
    """Logs as old that stay, because not all of them has been collected."""


@dataclass(frozen=True, slots=True)
class Erased:
    """Where a specimen's id was."""

    rows: int = 0
    """Of the store."""
    lines: int = 0
    """Of the logs; most of them are the same observations."""


def compact(place: Place, now: datetime | None = None) -> Compacted:
    """Put one part, sorted by time, in the place of each day's several; of today's once there are many of them.

    Who reads meanwhile finds the old ones or the new one. A day whose parts somebody else changes meanwhile is left
    for the next time, and so is the day in hand if this is killed.

    Raises:
        MonitoringError: the store cannot be read or written.
    """
    today = (now or datetime.now(UTC)).date()
    done = Compacted()
    with failing(place), place.lock():
        for day in sorted({part.day for part in latest(place).parts}):
            record = latest(place)
            parts = [part for part in record.parts if part.day == day]
            if len(parts) < (2 if day < today else _MANY):
                continue
            others = tuple(part for part in record.parts if part.day != day)
            try:
                commit(place, record.changed(parts=(*others, rewrite(place, parts))))
            except Beaten:
                continue
            done = Compacted(done.days + 1, done.parts + len(parts))
    return done


def expire(logs: Path, place: Place, retention_days: int, log_days: int, now: datetime | None = None) -> Expired:
    """Remove observations that are past their retention, and logs that are wholly in the store.

    Args:
        logs: the folder that is collected from.
        place: of the store.
        retention_days: rows of earlier days go.
        log_days: logs of earlier days go, but never one of which a byte has not been collected.
        now: for tests.

    Raises:
        MonitoringError: the store or a log cannot be read or changed.
    """
    today = (now or datetime.now(UTC)).date()
    with failing(place), place.lock():
        removed = 0
        for _ in range(_TRIES):
            record, waiting = latest(place), 0
            for name, path, day in logs_in(logs):
                if day < today - timedelta(days=log_days):
                    whole = _is_whole(path, record.logs.get(name))
                    removed, waiting = removed + whole, waiting + (not whole)
                    if whole:
                        path.unlink()
            _remove_empty(logs)
            there = {name for name, _, _ in logs_in(logs)}
            oldest = today - timedelta(days=retention_days)
            changed = record.changed(
                parts=tuple(part for part in record.parts if part.day >= oldest),
                aside=tuple(aside for aside in record.aside if aside.last >= oldest),
                # A log that comes back is known by its rows.
                logs={name: mark for name, mark in record.logs.items() if name in there},
            )
            try:
                if changed != record.changed():
                    commit(place, changed)
            except Beaten:
                continue
            return Expired(record.rows - changed.rows, removed, waiting)
    raise MonitoringError(f"Others keep changing the store of observations in {place.address}. Try again later.")


def erase(logs: Path, place: Place, specimen: str) -> Erased:
    """Blank a specimen's id in the logs and in the store; the rows stay, and lead to it no more.

    A running service may go on: a log is changed in place, by as many blanks as the id has characters, and what
    workers append comes behind. Rows that they append while this works may be missed: erase again afterwards.

    Args:
        logs: the folder that is collected from.
        place: of the store.
        specimen: a checked id (:func:`bloodyspy.specimen.check`).

    Raises:
        MonitoringError: something could not be changed; the same command goes on where it was.
    """
    with failing(place), place.lock():
        lines = sum(_blank(path, specimen) for _, path, _ in logs_in(logs))
        for _ in range(_TRIES):
            record = latest(place)
            sweep(place, record)  # what a killed collector has left may name it, too
            found = naming(place, record.parts, specimen)
            touched = [part for part in record.parts if part.name in found]
            kept = tuple(part for part in record.parts if part.name not in found)
            blanked = tuple(rewrite(place, [part], without=specimen) for part in touched)
            aside, gone = [], [part.name for part in touched]
            for one in record.aside:
                refused = read_aside(place, one)
                named = [line for line in refused if specimen.encode() in line["line"]]
                for line in named:
                    line["line"] = b""
                aside.append(write_aside(place, refused) if named else one)
                gone += [one.name] if named else []
            try:
                # Elsewhere no lock keeps a collector away that has read the logs before: it is to begin anew.
                if gone or place.local is None:
                    commit(place, record.changed(parts=kept + blanked, aside=tuple(aside)))
            except Beaten:
                continue
            place.remove(gone)
            return Erased(sum(found.values()), lines)
    raise MonitoringError(f"Others keep changing the store of observations in {place.address}. Try again later.")


def _is_whole(path: Path, mark: Mark | None) -> bool:
    """Whether every byte of a log has been collected."""
    if mark is None or not is_marked(path, mark):
        return path.stat().st_size == 0
    with path.open("rb") as stream:
        stream.seek(mark.offset)
        return not stream.read().strip()


def _remove_empty(logs: Path) -> None:
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    for folder in sorted(logs.glob("????-??-??")):
        if folder.name < today and not any(folder.iterdir()):
            folder.rmdir()


def _blank(path: Path, specimen: str) -> int:
    """Put blanks in the place of the id: whatever is cut short, each line remains JSON of the same length."""
    named = re.compile(rb'"specimen": *"(' + re.escape(specimen.encode()) + rb')"')
    with path.open("r+b") as stream:
        if not os.fstat(stream.fileno()).st_size:
            return 0
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            places = [found.start(1) for found in named.finditer(content)]
        for place in places:
            os.pwrite(stream.fileno(), b" " * len(specimen), place)
        os.fsync(stream.fileno())
    return len(places)
