"""``python -m monitoring``: the drift checks so far, oldest first."""

from rich.console import Console
from rich.table import Table

from bloodyspy.settings import load_settings
from monitoring.history import history


def main() -> None:
    """Print the history, and what of it could not be read."""
    kept = history(load_settings().drift_history)
    table = Table("window's end", "verdict", "rows", "model version", "reason", "report", title="Drift checks")
    for check in kept.checks:
        verdict = check.verdict
        when = f"{verdict.end:%Y-%m-%d %H:%M}" if verdict.end else "no observation"
        version = "" if verdict.model_version is None else str(verdict.model_version)
        table.add_row(when, verdict.overall, str(verdict.rows), version, verdict.reason, str(check.page))
    console = Console()
    console.print(table)
    for unreadable in kept.unreadable:
        console.print(f"Could not be read: {unreadable}")


if __name__ == "__main__":
    main()
