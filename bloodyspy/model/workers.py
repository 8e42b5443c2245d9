"""Several processes of the same command at once, on one machine."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bloodyspy import leash


def run_workers(count: int, arguments: Sequence[str], root: Path) -> list[int]:
    """Run ``bloodyspy ARGUMENTS`` so many times at once; the cores are shared out among them.

    The processes write their lines to this one's standard error. They end when this process ends, however it does.

    Args:
        count: processes.
        arguments: of the command line.
        root: the project's folder.

    Returns:
        Their exit statuses.
    """
    threads = str(max(1, len(os.sched_getaffinity(0)) // count))
    environment = {
        "TF_NUM_INTRAOP_THREADS": threads,
        "OMP_NUM_THREADS": threads,
        **os.environ,
        "TTY_COMPATIBLE": "0",  # lines instead of a bar: several bars would write over each other
    }
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    leash.command(sys.executable, "-m", "bloodyspy.cli", *arguments),
                    cwd=root,
                    env=environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    start_new_session=True,  # an interrupt from the keyboard is this process's to pass on
                )
            )
            for _ in range(count)
        ]
        return [process.wait() for process in processes]
