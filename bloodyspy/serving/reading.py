"""From uploads to observations: the road of the pictures, walked in a bounded pool of threads."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bloodyspy.errors import ImageError
from bloodyspy.model.explanation import Explanation
from bloodyspy.observation import NOWHERE, Observation, Origin
from bloodyspy.serving import tracing
from bloodyspy.serving.line import Answer, Asked, Line, Taken
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
    explanations: tuple[Explanation | ImageError, ...] = ()
    """Where they were asked for: one for each upload."""


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
        self._line, self._threads = Line(threads), threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="reader")
        # a thread of their own: explanations take long, and no answer shall stand behind them
        self._explaining = ThreadPoolExecutor(1, thread_name_prefix="explainer")

    async def read(self, uploads: Sequence[Upload], request_id: str, origin: Origin = NOWHERE) -> Reading:
        """Walk the road with the uploads; a picture that cannot be read gives its error in the place of an observation.

        Pictures of several requests that wait at the same time are classified together: docs/decisions/0038.

        Raises:
            ModelUnavailable: there is no model to answer with.
        """
        payloads = [upload.payload for upload in uploads]
        answer: Answer = asyncio.get_running_loop().create_future()
        asked = Asked(self._model.current(), payloads, request_id, answer, origin)
        self._line.join(asked)
        self._metrics.waiting(self._line.waiting)
        try:
            for _ in range(min(len(payloads), self._threads)):
                self._pool.submit(self._work)
            return Reading(asked.served, await asked.answer)
        finally:
            self._line.leave(asked)

    async def explain(
        self, uploads: Sequence[Upload], served: Served | None = None
    ) -> tuple[Explanation | ImageError, ...]:
        """Why each answer is what it is; takes nine times as long as the answers, one at a time. No row is logged.

        Raises:
            ModelUnavailable: there is no model to answer with.
        """
        loop, explain = asyncio.get_running_loop(), (served or self._model.current()).classifier.explain

        def watched(payload: bytes) -> Explanation:
            with self._progress:
                return explain(payload)

        async def one(upload: Upload) -> Explanation | ImageError:
            try:
                return await loop.run_in_executor(self._explaining, watched, upload.payload)
            except ImageError as exc:
                return exc

        return tuple(await asyncio.gather(*map(one, uploads)))

    def close(self) -> None:
        """Finish what was begun."""
        self._explaining.shutdown(wait=True)
        self._pool.shutdown(wait=True)

    def _work(self) -> None:
        while taken := self._line.take():
            self._metrics.waiting(self._line.waiting)
            try:
                with self._progress:
                    # The spans stand below the request of the first picture: a batch has one parent only.
                    taken[0].asked.context.copy().run(self._classify, taken)
            finally:
                self._line.done()

    def _classify(self, taken: Sequence[Taken]) -> None:
        try:
            with tracing.span("decode, describe, graph"):
                outcomes = taken[0].asked.served.classifier.observe_all([one.payload for one in taken])
        except Exception as exc:  # noqa: BLE001 - it is raised again where the request is answered
            if len(taken) == 1:
                _fail(taken[0].asked, exc)
            else:  # one picture may be the cause: nobody else's request shall fail with it
                for one in taken:
                    self._classify([one])
            return
        self._metrics.batch(len(taken))
        for asked in self._line.settle(taken, outcomes):
            asked.context.copy().run(self._finish, asked)

    def _finish(self, asked: Asked) -> None:
        outcomes = [asked.outcomes[place] for place in range(len(asked.payloads))]
        try:
            with tracing.span("observation rows"):
                self._log.append(outcomes, asked.request_id, asked.served.release.version, origin=asked.origin)
            for place, outcome in enumerate(outcomes):
                if isinstance(outcome, Observation):
                    self._metrics.picture(outcome)
                    self._shadow.offer(asked.payloads[place], asked.request_id, place, asked.origin)
                else:
                    self._metrics.picture_refused(outcome)
        except Exception as exc:  # noqa: BLE001 - likewise
            _fail(asked, exc)
        else:
            _tell(asked, lambda answer: answer.set_result(outcomes))


def _fail(asked: Asked, exc: Exception) -> None:
    _tell(asked, lambda answer: answer.set_exception(exc))


def _tell(asked: Asked, outcome: Callable[[Answer], None]) -> None:
    """Settle the request's future in its event loop, unless nobody waits for it any more."""

    def settle() -> None:
        if not asked.answer.done():
            outcome(asked.answer)

    asked.answer.get_loop().call_soon_threadsafe(settle)
