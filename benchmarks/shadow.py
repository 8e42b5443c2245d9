"""What a shadow costs the answers: the offer itself, and answers with and without a challenger in the shadow.

`python -m benchmarks shadow`. The best candidate plays champion and challenger. Pictures are read one after the other,
as one client sends them, and by as many readers at once as the service has; with and without a shadow in turn, each
turn when the shadow has nothing left to do.
"""

import asyncio
import logging
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.champion import champion
from bloodyspy.cells import CELL_TYPES
from bloodyspy.images.files import find
from bloodyspy.images.synthetic import draw_picture
from bloodyspy.model.artifact import Artefact
from bloodyspy.model.release import Release
from bloodyspy.serving.application import reader_threads
from bloodyspy.serving.observation_log import ObservationLog
from bloodyspy.serving.reading import Reader
from bloodyspy.serving.served import ServedModel
from bloodyspy.serving.shadow import WAITING, Shadow
from bloodyspy.serving.uploads import Upload

ROUNDS, PICTURES = 20, 60


def main() -> None:
    settings, folder = champion()
    artefact = Artefact.open(folder)
    spec = artefact.spec
    facts = {"run_id": spec.run_id, "path": str(artefact.path), "digest": artefact.digest}
    release = Release(version=1, model="bloodyspy:v1", **facts)
    files = find([settings.data]).files if settings.data.is_dir() else ()
    payloads = [path.read_bytes() for path in files[:: max(1, len(files) // PICTURES)][:PICTURES]]
    payloads = payloads or [draw_picture(CELL_TYPES[i % 8], i, 0)[1] for i in range(PICTURES)]
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as scratch:
        _measure(release, [Upload("cell", payload) for payload in payloads], Path(scratch))


def _measure(release: Release, uploads: Sequence[Upload], scratch: Path) -> None:
    threads = reader_threads(1)
    readers, shadows = {}, {}
    model = ServedModel("release", lambda: release, scratch, threads=1)
    model.refresh()
    for way, wanted in (("without a shadow", None), ("with a shadow", release)):
        challenger = ServedModel("shadow", lambda wanted=wanted: wanted, scratch, threads=1)
        shadows[way] = Shadow(challenger, ObservationLog(scratch / way / "shadow"))
        readers[way] = Reader(model, ObservationLog(scratch / way), shadows[way], threads)
        shadows[way].start()
        while wanted and not challenger.ready:
            time.sleep(0.1)
    times: dict[tuple[str, int], list[float]] = {(way, n): [] for n in (1, threads) for way in readers}
    for number in range(ROUNDS + 1):
        for (way, clients), found in times.items():
            measured = asyncio.run(_answers(readers[way], uploads, clients))
            _finish(shadows[way])
            found.extend(measured if number else ())
    table = Table("answers", "clients", "median ms", "95 % ms", "99 % ms", title=f"{ROUNDS} rounds, in turn")
    for (way, clients), found in times.items():
        table.add_row(way, str(clients), *(f"{np.percentile(found, q) * 1e3:.2f}" for q in (50, 95, 99)))
    Console().print(table)
    _offer(shadows, uploads)
    for shadow in shadows.values():
        shadow.stop()


def _finish(shadow: Shadow) -> None:
    while shadow.room < WAITING:
        time.sleep(0.01)


async def _answers(reader: Reader, uploads: Sequence[Upload], clients: int) -> list[float]:
    """Seconds of each answer, when so many clients send their pictures at once."""

    async def client(own: Sequence[Upload]) -> list[float]:
        seconds = []
        for upload in own:
            started = time.perf_counter()
            await reader.read([upload], "benchmark-1")
            seconds.append(time.perf_counter() - started)
        return seconds

    parts = await asyncio.gather(*(client(uploads[first::clients]) for first in range(clients)))
    return [one for part in parts for one in part]


def _offer(shadows: dict[str, Shadow], uploads: Sequence[Upload]) -> None:
    table = Table("one offer", "median µs", "99 % µs")
    for way, shadow in shadows.items():
        seconds = []
        for _ in range(20):
            for upload in uploads:
                started = time.perf_counter()
                shadow.offer(upload.payload, "benchmark-1", 0)
                seconds.append(time.perf_counter() - started)
            _finish(shadow)
        table.add_row(way, *(f"{np.percentile(seconds, q) * 1e6:.1f}" for q in (50, 99)))
    Console().print(table)
