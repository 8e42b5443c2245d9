"""The shadow: a challenger that answers live requests beside the champion, unheard.

What it says goes into an observation log of its own, in rows of the same columns, and nowhere else. Whatever is wrong
with it (it cannot be loaded, it raises, it is slow) is counted and logged, and no answer is any different.
"""

import functools
import logging
import os
import threading
import time
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from prometheus_client import Counter

from bloodyspy.errors import ModelUnavailable
from bloodyspy.observation import NOWHERE, Origin
from bloodyspy.serving.observation_log import ObservationLog
from bloodyspy.serving.served import LOOK_EVERY, ServedModel
from bloodyspy.serving.uploads import MAX_BODY

logger = logging.getLogger(__name__)

WAITING = MAX_BODY
"""Bytes of pictures that wait at most, in one worker process: as many as one request may bring."""

NICENESS = 19
"""Of the shadow's thread, the system's lowest priority: it computes in what the champion leaves over."""


@dataclass(frozen=True, slots=True)
class _Offered:
    payload: bytes
    request_id: str
    picture: int
    origin: Origin


class Shadow:
    """Classifies what is offered to it, one picture after the other, in a thread of its own."""

    room: int
    """Bytes of pictures that it would take now."""

    def __init__(self, model: ServedModel, log: ObservationLog, waiting: int = WAITING) -> None:
        """``model`` is followed by this thread, not by its own; ``waiting`` is in bytes."""
        self._model, self._log, self.room = model, log, waiting
        self._offers: SimpleQueue[_Offered] = SimpleQueue()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._fault = ""
        _dropped(), _failed()  # so that the metrics say 0 before the first loss

    def start(self) -> None:
        """Load what is named now and answer from then on; returns at once."""
        threading.Thread(target=self._run, name="shadow", daemon=True).start()

    def stop(self) -> None:
        """Answer no more; what waits is left."""
        self._stopped.set()

    def offer(self, payload: bytes, request_id: str, picture: int, origin: Origin = NOWHERE) -> None:
        """Take a picture that the champion has answered, if there is a shadow and room; never waits, never raises.

        Args:
            payload: bytes of a picture that the champion could read.
            request_id: of its request.
            picture: its place among the pictures of the request, from 0.
            origin: of the request's pictures.
        """
        if not self._model.ready:
            return
        with self._lock:
            fits = len(payload) <= self.room
            if fits:
                self.room -= len(payload)
        if fits:
            self._offers.put(_Offered(payload, request_id, picture, origin))
        else:
            _dropped().inc()

    def _run(self) -> None:
        _step_back()
        next_look = time.monotonic()
        while not self._stopped.is_set():
            try:
                if time.monotonic() >= next_look:
                    next_look = time.monotonic() + LOOK_EVERY
                    if not self._model.refresh():
                        _failed().inc()
                self._answer(self._offers.get(timeout=LOOK_EVERY))
            except Empty:
                continue
            except Exception as exc:  # nobody waits for this answer, whatever was wrong with it; the next may be right
                _failed().inc()
                if repr(exc) != self._fault:  # a shadow that fails on each picture fills no log
                    logger.exception("The shadow failed; the answers of the service are not touched by it")
                self._fault = repr(exc)

    def _answer(self, offered: _Offered) -> None:
        try:
            served = self._model.current()
            observation = served.classifier.observe(offered.payload)
            version = served.release.version
            self._log.append([observation], offered.request_id, version, offered.picture, offered.origin)
        except ModelUnavailable:
            return  # the shadow was withdrawn since
        finally:
            with self._lock:
                self.room += len(offered.payload)


def _step_back() -> None:
    """Lower this thread's priority, and with it that of the threads which an engine starts from it, where possible."""
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)  # Linux takes the id of a thread
    except OSError as exc:
        logger.warning("The shadow computes with the priority of the champion: %s", exc)


@functools.cache
def _dropped() -> Counter:
    return Counter("bloodyspy_shadow_dropped_total", "Pictures that the shadow had no room for")


@functools.cache
def _failed() -> Counter:
    return Counter(
        "bloodyspy_shadow_failed_total",
        "Pictures that the shadow could not answer, and seconds for which it could not be loaded",
    )
