"""What the flow does with the history of checks after each of them: alarms to people, gauges to Prometheus."""

from datetime import UTC, datetime

from bloodyspy.settings import Settings
from monitoring import gauges, notification
from monitoring.history import checks


def tell_of_checks(s: Settings) -> notification.Told:
    """Tell people of alarms that have begun or are over, and write the gauges. Nothing here fails a check."""
    past, now = checks(s.drift_history), datetime.now(UTC)
    told = notification.tell(s.drift_history, past, s.notify, now)
    gauges.write(s.drift_history, past, now)
    return told
