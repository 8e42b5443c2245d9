"""Files that a reader finds as they were or as they will be, never half written."""

import os
import tempfile
from pathlib import Path


def replace(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Put a file in the place of another, whole and on the disk, or not at all.

    Args:
        path: of the file, there or not; its folder is there.
        content: all of it.
        mode: its permissions; by default nobody else may read it.

    Raises:
        OSError: it cannot be written; what was there still is.
    """
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)  # mkstemp gives 0600
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
