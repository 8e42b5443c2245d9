"""The limit of any service: decode, resize and graph in a plain loop, one process a core.

A process answers each line ``SECONDS BATCH`` on its input with the number of pictures that it did in that time.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

import numpy as np

from bloodyspy.model.classifier import Classifier


class Limit:
    """So many processes that wait for their turn."""

    def __init__(self, model: Path, pictures: Path, processes: int) -> None:
        command = [sys.executable, "-m", "benchmarks.limit", model, pictures]
        self._processes = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
            for _ in range(processes)
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.communicate()

    def pictures_per_second(self, seconds: float, batch: int, at_a_time: int) -> float:
        """Of as many processes as requests are asked at a time: one request alone keeps no second process busy."""
        working = self._processes[:at_a_time]
        for process in working:
            assert process.stdin is not None
            process.stdin.write(f"{seconds} {batch}\n")
        return sum(float(process.stdout.readline()) for process in working if process.stdout is not None)


def main() -> None:
    """Speed of this process, over its own time: another that loads longer does not slow it down."""
    classifier = Classifier.load(Path(sys.argv[1]))
    payloads = [path.read_bytes() for path in sorted(Path(sys.argv[2]).iterdir())]
    for line in sys.stdin:
        seconds, batch = float(line.split()[0]), int(line.split()[1])
        done, started = 0, time.perf_counter()
        while time.perf_counter() - started < seconds:
            chosen = [payloads[(done + i) % len(payloads)] for i in range(batch)]
            classifier.probabilities(np.stack([classifier.prepare(payload) for payload in chosen]))
            done += batch
        os.write(1, f"{done / (time.perf_counter() - started)}\n".encode())


if __name__ == "__main__":
    main()
