"""``make bench-store``: a month of observations written as logs, collected, compacted and queried.

Each step is a process of its own, so that its peak memory is its own. ROWS=N draws fewer than a million.
"""

import json
import multiprocessing
import os
import resource
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from bloodyspy.cells import CELL_TYPES
from bloodyspy.images.corruption import Shift
from bloodyspy.images.statistics import STATISTICS
from bloodyspy.model.familiarity import COMPARED
from bloodyspy.model.signatures import Signature, Signatures
from bloodyspy.observation import COLUMNS, EMBEDDING, LIVE_COLUMNS, PROBABILITIES
from bloodyspy.store.collecting import collect
from bloodyspy.store.place import Place
from bloodyspy.store.record import latest
from bloodyspy.store.upkeep import compact
from bloodyspy.store.windows import Wanted, window
from monitoring.drift import Rule, judge

ROWS = int(os.environ.get("ROWS", "1000000"))
DAYS, WORKERS, WINDOW = 30, 4, 10_000
ROUNDS = 6
"""Every day's logs are collected so many times while they grow, and leave so many parts."""
START = datetime(2026, 10, 1, tzinfo=UTC)
RUNS = ("a" * 32, "b" * 32)
"""The champion changes after twenty days."""
FOLDER = Path("var/benchmarks/store")


def write(turn: int) -> str:
    """A day's rows come in at even distances, shared out among the workers; each answer is another."""
    random, encode = np.random.default_rng(turn), json.JSONEncoder(allow_nan=False).encode
    for day in range(DAYS):
        rows = ROWS // DAYS // ROUNDS
        values = random.normal(120, 30, (rows, len(STATISTICS)))
        shares = random.dirichlet(np.full(len(CELL_TYPES), 0.2), rows)
        doubt = random.beta(2, 8, (rows, 2))
        places = random.normal(size=(rows, len(EMBEDDING))).round(3)
        start = START + timedelta(days=day + turn / ROUNDS)
        texts: list[list[str]] = [[] for _ in range(WORKERS)]
        for row in range(rows):
            cell = int(shares[row].argmax())
            content: dict[str, object] = dict(zip(STATISTICS, values[row].tolist(), strict=True))
            content |= {"width": 360, "height": 363, **dict(zip(PROBABILITIES, shares[row].tolist(), strict=True))}
            content |= {"predicted": str(CELL_TYPES[cell]), "confidence": float(shares[row, cell])}
            content |= {"novelty": float(doubt[row, 0]), "foreignness": float(doubt[row, 1])}
            content |= dict(zip(EMBEDDING, places[row].tolist(), strict=True))
            content |= {"action": "auto", "reasons": "", "run_id": RUNS[day >= 20], "data_version": "d" * 32}
            moment = start + timedelta(seconds=86_400 / ROUNDS * row / rows)
            content |= {
                "time": moment.isoformat(timespec="microseconds"),
                "request_id": f"{day:02}{turn}{row // 4:029x}",
            }
            content |= {"picture": row % 4, "model_version": 3, "site": f"LAB-{row % 3}", "instrument": "DM96-1"}
            content["specimen"] = f"S-2026-{day * 100 + turn * 16 + row // 400:05}"
            texts[row % WORKERS].append(encode({name: content[name] for name in (*COLUMNS, *LIVE_COLUMNS)}) + "\n")
        folder = FOLDER / "logs" / f"{start:%Y-%m-%d}"
        folder.mkdir(parents=True, exist_ok=True)
        for worker, lines in enumerate(texts):
            with (folder / f"{4700 + worker}.jsonl").open("a", encoding="utf-8") as stream:
                stream.write("".join(lines))
    size = sum(path.stat().st_size for path in FOLDER.rglob("*.jsonl"))
    return f"{DAYS * WORKERS} logs, {size / 1e6:,.0f} MB"


def place() -> Place:
    return Place(str((FOLDER / "store").absolute()))


def collect_all() -> str:
    done = collect(FOLDER / "logs", place())
    return f"{done.rows:,} rows; {_size()}"


def compact_all() -> str:
    done = compact(place())
    return f"{done.parts} parts of {done.days} days; {_size()}"


def newest() -> str:
    return f"{len(window(place(), Wanted(run_id=RUNS[1]), WINDOW).frame):,} rows"


def judged() -> str:
    """The reference is rows of the same model, of the day before; thresholds are made anew."""
    until = START + timedelta(days=29)
    reference = window(place(), Wanted(run_id=RUNS[1], until=until), 500).frame
    newest = window(place(), Wanted(run_id=RUNS[1], since=until), WINDOW).frame
    mark = Signature(kind=Shift.STAIN, severity=3, changes=dict.fromkeys(COMPARED, 1.0))
    verdict = judge(reference, newest, Rule(50, 0.001), Signatures(images=1, known=(mark,)))
    return f"{verdict.overall}: {len(verdict.columns)} distances of {verdict.rows:,} rows"


def older_model() -> str:
    return f"{len(window(place(), Wanted(run_id=RUNS[0]), WINDOW).frame):,} rows"


def one_site() -> str:
    since = START + timedelta(days=22)
    wanted = Wanted(run_id=RUNS[1], since=since, until=since + timedelta(days=2), site="LAB-1")
    return f"{len(window(place(), wanted).frame):,} rows"


def one_specimen() -> str:
    return f"{len(window(place(), Wanted(specimen='S-2026-00400')).frame):,} rows, of all {DAYS} days"


STEPS: dict[str, Callable[[], str]] = {
    **{
        name: step
        for turn in range(ROUNDS)
        for name, step in (
            (f"write the logs, part {turn + 1} (not the store's work)", partial(write, turn)),
            (f"collect part {turn + 1}", collect_all),
        )
    },
    "collect, nothing is new": collect_all,
    "compact": compact_all,
    f"the newest {WINDOW:,} of the champion": newest,
    f"the newest {WINDOW:,} of the champion judged": judged,
    f"the newest {WINDOW:,} of the model before": older_model,
    "two days of one site": one_site,
    "one smear": one_specimen,
}


def _size() -> str:
    parts = latest(place()).parts
    return f"{len(parts)} parts, {sum(part.size for part in parts) / 1e6:,.0f} MB"


def _measured(step: str, answer: Connection) -> None:
    started = time.perf_counter()
    came = STEPS[step]()
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    answer.send((came, seconds, time.process_time(), peak))


def main() -> None:
    """Every step in a fresh process."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    table = Table("step", "seconds", "processor", "peak MiB", "what came of it", title=f"{ROWS:,} observations")
    fresh = multiprocessing.get_context("spawn")
    for step in STEPS:
        here, there = fresh.Pipe()
        process = fresh.Process(target=_measured, args=(step, there))
        process.start()
        there.close()
        came, seconds, processor, peak = here.recv()
        process.join()
        table.add_row(step, f"{seconds:.2f}", f"{processor:.2f}", f"{peak:,.0f}", came)
    shutil.rmtree(FOLDER)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
