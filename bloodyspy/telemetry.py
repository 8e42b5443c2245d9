"""The one place where the tools' usage reporting is switched off.

Every variable is read by its tool at import or at start, so it must stand in the environment before that. Importing
``bloodyspy`` does it for the project's own processes; ``make`` installs a ``.pth`` line that does it for every command
of the virtual environment (``mlflow ui``, ``prefect server start``), which never import this package.
"""

import os
import sys

SWITCHES = {
    "DO_NOT_TRACK": "true",  # MLflow wants the word, not 1
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "BENTOML_DO_NOT_TRACK": "True",
    "DVC_NO_ANALYTICS": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "ORT_DISABLE_TELEMETRY": "1",
    "GX_ANALYTICS_ENABLED": "false",
}

REPORTERS = ("openvino_telemetry",)
"""Packages that do nothing but report, at import, and have no switch. Their tools go without where they are absent."""


def switch_off() -> None:
    """Set every switch in this process's environment, whatever stood there before, and make the reporters absent."""
    os.environ.update(SWITCHES)
    for name in REPORTERS:
        sys.modules[name] = None  # type: ignore[assignment]  # Python's own way to make an import fail
