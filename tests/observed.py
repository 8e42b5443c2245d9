"""Observations for tests of monitoring: rows with the declared columns, and a log of them as the service writes it."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from bloodyspy.cells import CELL_TYPES
from bloodyspy.images.corruption import Shift
from bloodyspy.images.statistics import STATISTICS
from bloodyspy.model.familiarity import COMPARED
from bloodyspy.model.signatures import Signature, Signatures
from bloodyspy.observation import COLUMNS, EMBEDDING, PROBABILITIES

RUN = "a" * 32
START = datetime(2026, 11, 22, 23, 55, tzinfo=UTC)


def observed(
    rows: int, seed: int, *, stain: float = 0.0, mix: list[float] | None = None, run_id: str = RUN
) -> pd.DataFrame:
    """Rows whose statistics hang together as real ones do; ``stain`` moves the colours by that many deviations."""
    random = np.random.default_rng(seed)
    cells = random.choice(len(CELL_TYPES), rows, p=mix)
    lamp, focus = random.normal(size=(2, rows, 1))
    values = 0.7 * lamp + 0.5 * focus + random.normal(size=(rows, len(STATISTICS)))
    frame = pd.DataFrame(100 + 10 * values, columns=list(STATISTICS))
    frame["width"], frame["height"] = 360, 363
    frame["darkest"] = frame["darkest"].round()
    for name in ("blue_yellow", "green_red", "saturation"):
        frame[name] += stain * 13
    frame[list(PROBABILITIES)] = random.dirichlet(np.ones(len(CELL_TYPES)), rows)
    frame["predicted"] = [str(CELL_TYPES[cell]) for cell in cells]
    frame["confidence"] = random.beta(8, 2, rows)
    frame["novelty"], frame["foreignness"] = random.beta(2, 8, rows), random.gamma(9, 0.1, rows)
    frame["action"], frame["reasons"] = "auto", ""
    frame[list(EMBEDDING)] = random.normal(size=(rows, len(EMBEDDING))) + np.eye(8, len(EMBEDDING))[cells] * 4
    frame["run_id"], frame["data_version"] = run_id, "d" * 32
    return frame[list(COLUMNS)]


def signatures() -> Signatures:
    """Marks of three faults on such rows; ``stain`` of :func:`observed` leaves the first."""
    marks = {
        Shift.STAIN: {"blue_yellow": 1.0, "green_red": 1.0, "saturation": 1.0},
        Shift.BLUR: {"sharpness": -1.0, "edges": -1.0, "noise": -1.0},
        Shift.ILLUMINATION: {"brightness": -1.0, "background": -1.0, "lightest": -1.0},
    }
    return Signatures(
        images=16,
        known=tuple(
            Signature(kind=kind, severity=3, changes={name: mark.get(name, 0.0) for name in COMPARED})
            for kind, mark in marks.items()
        ),
    )


def live(frame: pd.DataFrame, start: datetime = START, seconds: float = 1.0) -> pd.DataFrame:
    """The rows as a window: with the columns that the service adds."""
    times = [start + timedelta(seconds=seconds * row) for row in range(len(frame))]
    return frame.assign(
        time=pd.Series(times, index=frame.index, dtype="datetime64[us, UTC]"),
        request_id=[f"request-{row}" for row in range(len(frame))],
        picture=0,
        model_version=3,
        site="",
        instrument="",
        specimen="",
    )


def log(folder: Path, frame: pd.DataFrame, workers: int = 1) -> None:
    """Append a window to a log, shared out among workers as the service does."""
    for row, record in enumerate(frame.to_dict("records")):
        day = folder / record["time"].strftime("%Y-%m-%d")
        day.mkdir(parents=True, exist_ok=True)
        record["time"] = record["time"].to_pydatetime().isoformat(timespec="microseconds")
        with (day / f"{4700 + row % workers}.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")
