"""A file of a report, written as a whole."""

import os
import uuid
from pathlib import Path

from bloodyspy.errors import SmearError


def write(place: Path, content: str) -> None:
    """Write a file; it appears when it is complete, and an older one stays as it was until then.

    Raises:
        SmearError: it cannot be written there.
    """
    path = place.expanduser().resolve()
    if path.exists() and not path.is_file():
        raise SmearError(f"{place} is not a file that could be replaced. Name another.")
    unfinished = path.with_name(f".{path.name}-{uuid.uuid4().hex[:12]}")
    try:
        # names that are no valid text, from other systems, are written as escapes
        with unfinished.open("x", encoding="utf-8", errors="backslashreplace", newline="") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        unfinished.replace(path)
    except OSError as exc:
        raise SmearError(f"{place} cannot be written: {exc}.") from exc
    finally:
        unfinished.unlink(missing_ok=True)
