"""A server in processes of its own, stopped with all it started."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

SECONDS = 180
"""That a server may take until it answers."""


@contextmanager
def started(
    name: str, command: Sequence[str], environment: Mapping[str, str], root: Path, log: Path, ready: str
) -> Iterator[tuple[str, int, float]]:
    """A server of one thread a worker, from its first answer until the block ends.

    Args:
        name: for people.
        command: of Python; the word ``{port}`` stands for a free one.
        environment: variables beside this process's own.
        root: the checkout that it runs in, with the code there.
        log: gets what it prints.
        ready: path that answers when it is ready.

    Yields:
        Its address, its process, and the seconds from its command until it was ready.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")
    tools = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # mlflow starts uvicorn by its name
    began = time.perf_counter()
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, *(word.format(port=port) if word == "{port}" else word for word in command)],
            cwd=root,
            env={**os.environ, **one_thread, "PATH": tools, "PYTHONPATH": str(root), **environment},
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            while not _answers(url + ready):
                if process.poll() is not None or time.perf_counter() - began > SECONDS:
                    raise SystemExit(f"{name} did not start:\n{log.read_text(errors='replace')[-4000:]}")
                time.sleep(0.02)
            yield url, process.pid, time.perf_counter() - began
        finally:
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(20)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False).is_success
    except httpx.TransportError:
        return False
