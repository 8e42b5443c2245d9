"""Interleaved timing: A B C A B C …, so that a machine that slows down slows all of them."""

import statistics
import time
from collections.abc import Callable

from rich.console import Console
from rich.table import Table


def measure(ways: dict[str, Callable[[], object]], per: int, rounds: int = 7) -> dict[str, float]:
    """Median milliseconds of each way for one item; ``per`` items are done in a call, one round is warm-up."""
    durations: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            if number:
                durations[name].append((time.perf_counter() - started) / per * 1e3)
    return {name: statistics.median(times) for name, times in durations.items()}


def show(title: str, medians: dict[str, float], reference: str) -> None:
    """Print milliseconds and the ratio to the reference way."""
    table = Table("way", "ms per picture", f"ratio to {reference}", title=title, title_justify="left")
    for name, median in medians.items():
        table.add_row(name, f"{median:.3f}", f"{median / medians[reference]:.2f}")
    Console().print(table)
