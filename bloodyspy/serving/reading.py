"""From uploads to observations: the road of each picture, walked in a bounded pool of threads."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bloodyspy.errors import ImageError
from bloodyspy.observation import Observation
from bloodyspy.serving import tracing
from bloodyspy.serving.metrics import Metrics
from bloodyspy.serving.observation_log import ObservationLog
from bloodyspy.serving.served import Served, ServedModel
from bloodyspy.serving.shadow import Shadow
from bloodyspy.serving.uploads import Upload
from bloodyspy.serving.watchdog import Progress


@dataclass(frozen=True, slots=True)
class Reading:
    """What one request's pictures turned out to be, in the order of the uploads, all by one model."""

    served: Served
    outcomes: list[Observation | ImageError]


class Reader:
    """Classifies uploads, logs an observation of each and offers it to the shadow; the event loop stays free."""

    def __init__(
        self,
        model: ServedModel,
        log: ObservationLog,
        shadow: Shadow,
        threads: int,
        metrics: Metrics,
        progress: Progress,
    ) -> None:
        self._model, self._log, self._shadow = model, log, shadow
        self._metrics, self._progress = metrics, progress
        self._accepted = 0  # and not answered yet; changed in the event loop only
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="reader")

    async def read(self, uploads: Sequence[Upload], request_id: str) -> Reading:
        """Walk the road with each upload; a picture that cannot be read gives its error in the place of an observation.

        Raises:
            ModelUnavailable: there is no model to answer with.
        """
        served = self._model.current()
        if len(uploads) == 1:
            return Reading(served, [await self._in_pool(served, uploads[0], request_id, 0)])
        # A large request has at most one picture a thread in the queue, so that small ones pass it by.
        turn = asyncio.Semaphore(self._threads)

        async def in_turn(upload: Upload, picture: int) -> Observation | ImageError:
            async with turn:
                return await self._in_pool(served, upload, request_id, picture)

        return Reading(served, list(await asyncio.gather(*map(in_turn, uploads, range(len(uploads))))))

    def close(self) -> None:
        """Finish what was begun."""
        self._pool.shutdown(wait=True)

    async def _in_pool(self, served: Served, upload: Upload, request_id: str, picture: int) -> Observation | ImageError:
        loop, observe = asyncio.get_running_loop(), tracing.carried(self._observe)
        self._accepted += 1
        self._metrics.waiting(self._accepted - self._progress.working)
        try:
            return await loop.run_in_executor(self._pool, observe, served, upload, request_id, picture)
        finally:
            self._accepted -= 1
            self._metrics.waiting(max(0, self._accepted - self._progress.working))

    def _observe(self, served: Served, upload: Upload, request_id: str, picture: int) -> Observation | ImageError:
        with self._progress:
            try:
                with tracing.span("decode, describe, graph"):
                    observation = served.classifier.observe(upload.payload)
            except ImageError as error:
                self._metrics.picture_refused(error)
                return error
            self._metrics.picture(observation)
            with tracing.span("observation row"):
                self._log.append([observation], request_id, served.release.version, picture)
        self._shadow.offer(upload.payload, request_id, picture)
        return observation
