"""A real ``bentoml serve`` for tests: started on a free port, bounded in time, stopped with everything it started."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[1]
SECONDS = 60
NAME, PASSWORD = "anna", "correct horse battery"


@dataclass(frozen=True)
class Service:
    """A service that answers."""

    url: str
    process: int
    log: Path
    seconds: float
    """From the command to the first answer."""

    def client(self, name: str = NAME, password: str = PASSWORD) -> httpx.Client:
        return httpx.Client(base_url=self.url, auth=(name, password), timeout=SECONDS, trust_env=False)


@contextmanager
def served(
    log: Path, environment: Mapping[str, str], target: str | None = None, wait_for: str = "/readyz"
) -> Iterator[Service]:
    """``bentoml serve`` from the checkout (or of a built bento, named by ``target``) until the block ends."""
    port = free_port()
    command = [sys.executable, "-m", "bentoml", "serve", *([target] if target else [])]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    started = time.perf_counter()
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command,
            cwd=ROOT if target is None else log.parent,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            while not _answers(url + wait_for):
                if process.poll() is not None or time.perf_counter() - started > SECONDS:
                    raise AssertionError(f"the service did not start:\n{log.read_text()}")
                time.sleep(0.05)
            yield Service(url, process.pid, log, time.perf_counter() - started)
        finally:
            _stop(process)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def settles(condition: Callable[[], bool], seconds: float = SECONDS) -> bool:
    """Whether the condition comes true in that time."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False).is_success
    except httpx.TransportError:
        return False


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(20)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(20)
