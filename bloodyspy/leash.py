"""Runs a command that must not outlive the process that started it, however that one ends.

``python -m bloodyspy.leash COMMAND...`` with a pipe as standard input. When the pipe's other end goes away (its holder
closed it, or was killed with ``kill -9``), the command and everything it started in its process group get SIGTERM, and
SIGKILL five seconds later. Without this, a killed `lifecycle` would leave a training run behind that holds DVC's locks.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

GRACE = 5.0


def command(*arguments: str) -> list[str]:
    """The command line that runs ``arguments`` on a leash; give the process ``stdin=subprocess.PIPE``."""
    return [sys.executable, "-m", "bloodyspy.leash", *arguments]


def _follow(child: "subprocess.Popen[bytes]") -> None:
    sys.stdin.buffer.read()  # returns when nobody holds the other end any more
    _signal(child.pid, signal.SIGTERM)
    time.sleep(GRACE)
    _signal(child.pid, signal.SIGKILL)


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # ended by itself
        os.killpg(group, number)


def main() -> int:
    """Run the command and answer with its exit status."""
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)
    threading.Thread(target=_follow, args=(child,), daemon=True).start()
    return child.wait()


if __name__ == "__main__":
    # what the command left running in its group would hold the pipe of its output open for ever
    status = main()
    os._exit(status if status >= 0 else 128 - status)
