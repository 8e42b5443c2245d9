"""Rows that only ever grow: ``<folder>/<UTC day>/<process id>.jsonl``, one JSON object a line."""

import json
import os
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

_JSON = json.JSONEncoder(allow_nan=False)  # one for all rows: json.dumps would make one for each


class DailyLog:
    """The rows of this process. Safe to call from several threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._whole: Path | None = None
        """The file whose last line this process has ended."""

    def append(self, rows: Sequence[Mapping[str, object]], time: datetime, *, sync: bool = False) -> None:
        """Append rows in one write: those of other processes and calls do not come in between, and a kill loses whole
        rows only.

        Args:
            rows: JSON's own values.
            time: in UTC; its day names the folder.
            sync: return only when they are on the disk.

        Raises:
            OSError: the disk is full, or the folder cannot be written.
            ValueError: a number is not finite.
        """
        text = "".join(_JSON.encode(row) + "\n" for row in rows)
        with self._lock:
            self._write(text, self._folder / time.strftime("%Y-%m-%d"), sync)

    def _write(self, text: str, day: Path, sync: bool) -> None:
        """Open the file each time (some 20 microseconds): a folder that was moved or deleted comes back."""
        path = day / f"{os.getpid()}.jsonl"
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            handle = os.open(path, flags, 0o640)
        except FileNotFoundError:
            day.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, flags, 0o640)
        try:
            # a full disk may have cut a line short, here or in a process before that had the same number
            payload = (("" if path == self._whole or _ends(handle) else "\n") + text).encode()
            self._whole = None
            written = os.write(handle, payload)
            if written != len(payload):
                raise OSError(f"only {written} of {len(payload)} bytes fit into {path}")
            self._whole = path
            if sync:
                os.fsync(handle)
        finally:
            os.close(handle)


def _ends(handle: int) -> bool:
    """Whether a file is empty, or ends with the end of a line."""
    size = os.fstat(handle).st_size
    return size == 0 or os.pread(handle, 1, size - 1) == b"\n"
