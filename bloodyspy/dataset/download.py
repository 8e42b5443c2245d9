"""Fetching an archive: resumed where it stopped, and believed only when its checksum is right."""

import hashlib
import logging
import re
import time
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from bloodyspy.errors import SourceError

logger = logging.getLogger(__name__)

ATTEMPTS = 6
PAUSE_S = 0.5  # before the second attempt; doubled before each further one
TIMEOUT_S = 30.0


def fetch(url: str, sha256: str, folder: Path) -> Path:
    """Download an archive, going on with what an earlier call left.

    Args:
        url: http or https.
        sha256: what the whole file must hash to, 64 hex digits.
        folder: where the archive and the part of it fetched so far are kept, named by the checksum.

    Returns:
        The archive, its checksum verified.

    Raises:
        SourceError: unreachable after several attempts (what was fetched is kept), refused by the server, or not what
            the checksum promises (what was fetched is removed).
    """
    folder.mkdir(parents=True, exist_ok=True)
    whole, part = folder / f"{sha256}.zip", folder / f"{sha256}.zip.part"
    if not whole.exists():
        _fetch_part(url, part)
        part.replace(whole)
    found = digest_of(whole)
    if found != sha256:
        whole.unlink()
        raise SourceError(
            f"What {shown(url)} sent has the SHA-256 {found}, not {sha256}: it is another file, or was altered. "
            "It was removed. Check the address and the checksum, then import again."
        )
    return whole


def shown(url: str) -> str:
    """The address without user, password, query and fragment: fit for logs and listings."""
    pieces = urlsplit(url)
    return urlunsplit((pieces.scheme, pieces.netloc.rpartition("@")[2], pieces.path, "", ""))


def digest_of(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch_part(url: str, part: Path) -> None:
    words = TextColumn("{task.description}")
    columns = (words, BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    fault = ""
    with (
        httpx.Client(follow_redirects=True, timeout=TIMEOUT_S) as client,
        Progress(*columns, console=Console(stderr=True)) as progress,
    ):
        bar = progress.add_task("Downloading", total=None)
        for attempt in range(ATTEMPTS):
            if attempt:
                logger.warning("The download broke off (%s); going on from byte %d.", fault, _size(part))
                time.sleep(PAUSE_S * 2 ** (attempt - 1))
            try:
                if _attempt(client, url, part, progress, bar):
                    return
                fault = "the server is busy"
            except httpx.InvalidURL as exc:
                raise SourceError(f"{shown(url)} is not an address: {exc}.") from exc
            except httpx.RequestError as exc:
                fault = str(exc) or type(exc).__name__
    raise SourceError(
        f"{shown(url)} could not be fetched in {ATTEMPTS} attempts ({fault}). "
        f"{_size(part)} bytes are kept; the same command goes on from there."
    )


def _attempt(client: httpx.Client, url: str, part: Path, progress: Progress, bar: TaskID) -> bool:
    """One request; True when the file is complete, False when the server asks to come again later."""
    have = _size(part)
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    with client.stream("GET", url, headers=headers) as response:
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            total = re.fullmatch(r"bytes \*/(\d+)", response.headers.get("Content-Range", ""))
            if total and int(total[1]) == have:
                return True
            part.unlink()
            return False
        if response.status_code in (408, 425, 429) or response.status_code >= 500:
            return False
        if response.status_code not in (httpx.codes.OK, httpx.codes.PARTIAL_CONTENT):
            answer = f"{response.status_code} {response.reason_phrase}"
            raise SourceError(f"{shown(url)} answers {answer}. Check the address.")
        partial = response.status_code == httpx.codes.PARTIAL_CONTENT
        goes_on = partial and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if partial and not goes_on:
            part.unlink(missing_ok=True)
            return False
        start = have if goes_on else 0  # a server that ignores the range sends everything again
        length = response.headers.get("Content-Length")
        progress.update(bar, completed=start, total=start + int(length) if length else None)
        with part.open("ab" if goes_on else "wb") as file:
            for chunk in response.iter_raw():  # as it comes, so that nothing received is lost when it breaks off
                file.write(chunk)
                progress.advance(bar, len(chunk))
    return True


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0
