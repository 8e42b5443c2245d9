"""``make bench-serving``: this service beside others on the same model, and beside the limit; all in turn, in one run.

Real pictures of BLOODYSPY_TEST_DATA, the model of BLOODYSPY_BENCH_MODEL or the best there is. Each cell is measured
anew in every round, a service after the other, so that a machine that slows down slows all of them. Writes
docs/results/serving.json.
"""

import json
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import httpx
import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.champion import champion
from benchmarks.contenders import (
    AUTHORIZATION,
    BARE,
    KERAS,
    MLFLOW,
    OURS,
    Contender,
    bare,
    bloodyspy,
    forms,
    mlflow_serve,
)
from benchmarks.limit import Limit
from benchmarks.load import Flood, Measured, Target, ask, flood, require_generators
from bloodyspy.cells import CELL_TYPES
from bloodyspy.model.classifier import Classifier
from bloodyspy.model.timing import machine

CONCURRENCY = (1, 8, 32)
PICTURES, MANY = 256, 32
TIMES = 10
"""The overload: so many times what the service sustains."""
LIMIT, LIMIT_MANY, OURS_MANY = "the limit", f"the limit, {MANY} at once", f"{OURS}, {MANY} a request"
CONCURRENCY_MANY = (1, 4)


def main(
    seconds: Annotated[float, typer.Option(help="of each cell")] = 10.0,
    rounds: Annotated[int, typer.Option(help="of all cells")] = 5,
    workers: Annotated[int, typer.Option(help="processes of each service; 0 for one a core")] = 0,
    overload: Annotated[float, typer.Option(help="seconds of the overload; 0 for none")] = 20.0,
    soak: Annotated[float, typer.Option(help="minutes of steady load, with the memory sampled")] = 0.0,
    leave_out: Annotated[list[str] | None, typer.Option(help="mlflow, keras")] = None,
    out: Annotated[Path, typer.Option(help="the results as JSON")] = Path("docs/results/serving.json"),
) -> None:
    require_generators()
    workers = workers or len(os.sched_getaffinity(0))
    _, model = champion()
    model = model.resolve()
    pictures = real_pictures()
    with tempfile.TemporaryDirectory(prefix="bench-serving-") as folder, ExitStack() as stack:
        scratch = Path(folder)
        for name in ("ours", "bare", "mlflow", "keras", "pictures"):
            (scratch / name).mkdir()
        for number, payload in enumerate(pictures):
            (scratch / "pictures" / f"{number:04}").write_bytes(payload)
        ours = stack.enter_context(bloodyspy(model, pictures, workers, scratch / "ours"))
        contenders = [ours, stack.enter_context(bare(model, pictures, workers, scratch / "bare", "graph"))]
        if "mlflow" not in (leave_out or ()):
            contenders.append(stack.enter_context(mlflow_serve(model, pictures, workers, scratch / "mlflow")))
        if "keras" not in (leave_out or ()):
            contenders.append(stack.enter_context(bare(model, pictures, workers, scratch / "keras", "network")))
        many = Target(ours.target.url, ours.target.content_type, forms(pictures, scratch / "many", MANY), AUTHORIZATION)
        limit = stack.enter_context(Limit(model, scratch / "pictures", workers))

        for contender in contenders:  # the first answers compile graphs and verify passwords
            ask(contender.target, 8, min(seconds, 3.0))
        cells, speeds = measure(contenders, many, limit, seconds, rounds)
        results = {
            "machine": machine(),
            "workers": workers,
            "seconds": seconds,
            "rounds": rounds,
            "ready_seconds": {contender.name: round(contender.ready_seconds, 2) for contender in contenders},
            "cells": {f"{name} @ {n}": [asdict(one) for one in found] for (name, n), found in cells.items()},
            "pictures_per_second": {f"{name} @ {n}": found for (name, n), found in speeds.items()},
        }
        show(cells, speeds, ours.ready_seconds)
        if overload:
            results["overload"] = overloaded(ours, model, cells, scratch / "ours", overload)
        if soak:
            results["soak"] = soaked(ours, soak)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    Console().print(f"Written to {out}.")


def real_pictures() -> list[bytes]:
    named = os.environ.get("BLOODYSPY_TEST_DATA")
    files = sorted(Path(named, "pbc").glob("*/[!.]*.jpg")) if named else []
    if not files:
        raise SystemExit("Set BLOODYSPY_TEST_DATA to the folder that holds the real images as pbc/TYPE/*.jpg.")
    return [path.read_bytes() for path in files[:: max(1, len(files) // PICTURES)][:PICTURES]]


def measure(
    contenders: Sequence[Contender], many: Target, limit: Limit, seconds: float, rounds: int
) -> tuple[dict[tuple[str, int], list[Measured]], dict[tuple[str, int], list[float]]]:
    """All cells, round after round, and what the limit is for so many at a time."""
    cells: dict[tuple[str, int], list[Measured]] = {}
    speeds: dict[tuple[str, int], list[float]] = {}
    for _ in range(rounds):
        for concurrency in CONCURRENCY:
            found = limit.pictures_per_second(seconds, 1, concurrency)
            speeds.setdefault((LIMIT, concurrency), []).append(found)
            for contender in contenders:
                asked = ask(contender.target, concurrency, seconds)
                cells.setdefault((contender.name, concurrency), []).append(asked)
        for concurrency in CONCURRENCY_MANY:
            found = limit.pictures_per_second(seconds, MANY, concurrency)
            speeds.setdefault((LIMIT_MANY, concurrency), []).append(found)
            cells.setdefault((OURS_MANY, concurrency), []).append(ask(many, concurrency, seconds))
    return cells, speeds


def per_second(found: Sequence[Measured]) -> float:
    return statistics.median(one.per_second for one in found)


def show(
    cells: dict[tuple[str, int], list[Measured]], speeds: dict[tuple[str, int], list[float]], ready: float
) -> None:
    """Medians over the rounds, and this service's ratios."""
    limit = {cell: statistics.median(found) for cell, found in speeds.items()}
    titles = ("service", "at a time", "requests/s", "p50 ms", "p99 ms", "p99 / p50", "refused, failed", "we / it")
    table = Table(*titles, title=f"{machine()}; ready after {ready:.1f} s", title_justify="left")
    for (name, concurrency), found in cells.items():
        p50, p99 = (statistics.median(getattr(one, key) for one in found) for key in ("p50", "p99"))
        ours = cells.get((OURS, concurrency))
        speed = per_second(found)
        ratio = f"{per_second(ours) / speed:.2f}" if ours and speed and name in (BARE, MLFLOW, KERAS) else ""
        wrong = f"{sum(one.refused for one in found)}, {sum(one.failed for one in found)}"
        table.add_row(
            name,
            str(concurrency),
            f"{speed:.1f}",
            f"{p50:.1f}",
            f"{p99:.1f}",
            f"{p99 / p50 if p50 else float('nan'):.1f}",
            wrong,
            ratio,
        )
    for (name, concurrency), most in limit.items():
        service, pictures = (OURS, 1) if name == LIMIT else (OURS_MANY, MANY)
        share = pictures * per_second(cells[service, concurrency]) / most
        table.add_row(name, str(concurrency), f"{most:.1f} images", "", "", "", "", f"{share:.2f}")
    Console(width=130).print(table)


def overloaded(
    ours: Contender, model: Path, cells: dict[tuple[str, int], list[Measured]], place: Path, seconds: float
) -> dict[str, float | dict[str, float]]:
    """Ten times what is sustained: who is let in is served in time, rightly and logged; all others are told to wait."""
    sustained = per_second(cells[OURS, max(CONCURRENCY)])
    before, prober = settled_rows(place), Prober(ours.target.url, model)
    prober.start()
    found: Flood = flood(ours.target, TIMES * sustained, TIMES * max(CONCURRENCY), seconds)
    prober.stop()
    lost = found.accepted + prober.answered - (settled_rows(place) - before)
    p99 = {n: statistics.median(one.p99 for one in cells[OURS, n]) for n in CONCURRENCY}
    table = Table("overload", "value", title=f"{TIMES} times {sustained:.0f} requests/s", title_justify="left")
    facts: dict[str, float | dict[str, float]] = {
        "offered_per_second": TIMES * sustained,
        "answered_per_second": found.per_second,
        "accepted_per_second": found.per_second * found.accepted / found.sent,
        "sent": found.sent,
        "accepted": found.accepted,
        "told_to_wait": found.told_to_wait,
        "otherwise": found.otherwise,
        "accepted_p50_ms": found.p50,
        "accepted_p99_ms": found.p99,
        "refused_p99_ms": found.p99_refused,
        "accepted_p99_by_p99_at": {str(n): found.p99 / value for n, value in p99.items()},
        "rows_missing": lost,
        "probes_answered": prober.answered,
        "probes_wrong": prober.wrong,
    }
    for name, value in facts.items():
        table.add_row(name, str(value) if isinstance(value, dict) else f"{value:.1f}")
    Console().print(table)
    return facts


def settled_rows(place: Path) -> int:
    """Rows of the observation log, once what was still being worked on is there."""
    found = -1
    while found != (found := rows(place)):
        time.sleep(2)
    return found


def rows(place: Path) -> int:
    return sum(len(path.read_bytes().splitlines()) for path in (place / "var" / "observations").glob("*/*.jsonl"))


class Prober(threading.Thread):
    """One client among the flood that reads its answers, and comes again when it is told to."""

    def __init__(self, url: str, model: Path) -> None:
        super().__init__(daemon=True)
        self._url, self._ended = url, threading.Event()
        classifier = Classifier.load(model)
        pictures = real_pictures()[:8]
        self._expected = [(picture, classifier.observe(picture).probabilities) for picture in pictures]
        self.answered = self.wrong = 0

    def run(self) -> None:
        with httpx.Client(headers={"Authorization": AUTHORIZATION}, timeout=60, trust_env=False) as client:
            while not self._ended.wait(0.05):
                picture, expected = self._expected[self.answered % len(self._expected)]
                answer = client.post(self._url, files={"file": ("cell.jpg", picture)})
                if answer.status_code == 429:
                    self.wrong += "Retry-After" not in answer.headers
                    continue
                found = answer.json()["results"][0]["probabilities"]
                self.wrong += not np.allclose([found[cell] for cell in CELL_TYPES], expected, atol=1e-3)
                self.answered += 1

    def stop(self) -> None:
        self._ended.set()
        self.join(60)


def soaked(ours: Contender, minutes: float) -> dict[str, float | list[float]]:
    """Steady load; memory from the first tenth of the time to the last."""
    samples: list[float] = []
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(max(1.0, minutes * 60 / 200)):
            samples.append(ours.resident_mb())

    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    found = ask(ours.target, 8, minutes * 60)
    ended.set()
    sampler.join()
    tenth = max(1, len(samples) // 10)
    first, last = (statistics.median(part) for part in (samples[tenth : 2 * tenth] or samples, samples[-tenth:]))
    growth = last / first - 1
    Console().print(
        f"Soak of {minutes:g} minutes: {found.requests} requests, {found.refused} refused, {found.failed} failed; "
        f"{first:.0f} MB after a tenth of the time, {last:.0f} MB at the end ({growth:+.1%})."
    )
    return {**asdict(found), "growth": growth, "resident_mb": [round(one, 1) for one in samples]}


if __name__ == "__main__":
    typer.run(main)
