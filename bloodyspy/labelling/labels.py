"""What people say that answered pictures show: one row each, on the disk before the answer.

The rows are a :class:`~bloodyspy.daily_log.DailyLog` in ``var/labels`` with the fields of :class:`KeptLabel`.
They name a picture as the observation log does, by its request and its place in it; where somebody says two things of
one picture, the later row holds.
"""

import threading
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StrictBool, ValidationError

from bloodyspy.cells import Label
from bloodyspy.daily_log import DailyLog
from bloodyspy.errors import LabellingError, LabelLost
from bloodyspy.smear.reading import Before


class GivenLabel(Before):
    """A label that a person gives; without one an earlier label is taken back."""

    model_config = ConfigDict(title="GivenLabel")

    blind: StrictBool = Field(default=False, description="given without the model's answer in sight, as in the queue")


class KeptLabel(BaseModel):
    """A label that is kept."""

    model_config = ConfigDict(frozen=True)

    time: AwareDatetime = Field(description="when it was given")
    request_id: str
    picture: int
    label: Label | None
    reviewer: str = Field(description="who gave it")
    blind: bool = False

    @property
    def key(self) -> "Key":
        """Which picture it is about."""
        return Key(self.request_id, self.picture)


class Key(NamedTuple):
    """Names an answered picture."""

    request_id: str
    picture: int


class Labels:
    """The labels that this process takes. Safe to call from several threads."""

    def __init__(self, folder: Path) -> None:
        self._log = DailyLog(folder)

    def keep(self, given: GivenLabel, reviewer: str) -> KeptLabel:
        """Write a label down.

        Raises:
            LabelLost: it cannot be written.
        """
        kept = KeptLabel(time=datetime.now(UTC), reviewer=reviewer, **given.model_dump())
        self.keep_all([kept])
        return kept

    def keep_all(self, several: list[KeptLabel]) -> None:
        """Write down labels that were given elsewhere, all of them or none.

        Raises:
            LabelLost: they cannot be written.
        """
        try:
            self._log.append([one.model_dump(mode="json") for one in several], datetime.now(UTC), sync=True)
        except OSError as exc:
            raise LabelLost(exc.strerror or str(exc)) from exc


class Opinions:
    """What holds of all labels so far; reads only what has come since it was last asked. Safe to call from threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._begin()

    unreadable: int
    """Lines that are no label: what a full disk cut off."""

    def refresh(self) -> "Opinions":
        """Read what has come.

        Raises:
            LabellingError: the log cannot be read.
        """
        with self._lock:
            try:
                sizes = {path: path.stat().st_size for path in sorted(self._folder.glob("????-??-??/*.jsonl"))}
                if any(sizes.get(path, 0) < offset for path, offset in self._offsets.items()):
                    self._begin()  # somebody has taken lines away
                for path, size in sizes.items():
                    if size > self._offsets[path]:
                        self._read(path)
            except OSError as exc:
                raise LabellingError(f"The labels in {self._folder} cannot be read: {exc}.") from exc
        return self

    def of(self, key: Key, since: datetime | None = None, *, blind: bool = False) -> list[KeptLabel]:
        """The labels of a picture that hold, one of each person, in the order of their times.

        Args:
            key: the picture.
            since: when it was answered. An earlier label is of another picture, whose request had the same id.
            blind: those alone that were given without the model's answer in sight.
        """
        with self._lock:
            said = [one for one in self._last.get(key, {}).values() if one.label is not None]
        holds = [one for one in said if (since is None or one.time >= since) and (one.blind or not blind)]
        return sorted(holds, key=lambda one: one.time)

    def pictures(self) -> list[Key]:
        """The pictures that somebody has said something of, and not taken all of it back."""
        with self._lock:
            return [key for key, by in self._last.items() if any(one.label is not None for one in by.values())]

    def last(self, key: Key, reviewer: str) -> KeptLabel | None:
        """What somebody said last of a picture, a label or that it is taken back."""
        with self._lock:
            return self._last.get(key, {}).get(reviewer)

    def _begin(self) -> None:
        self._offsets: dict[Path, int] = defaultdict(int)
        self._last: dict[Key, dict[str, KeptLabel]] = defaultdict(dict)
        self.unreadable = 0

    def _read(self, path: Path) -> None:
        with path.open("rb") as stream:
            stream.seek(self._offsets[path])
            content = stream.read()
        whole = content.rfind(b"\n") + 1  # what comes after it is being written
        self._offsets[path] += whole
        for one in self._parsed(content[:whole]):
            before = self._last[one.key].get(one.reviewer)
            if before is None or one.time >= before.time:
                self._last[one.key][one.reviewer] = one

    def _parsed(self, content: bytes) -> Iterator[KeptLabel]:
        for line in content.split(b"\n"):
            if line.strip():
                try:
                    yield KeptLabel.model_validate_json(line)
                except ValidationError:
                    self.unreadable += 1
