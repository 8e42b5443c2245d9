"""How fast graphs are beside each other, and how much memory one needs.

``python -m bloodyspy.model.timing GRAPH THREADS RUNTIME PRECISION SIZE`` loads one graph and nothing else, classifies
one picture, and writes its resident memory to the standard output.
"""

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bloodyspy.model.inference import BATCH, InferenceGraph, Precision, Runtime

_ROUNDS, _SINGLE = 15, 16


@dataclass(frozen=True, slots=True)
class Speed:
    """Median milliseconds of one picture."""

    alone: float
    in_batch: float
    """In a batch of 32."""


def measure(graphs: Sequence[InferenceGraph], pictures: NDArray[np.uint8], rounds: int = _ROUNDS) -> list[Speed]:
    """Time graphs in turn, A B C A B C …, so that a machine that slows down slows all of them.

    Args:
        graphs: of the same input.
        pictures: prepared, (n, size, size, 3), n at least 1.
        rounds: counted ones; one more warms up.
    """
    batch = pictures[np.arange(BATCH) % len(pictures)]
    alone: list[list[float]] = [[] for _ in graphs]
    in_batch: list[list[float]] = [[] for _ in graphs]
    for number in range(rounds + 1):
        for index, graph in enumerate(graphs):
            started = time.perf_counter()
            for picture in range(_SINGLE):
                graph(batch[picture : picture + 1])
            between = time.perf_counter()
            graph(batch)
            ended = time.perf_counter()
            if number:
                alone[index].append((between - started) / _SINGLE * 1e3)
                in_batch[index].append((ended - between) / BATCH * 1e3)
    return [Speed(statistics.median(a), statistics.median(b)) for a, b in zip(alone, in_batch, strict=True)]


def memory(path: Path, threads: int, runtime: Runtime, precision: Precision, size: int) -> float:
    """Resident memory in 10^6 bytes of a process of its own that serves this graph and does nothing else."""
    command = [sys.executable, "-m", __name__, str(path), str(threads), runtime, precision, str(size)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return float(done.stdout)


def machine() -> str:
    """This machine's processor, and those of its instructions for narrow numbers that decide how fast they are."""
    words = _processor()
    instructions = [name for name in _INSTRUCTIONS if name in words.get("flags", "").split()]
    usable = len(os.sched_getaffinity(0))
    cores = f"{usable} core{'s' if usable > 1 else ''}"
    return ", ".join([words.get("model name", platform.machine()), cores, *instructions])


def overflows_eight_bits() -> bool:
    """Whether this processor adds products of eight bits in sixteen, where large ones are cut off: x86 without VNNI."""
    flags = set(_processor().get("flags", "").split())
    return "avx2" in flags and not flags & {"avx_vnni", "avx512_vnni", "amx_int8"}


def _processor() -> dict[str, str]:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    return {key.strip(): value.strip() for key, value in facts.items()}


_INSTRUCTIONS = (
    *("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8"),
    *("asimddp", "bf16"),
)


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    place, of_threads, engine, computed_in, side = sys.argv[1:]
    graph = InferenceGraph(Path(place), int(of_threads), Runtime(engine), Precision(computed_in))
    graph(np.zeros((1, int(side), int(side), 3), dtype=np.uint8))
    sys.stdout.write(f"{_resident():.1f}\n")
