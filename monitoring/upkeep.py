"""Streams of observations and pages of checks, collected and kept small: what flow and command line call."""

from bloodyspy.kept import Store
from bloodyspy.params import Monitoring
from bloodyspy.settings import Settings
from bloodyspy.store import streams
from bloodyspy.store.collecting import Collected
from bloodyspy.store.streams import Stream
from bloodyspy.store.upkeep import Compacted, Expired
from monitoring import pictures


def both(s: Settings) -> list[Stream]:
    """The service's observations and, where there ever was a shadow, its."""
    return [stream for stream in (streams.live(s), streams.shadow(s)) if stream.name == "live" or stream.logs.is_dir()]


def collect(s: Settings) -> dict[str, Collected]:
    """Gather what the logs have gained, by stream.

    Raises:
        MonitoringError: a log or the store cannot be read, or the store cannot be written.
    """
    return {stream.name: stream.collect() for stream in both(s)}


def compact(s: Settings) -> dict[str, Compacted]:
    """One part a day, by stream.

    Raises:
        MonitoringError: the store cannot be read or written.
    """
    return {stream.name: stream.compact() for stream in both(s)}


def expire(s: Settings, m: Monitoring) -> dict[str, Expired]:
    """Remove rows past their retention, and old logs that are wholly in the store, by stream.

    Raises:
        MonitoringError: the store or a log cannot be read or changed.
    """
    return {stream.name: stream.expire(m.retention_days, m.log_days) for stream in both(s)}


def withdraw(s: Settings) -> int:
    """Take pictures out of the pages of drift checks that the service keeps no longer; says how many.

    Raises:
        MonitoringError: some page could not be changed.
    """
    return pictures.withdraw(s.drift_history, Store(s.kept_images))


def tidy(s: Settings, m: Monitoring) -> None:
    """Collect, compact, expire and withdraw.

    Raises:
        MonitoringError: as these.
    """
    collect(s)
    compact(s)
    expire(s, m)
    withdraw(s)
