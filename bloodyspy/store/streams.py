"""The two streams of observations of a project: the service's, and its shadow's."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bloodyspy.settings import Settings
from bloodyspy.store.collecting import Collected, collect
from bloodyspy.store.place import Place
from bloodyspy.store.rows import ALL
from bloodyspy.store.upkeep import Compacted, Erased, Expired, compact, erase, expire
from bloodyspy.store.windows import Wanted, Window, window


@dataclass(frozen=True, slots=True)
class Stream:
    """Logs, and the store that they are gathered in."""

    name: str
    logs: Path
    place: Place

    def collect(self) -> Collected:
        """As :func:`bloodyspy.store.collecting.collect`."""
        return collect(self.logs, self.place)

    def compact(self) -> Compacted:
        """As :func:`bloodyspy.store.upkeep.compact`."""
        return compact(self.place)

    def expire(self, retention_days: int, log_days: int) -> Expired:
        """As :func:`bloodyspy.store.upkeep.expire`."""
        return expire(self.logs, self.place, retention_days, log_days)

    def erase(self, specimen: str) -> Erased:
        """As :func:`bloodyspy.store.upkeep.erase`."""
        return erase(self.logs, self.place, specimen)

    def newest(self, wanted: Wanted, size: int | None = None, columns: Sequence[str] = ALL) -> Window:
        """What has been logged until now: collects, then as :func:`bloodyspy.store.windows.window`."""
        collected = self.collect()
        found = window(self.place, wanted, size, columns)
        return replace(found, unreadable=replace(found.unreadable, torn=collected.torn))


def live(s: Settings) -> Stream:
    """What the service has answered.

    Raises:
        MonitoringError: the store cannot be where the settings say.
    """
    assert s.observations is not None  # Settings fills it in
    return Stream("live", s.observations, Place(f"{s.observation_store}/live"))


def shadow(s: Settings) -> Stream:
    """What its shadow has answered, unheard.

    Raises:
        MonitoringError: as :func:`live`.
    """
    return Stream("shadow", s.shadow_observations, Place(f"{s.observation_store}/shadow"))
