"""Load from public generators: wrk asks again as soon as it is answered, hey at a rate of its own."""

import csv
import io
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SCRIPT = Path(__file__).with_name("load.lua")


@dataclass(frozen=True)
class Target:
    """What is asked, and how."""

    url: str
    content_type: str
    bodies: Path
    """Folder of request bodies."""
    authorization: str | None = None


@dataclass(frozen=True)
class Measured:
    """What wrk saw; milliseconds."""

    requests: int
    seconds: float
    p50: float
    p99: float
    refused: int
    """Answers other than 2xx and 3xx."""
    failed: int

    @property
    def per_second(self) -> float:
        return (self.requests - self.refused) / self.seconds


@dataclass(frozen=True)
class Flood:
    """What hey saw."""

    sent: int
    per_second: float
    """Answers of any kind."""
    accepted: int
    told_to_wait: int
    """429."""
    otherwise: int
    """Any other answer, or none."""
    p50: float
    p99: float
    """Of the accepted, milliseconds."""
    p99_refused: float


def require_generators() -> None:
    missing = [name for name in ("wrk", "hey") if shutil.which(name) is None]
    if missing:
        raise SystemExit(f"Install the load generators first: apt-get install {' '.join(missing)}")


def ask(target: Target, concurrency: int, seconds: float) -> Measured:
    """So many requests at a time, for so long."""
    command = ["wrk", "-t1", f"-c{concurrency}", f"-d{seconds:g}s", "--timeout", "60s", "-s", SCRIPT, target.url]
    environment = {**os.environ, "BODIES": str(target.bodies), "CONTENT_TYPE": target.content_type}
    if target.authorization is not None:
        environment["AUTHORIZATION"] = target.authorization
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=seconds + 120)
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def flood(target: Target, rate: float, connections: int, seconds: float) -> Flood:
    """Requests at a rate, whatever becomes of them, until each has its answer."""
    sent = max(1, int(rate * seconds) // connections) * connections
    command = ["hey", "-n", str(sent), "-c", str(connections), "-q", f"{rate / connections:.4f}", "-o", "csv"]
    command += ["-m", "POST", "-T", target.content_type, "-D", next(iter(sorted(target.bodies.iterdir()))), "-t", "60"]
    if target.authorization is not None:
        command += ["-H", f"Authorization: {target.authorization}"]
    done = subprocess.run([*command, target.url], check=True, capture_output=True, text=True)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    times = {status: [1e3 * float(row["response-time"]) for row in rows if row["status-code"] == status] for status in
             {row["status-code"] for row in rows}}  # fmt: skip
    accepted, refused = times.get("200", []), times.get("429", [])
    return Flood(
        sent=sent,
        per_second=len(rows) / max(float(row["offset"]) for row in rows),
        accepted=len(accepted),
        told_to_wait=len(refused),
        otherwise=sent - len(accepted) - len(refused),
        p50=float(np.percentile(accepted, 50)) if accepted else float("nan"),
        p99=float(np.percentile(accepted, 99)) if accepted else float("nan"),
        p99_refused=float(np.percentile(refused, 99)) if refused else float("nan"),
    )
