"""Many files in threads, with a progress bar: decoding and hashing release the interpreter's lock, so threads scale."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from rich.console import Console
from rich.progress import track

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(work: Callable[[Item], Result], items: Sequence[Item], description: str) -> list[Result]:
    """Results of ``work`` for each item, in the order of the items.

    The first exception ends it: what has not begun is cancelled and the exception is raised here.
    """
    threads = min(16, len(os.sched_getaffinity(0)))
    pool = ThreadPoolExecutor(threads, thread_name_prefix="images")
    try:
        results = pool.map(work, items)
        return list(track(results, description, total=len(items), console=Console(stderr=True)))
    finally:
        pool.shutdown(cancel_futures=True)  # after an interrupt, too, nothing goes on in the background
