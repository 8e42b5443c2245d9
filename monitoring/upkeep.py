"""Both streams of observations, collected and kept small: what the flow and the command line call."""

from bloodyspy.params import Monitoring
from bloodyspy.settings import Settings
from bloodyspy.store import streams
from bloodyspy.store.collecting import Collected
from bloodyspy.store.streams import Stream
from bloodyspy.store.upkeep import Compacted, Expired


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


def tidy(s: Settings, m: Monitoring) -> None:
    """Collect, compact and expire.

    Raises:
        MonitoringError: as these.
    """
    collect(s)
    compact(s)
    expire(s, m)
