"""Keeps pictures that were answered, where a setting says so; after the answer, in a thread of its own.

What does not fit into the queue or onto the disk is lost, counted and logged: it costs no answer. Once an hour the same
thread removes what is older than the retention, also where nothing is kept any more.
"""

import functools
import logging
import threading
import time
from datetime import UTC, datetime, timedelta
from queue import Empty, SimpleQueue

from prometheus_client import Counter

from bloodyspy.errors import KeepingError
from bloodyspy.kept import Kept, store_of
from bloodyspy.labelling.audit import Auditor
from bloodyspy.settings import Keep, Settings

logger = logging.getLogger(__name__)

WAITING = 64 << 20
"""Bytes of pictures that may wait to be written."""

_AT_ONCE = 32  # pictures in one transaction
_HOUR = 3600.0


class Keeper:
    """Takes pictures and writes them when there is time."""

    room: int
    """Bytes of pictures that it would take now."""

    def __init__(self, settings: Settings, waiting: int = WAITING) -> None:
        """``waiting`` is in bytes.

        Raises:
            KeepingError: the file that is named for the key has none.
        """
        self._keep, self._days, self._store = settings.keep_images, settings.keep_days, store_of(settings)
        self._auditor = Auditor(settings.audit)
        self.room = waiting
        self._offers: SimpleQueue[Kept | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self._fault = ""
        self._clock = time.time() - time.monotonic()
        _lost(), _kept()  # so that the metrics say 0 at first

    def start(self) -> None:
        """Keep from now on; nothing happens where there is nothing to keep and nothing kept."""
        if self._keep is not Keep.NONE or self._store.exists:
            self._thread.start()

    def stop(self, seconds: float = 10) -> None:
        """Write what waits, if that is done in time."""
        if self._thread.is_alive():
            self._offers.put(None)
            self._thread.join(seconds)

    def offer(self, one: Kept) -> None:
        """Take a picture, if the setting says so and there is room; never waits, never raises.

        Those of the audit are kept as well where only those in review are: without them it could not be made.
        """
        if self._keep is Keep.NONE:
            return
        if (
            self._keep is Keep.REVIEW
            and one.action != "review"
            and not self._auditor.holds(one.request_id, one.picture)
        ):
            return
        with self._lock:
            fits = len(one.payload) <= self.room
            if fits:
                self.room -= len(one.payload)
        if fits:
            self._offers.put(one)
        else:
            self._lose(1, "too many wait to be written")

    def _run(self) -> None:
        next_sweep = time.monotonic()
        going_on = True
        while going_on:
            if time.monotonic() >= next_sweep:
                next_sweep = time.monotonic() + _HOUR
                self._sweep()
            several: list[Kept] = []
            try:
                one = self._offers.get(timeout=max(0.0, next_sweep - time.monotonic()))
                while one is not None and len(several) < _AT_ONCE:
                    several.append(one)
                    one = self._offers.get_nowait() if len(several) < _AT_ONCE else one
                going_on = one is not None
            except Empty:
                pass
            self._write(several)

    def _write(self, several: list[Kept]) -> None:
        if not several:
            return
        try:
            self._store.keep(several)
            _kept().inc(len(several))
            self._fault = ""
        except KeepingError as exc:
            self._lose(len(several), str(exc))
        finally:
            with self._lock:
                self.room += sum(len(one.payload) for one in several)

    def _lose(self, number: int, why: str) -> None:
        _lost().inc(number)
        if why != self._fault:  # a full disk fills no log
            logger.error("Images that were to be kept are lost: %s", why)
        self._fault = why

    def _sweep(self) -> None:
        jumped = abs(time.time() - time.monotonic() - self._clock)
        if jumped > _HOUR:  # whoever sets the clock wrong for a moment shall not lose a year's images
            logger.error("The clock was set by %.0f s: no image is removed until the service starts anew", jumped)
            return
        try:
            removed = self._store.expire(datetime.now(UTC) - timedelta(days=self._days))
        except KeepingError as exc:
            logger.error("Images past their retention are still there: %s", exc)
            return
        if removed.images or removed.rows:
            logger.info("%d image(s) and %d row(s) were older than %d days", removed.images, removed.rows, self._days)


@functools.cache
def _kept() -> Counter:
    return Counter("bloodyspy_images_kept_total", "Pictures that were kept")


@functools.cache
def _lost() -> Counter:
    return Counter("bloodyspy_images_lost_total", "Pictures that were to be kept and could not be")
