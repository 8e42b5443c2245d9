"""Prefect flows: when to run, what to do next, whom to tell.

Importing the package sets Prefect's places for this process and the processes it starts, before Prefect is imported
and reads them; what the user set stands.
"""

import logging
import os
from pathlib import Path

import bloodyspy  # noqa: F401  (switches the tools' usage reporting off, Prefect's among them)
from bloodyspy.settings import load_settings

SETTINGS = {
    "PREFECT_HOME": str(load_settings().state / "prefect"),
    # what the library logs becomes part of the flow run's log ...
    "PREFECT_LOGGING_EXTRA_LOGGERS": "bloodyspy,monitoring",
    # ... and outside a run there is nowhere to send it, which is no fault
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    # a fresh data base is migrated first, which takes its time on a busy machine
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
}

for _name, _value in SETTINGS.items():
    os.environ.setdefault(_name, _value)

# Prefect makes its folder, but not the folder above it, and without it retries for two minutes
Path(os.environ["PREFECT_HOME"]).mkdir(parents=True, exist_ok=True)

for _library in ("bloodyspy", "monitoring"):
    logging.getLogger(_library).setLevel(logging.INFO)
