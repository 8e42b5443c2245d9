"""Ends a worker that works no more, so that it does not stay for ever: BentoML starts another one."""

import asyncio
import faulthandler
import threading
from types import TracebackType

TICK = 1.0
"""Seconds between two looks."""


class Progress:
    """What the readers' threads have begun and ended. ``with progress:`` around one picture."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.begun, self.ended = 0, 0

    @property
    def working(self) -> int:
        """Pictures that threads have in hand."""
        return self.begun - self.ended

    def __enter__(self) -> None:
        with self._lock:
            self.begun += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self.ended += 1


async def watch(progress: Progress, seconds: float) -> None:
    """Run for ever; the process ends by itself where this does not come to its turn, or no picture to its end.

    The clock is :func:`faulthandler.dump_traceback_later`: a thread of C that needs neither the event loop nor the
    interpreter's lock and counts monotonic time. Wound up at each look that finds progress, it runs down ``seconds``
    after the last one, writes where every thread stands to stderr, and ends the process with 1.
    """
    ended = -1
    while True:
        if not progress.working or progress.ended != ended:
            faulthandler.dump_traceback_later(seconds, exit=True)
        ended = progress.ended
        await asyncio.sleep(min(TICK, seconds / 4))


def call_off() -> None:
    """The process comes to its own end."""
    faulthandler.cancel_dump_traceback_later()
