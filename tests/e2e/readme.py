"""Every ``bash`` block of the README, in order, as one script; servers stay up for the blocks that follow."""

import contextlib
import os
import re
import signal
import socket
import time
from pathlib import Path

# How a person knows that a server of the README is up: an address to ask, or words in what it prints.
SERVERS = {
    "mlflow ui": "http://127.0.0.1:5000/health",
    "bentoml serve": "http://127.0.0.1:3000/readyz",
    "prefect server start": "http://127.0.0.1:4200/api/health",
    "python -m pipelines.deployments": "check-drift/served",
}
PROLOGUE = r"""
set -euo pipefail
up() {  # up LOG ADDRESS-OR-WORDS PID
    for _ in $(seq 240); do
        case "$2" in http*) curl -sf "$2" > /dev/null && return ;; *) grep -q "$2" "$1" && return ;; esac
        kill -0 "$3" || break
        sleep 0.5
    done
    echo "not up: $2"; tail -n 60 "$1"; exit 1
}
"""


def blocks(readme: str) -> list[str]:
    return re.findall(r"^```bash\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)


def end(group: int) -> None:
    """End every process of a group; BentoML's workers are in groups of their own, which it ends when it is asked to."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGTERM)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            os.killpg(group, 0)
            time.sleep(0.1)
        os.killpg(group, signal.SIGKILL)


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def script(readme: str, folder: Path) -> str:
    lines = [PROLOGUE]
    for number, line in enumerate("\n".join(blocks(readme)).splitlines()):
        server = next((command for command in SERVERS if line.startswith(command)), None)
        if server is None:
            lines.append(f"echo '$' {line.split('#')[0]!r}\n{line}")
        else:
            log = folder / f"server-{number}.log"
            lines.append(f"{line} > {log} 2>&1 &\nup {log} {SERVERS[server]!r} $!")
    text = "\n".join(lines)
    for port in ("5000", "3000", "4200"):
        text = re.sub(rf"(?<=[: ]){port}\b", free_port(), text)
    return text
