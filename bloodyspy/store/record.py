"""The record of a store: which parts hold, and how far each log has been collected."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from typing import Literal, Self

import duckdb
from pydantic import BaseModel, ConfigDict, ValidationError

from bloodyspy.errors import MonitoringError
from bloodyspy.store.place import Place

_COMMITS = "commits"
_TRIES = 8  # of a reader that finds files gone because somebody has compacted meanwhile
_SPECIMEN = re.compile(rb'"specimen": *"[^"]*"')


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Part(_Frozen):
    """A Parquet file of rows of one UTC day."""

    name: str
    day: date
    rows: int
    size: int
    """Bytes."""
    first: datetime
    last: datetime
    runs: tuple[str, ...]
    """Ids of the models that answered."""
    logs: tuple[str, ...]
    """Names of the logs that the rows are from."""


class Aside(_Frozen):
    """A Parquet file of lines that are no observation: ``log``, ``offset``, ``length`` and ``line``."""

    name: str
    first: date
    last: date
    """Days of the logs."""
    rows: int


class Mark(_Frozen):
    """How far a log has been collected."""

    offset: int
    """Bytes from its beginning."""
    tail: int
    """Bytes before the offset that tell whether it is still the same file: the last lines, 4 kB of them at most."""
    digest: str
    """Of these."""
    doubtful: bool = False
    """The store may have rows of it already: it was replaced, cut off, or has come back."""


class Record(_Frozen):
    """What holds."""

    format: Literal[1] = 1
    number: int = 0
    parts: tuple[Part, ...] = ()
    aside: tuple[Aside, ...] = ()
    logs: dict[str, Mark] = {}

    @property
    def rows(self) -> int:
        """Observations."""
        return sum(part.rows for part in self.parts)

    def changed(
        self,
        parts: tuple[Part, ...] | None = None,
        aside: tuple[Aside, ...] | None = None,
        logs: dict[str, Mark] | None = None,
    ) -> Self:
        """The next record."""
        return self.model_copy(
            update={
                "number": self.number + 1,
                "parts": self.parts if parts is None else parts,
                "aside": self.aside if aside is None else aside,
                "logs": self.logs if logs is None else logs,
            }
        )


class Beaten(Exception):
    """Another process has changed the store since its record was read."""


def digest(tail: bytes) -> str:
    """Tells one log's end from another's; the same before and after a specimen was erased from it."""
    return hashlib.blake2b(_SPECIMEN.sub(b"", tail), digest_size=12).hexdigest()


def latest(place: Place) -> Record:
    """What holds now.

    Raises:
        MonitoringError: the record is damaged.
    """
    for _ in range(_TRIES):
        names = place.names(_COMMITS)
        if not names:
            return Record()
        try:
            return Record.model_validate_json(place.read(names[-1]))
        except FileNotFoundError:
            continue  # the next one was written meanwhile
        except ValidationError as exc:
            raise MonitoringError(
                f"{place.url(names[-1])} is damaged ({exc.error_count()} faults), so nobody knows which rows hold. "
                "Restore it from a copy."
            ) from exc
    raise MonitoringError(f"The record in {place.address} changes faster than it can be read. Try again.")


def commit(place: Place, record: Record) -> Record:
    """Let a record hold, if it follows the one that holds; what that one alone has named is removed.

    Raises:
        Beaten: another was quicker; nothing has changed.
    """
    name = f"{_COMMITS}/{record.number:010}.json"
    if not place.create(name, record.model_dump_json().encode()):
        raise Beaten
    there = place.names(_COMMITS)
    if there[-1] != name:  # a higher one was written, and this number's first owner removed as too old
        raise Beaten
    sweep(place, record)
    return record


def sweep(place: Place, record: Record) -> None:
    """Remove every file that the record does not name."""
    named = {*(part.name for part in record.parts), *(aside.name for aside in record.aside)}
    place.sweep(named | set(place.names(_COMMITS)[-1:]))


@contextmanager
def failing(place: Place) -> Iterator[None]:
    """Tells of whatever the place refuses.

    Raises:
        MonitoringError: it cannot be read or written.
    """
    try:
        yield
    except (OSError, duckdb.Error) as exc:
        raise MonitoringError(
            f"The observations in {place.address} cannot be gathered, read or changed: {exc}. Nothing is lost by it; "
            "mend that and give the same command again."
        ) from exc
