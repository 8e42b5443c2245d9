"""A PostgreSQL of its own for the length of a block."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def postgres() -> Iterator[str]:
    """The address of an empty database on 127.0.0.1; the test is skipped where PostgreSQL is not installed."""
    binaries = _binaries()
    as_postgres = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []  # it refuses to run as root
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    try:
        if as_postgres:
            shutil.chown(folder, "postgres")
        data = folder / "data"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        _run(*as_postgres, binaries / "initdb", "-D", data, "-A", "trust", "-U", "bloodyspy", "--no-sync")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
        start = [binaries / "pg_ctl", "-D", data, "-w", "-t", "60", "-l", folder / "log"]
        _run(*as_postgres, *start, "-o", options, "start")
        try:
            yield f"postgresql://bloodyspy@127.0.0.1:{port}/postgres"
        finally:
            _run(*as_postgres, *start, "-m", "fast", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _binaries() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    if not found and on_path is None:
        pytest.skip("PostgreSQL is not installed")
    return found[-1].parent if found else Path(str(on_path)).parent


def _run(*command: str | Path) -> None:
    # inherited pipes would stay open in the server: its output goes to its log
    subprocess.run([str(word) for word in command], check=True, cwd="/", stdout=subprocess.DEVNULL, timeout=120)
