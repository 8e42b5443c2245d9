"""What Prometheus may know of the service: one object a process, whose children are bound before they are counted.

``bentoml serve`` starts its workers with ``PROMETHEUS_MULTIPROC_DIR`` set, so every value is a number in a file of its
process that is mapped into memory: workers add up, and what a killed worker has counted stays.
"""

import functools
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from bloodyspy.cells import CELL_TYPES
from bloodyspy.errors import ImageError, ImageTooLarge, UnreadableImage
from bloodyspy.model.release import Release
from bloodyspy.observation import Observation
from bloodyspy.policy import Action, Reason

DURATIONS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds. One picture takes some 5 ms, a request may take 60 s before BentoML gives it up."""

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)

# From 500 pictures of the PBC set and 200 of other laboratories: the inner bounds split the PBC pictures at about their
# 1st, 5th, 25th, 50th, 75th, 95th and 99th percentile, the outer ones reach to where other laboratories' lie.
STATISTICS: dict[str, tuple[str, tuple[float, ...]]] = {
    "brightness": ("mean lightness, 0 to 255", (120, 150, 165, 175, 185, 192, 198, 203, 208, 217, 225, 240)),
    "background": ("lightness of the corners, 0 to 255", (140, 160, 175, 185, 192, 205, 215, 222, 231, 238, 248)),
    "sharpness": (
        "log10 of 1 + variance of the Laplacian",
        (0.4, 0.6, 0.8, 1.0, 1.2, 1.3, 1.6, 1.8, 1.9, 2.1, 2.4),
    ),
    "stain_spread": ("spread of a* and b*, 0 to 255", (3, 6, 8, 9, 12, 15, 17, 19, 21, 24, 28, 34)),
    "green_red": ("mean a*, 128 is neutral", (122, 126, 130, 133, 135, 136, 137.5, 139, 140, 141.5, 144, 148)),
    "blue_yellow": ("mean b*, 128 is neutral", (104, 110, 114, 118, 122, 126, 130, 134, 136, 138, 140, 144)),
    "noise": ("estimated standard deviation of the noise", (0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.8, 1.5, 4)),
}

NOVELTIES = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.8, 1.0)
FOREIGNNESSES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 6.0, 10.0)
CONFIDENCES = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999)

_Metric = TypeVar("_Metric", Counter, Gauge, Histogram)


class _Children(dict[tuple[str, ...], _Metric]):
    """The children of a metric by their labels' values; a dict's look-up instead of ``labels()`` in each request."""

    def __init__(self, metric: _Metric) -> None:
        super().__init__()
        self._metric: _Metric = metric

    def __missing__(self, values: tuple[str, ...]) -> _Metric:
        child = self[values] = self._metric.labels(*values)
        return child


class Metrics:
    """The metrics of one worker process. Safe to call from several threads; labels have few values by construction."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Every metric says 0 from now on, where its labels are known beforehand."""

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"bloodyspy_{name}_total", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str, mode: Any = "livesum") -> Gauge:
            return Gauge(f"bloodyspy_{name}", text, labels, registry=registry, multiprocess_mode=mode)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"bloodyspy_{name}", text, labels, registry=registry, buckets=buckets)

        self._requests = _Children(counter("requests", "Requests answered", "method", "route", "status"))
        self._durations = _Children(
            histogram("request_duration_seconds", "From a request's head to its answer's end", DURATIONS, "route")
        )
        self._received = counter("received_bytes", "Bytes of requests' bodies")
        self._sent = counter("sent_bytes", "Bytes of answers' bodies")
        self._in_flight = gauge("requests_in_flight", "Requests that are not answered yet")
        self._sign_ins_failed = counter("sign_ins_failed", "Requests whose credentials were refused")
        self._log_lines_lost = counter("access_log_lines_lost", "Lines that could not be written to the access log")
        self._waiting = gauge("pictures_waiting", "Pictures that wait for a reader")
        self._batch = histogram("batch_pictures", "Pictures of one run of the graph", BATCHES)
        self._pictures = _Children(counter("pictures", "Pictures classified, by the predicted type", "predicted"))
        self._unread = _Children(counter("pictures_refused", "Pictures that could not be read", "error"))
        self._confidence = histogram("picture_confidence_ratio", "Probability of the predicted type", CONFIDENCES)
        self._statistics = [
            (name, histogram(f"picture_{name}", f"Of each picture: {text}", buckets))
            for name, (text, buckets) in STATISTICS.items()
        ]
        self._actions = _Children(counter("actions", "Pictures, by what the policy says to do", "action"))
        self._reasons = _Children(counter("reasons", "Pictures, by each reason that the policy gives", "reason"))
        self._novelty = histogram("picture_novelty", "How unlike the training cells a picture looks", NOVELTIES)
        self._foreignness = histogram(
            "picture_foreignness", "How unlike the training pictures its statistics are", FOREIGNNESSES
        )
        self._golden = _Children(counter("golden_mismatches", "Versions that answer otherwise than when made", "role"))
        self._refused = _Children(gauge("release_refused", "Workers that could not take up what is released", "role"))
        self._served = _Children(
            gauge("served_model_info", "Workers that serve this version", "role", "version", "digest", "run_id")
        )
        self._workers = gauge("workers", "Worker processes that run")
        self._wanted = gauge("workers_wanted", "Worker processes that there shall be", mode="livemax")
        for cell in CELL_TYPES:
            self._pictures[(str(cell),)]
        for action in Action:
            self._actions[(action,)]
        for reason in Reason:
            self._reasons[(reason,)]
        for error in (UnreadableImage, ImageTooLarge):
            self._unread[(error.__name__,)]
        for role in ("release", "shadow"):
            self._golden[(role,)]
            self._refused[(role,)]

    def started(self, workers: int) -> None:
        """This process runs, one of so many. A file of a dead process with the same number may lie there still."""
        self._in_flight.set(0)
        self._waiting.set(0)
        self._workers.set(1)
        self._wanted.set(workers)

    def begun(self) -> None:
        """A request came."""
        self._in_flight.inc()

    def answered(self, method: str, route: str, status: int, seconds: float, received: int, sent: int) -> None:
        """A request was answered. Method and route must come from a fixed list, not from the client."""
        self._in_flight.dec()
        self._requests[method, route, str(status)].inc()
        self._durations[(route,)].observe(seconds)
        self._received.inc(received)
        self._sent.inc(sent)

    def sign_in_failed(self) -> None:
        """Credentials were given and refused."""
        self._sign_ins_failed.inc()

    def log_line_lost(self) -> None:
        """The access log could not be written."""
        self._log_lines_lost.inc()

    def waiting(self, pictures: int) -> None:
        """So many pictures wait for a reader of this process now."""
        self._waiting.set(pictures)

    def batch(self, pictures: int) -> None:
        """The graph was run once with so many pictures."""
        self._batch.observe(pictures)

    def picture(self, observation: Observation) -> None:
        """A picture was classified, and the policy has said what is done with it."""
        self._pictures[(observation.predicted,)].inc()
        self._confidence.observe(observation.confidence)
        for name, histogram in self._statistics:
            histogram.observe(getattr(observation.statistics, name))
        verdict = observation.verdict
        self._actions[(verdict.action,)].inc()
        for reason in verdict.reasons:
            self._reasons[(reason,)].inc()
        self._novelty.observe(verdict.novelty)
        self._foreignness.observe(verdict.foreignness)

    def picture_refused(self, error: ImageError) -> None:
        """A picture could not be read."""
        self._unread[(type(error).__name__,)].inc()

    def golden_mismatch(self, role: str) -> None:
        """A version was refused because it answers otherwise here."""
        self._golden[(role,)].inc()

    def serves(self, role: str, old: Release | None, new: Release | None) -> None:
        """This worker exchanged one version for another."""
        for release, value in ((old, 0), (new, 1)):
            if release is not None:
                self._served[role, str(release.version), release.digest, release.run_id].set(value)

    def refused(self, role: str, refused: bool) -> None:
        """Whether what is released is not what this worker serves."""
        self._refused[(role,)].set(refused)


@functools.cache
def process_metrics() -> Metrics:
    """The metrics of this process, made when they are first asked for."""
    return Metrics(REGISTRY)


def exposition() -> bytes:
    """All workers' metrics as text: the counts of dead workers with them, their gauges without."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if folder is None:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    registry.register(_Lost(_bury_the_dead(Path(folder))))
    MultiProcessCollector(registry, folder)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


class _Lost(Collector):
    """Told at each scrape: a worker that was killed cannot count itself."""

    def __init__(self, workers: int) -> None:
        self._workers = workers

    def collect(self) -> Iterable[CounterMetricFamily]:
        text = "Worker processes that ended while the service ran"
        yield CounterMetricFamily("bloodyspy_workers_lost_total", text, value=self._workers)


def _bury_the_dead(folder: Path) -> int:
    """Remove the gauges of workers that are no more, which only BentoML's orderly end would do; how many there are."""
    dead = 0
    for path in folder.glob("counter_*.db"):
        number = path.stem.removeprefix("counter_")
        if number.isdecimal() and not _lives(number):
            dead += 1
            with suppress(FileNotFoundError):  # another worker, asked at the same time, was faster
                mark_process_dead(int(number), str(folder))  # type: ignore[no-untyped-call]
    return dead


def _lives(process: str) -> bool:
    """BentoML's supervisor looks every ten seconds only, and until then a dead worker is a zombie."""
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] not in {"Z", "X"}
