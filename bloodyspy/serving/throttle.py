"""How often somebody may ask, and how soon again after wrong passwords.

All of it is of one worker process and forgotten when that ends: with N workers it is N times as much at most. Time is
monotonic, so that a clock that jumps locks nobody out and lets nobody in. What is kept is bounded: of more than
:data:`KEPT` names or addresses the longest unseen is forgotten. Used from the event loop's thread only.
"""

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, TypeVar

KEPT = 10_000
"""Names, addresses and pairs of both that are kept in mind, of each kind."""

PAIR_FREE, ADDRESS_FREE, NAME_FREE = 5, 20, 50
"""Failed sign-ins without a wait: of one name from one address; from one address; of one name, wherever from."""

LONGEST_WAIT = 300.0
"""Seconds between two tries, in the end."""

FORGIVEN_AFTER = 3600.0
"""Seconds without a failure until those before it count no more."""

Clock = Callable[[], float]
_Value = TypeVar("_Value")


class _Recent(Generic[_Value]):
    """What is known of the newest so many."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._values: OrderedDict[str, _Value] = OrderedDict()

    def get(self, who: str) -> _Value | None:
        return self._values.get(who)

    def put(self, who: str, value: _Value) -> None:
        self._values[who] = value
        self._values.move_to_end(who)
        if len(self._values) > self._kept:
            self._values.popitem(last=False)

    def forget(self, who: str) -> None:
        self._values.pop(who, None)

    def __len__(self) -> int:
        return len(self._values)


class Buckets:
    """A token bucket for each name: a minute's requests may come at once, more only as the minute goes on."""

    def __init__(self, per_minute: int, clock: Clock = time.monotonic, kept: int = KEPT) -> None:
        """``per_minute`` 0 means no limit."""
        self._size, self._clock = per_minute, clock
        self._levels: _Recent[tuple[float, float]] = _Recent(kept)

    def take(self, who: str) -> float:
        """Take a token.

        Returns:
            0, or the seconds until there is one; then none was taken.
        """
        if not self._size:
            return 0.0
        now, rate = self._clock(), self._size / 60
        level, then = self._levels.get(who) or (float(self._size), now)
        level = min(float(self._size), level + (now - then) * rate)
        wait = 0.0 if level >= 1 else (1 - level) / rate
        self._levels.put(who, (level if wait else level - 1, now))
        return wait


@dataclass(frozen=True, slots=True)
class _Failures:
    count: int
    last: float
    locked_until: float


class Lockout:
    """Failures by name: after the free ones the wait doubles with each, from one second to :data:`LONGEST_WAIT`."""

    def __init__(self, free: int, clock: Clock = time.monotonic, kept: int = KEPT) -> None:
        self._free, self._clock = free, clock
        self._known: _Recent[_Failures] = _Recent(kept)

    def wait(self, who: str) -> float:
        """Seconds until they may try again; 0 for now."""
        found = self._known.get(who)
        return max(0.0, found.locked_until - self._clock()) if found else 0.0

    def failed(self, who: str) -> None:
        """Count a failure."""
        now, found = self._clock(), self._known.get(who)
        count = 1 + (found.count if found and now - found.last < FORGIVEN_AFTER else 0)
        wait = min(LONGEST_WAIT, 2.0 ** min(count - self._free, 30)) if count >= self._free else 0.0
        self._known.put(who, _Failures(count, now, now + wait))

    def forget(self, who: str) -> None:
        """Forgive everything."""
        self._known.forget(who)


class SignIns:
    """Whose password may be tried, from where.

    Who can lock whom out? Whoever fails often, themselves: a name from their address (``pair``), then any name from
    there. Guesses at one name from many addresses make it wait at addresses where it never signed in; where it did,
    only failures at that very place count. Nothing here concerns credentials that are verified already or keys.
    """

    def __init__(self, clock: Clock = time.monotonic, kept: int = KEPT) -> None:
        self._pairs = Lockout(PAIR_FREE, clock, kept)
        self._addresses = Lockout(ADDRESS_FREE, clock, kept)
        self._names = Lockout(NAME_FREE, clock, kept)
        self._at_home: _Recent[bool] = _Recent(kept)

    def wait(self, name: str, address: str) -> float:
        """Seconds until this name may be tried from this address; 0 for now."""
        pair = _pair(name, address)
        if self._at_home.get(pair):
            return self._pairs.wait(pair)
        return max(self._pairs.wait(pair), self._addresses.wait(address), self._names.wait(name))

    def wait_at(self, address: str) -> float:
        """Seconds until anything new may be tried from this address; 0 for now."""
        return self._addresses.wait(address)

    def failed(self, name: str, address: str) -> None:
        """Count a wrong password."""
        self._pairs.failed(_pair(name, address))
        self._addresses.failed(address)
        self._names.failed(name)

    def failed_at(self, address: str) -> None:
        """Count a wrong key, or something that is neither password nor key."""
        self._addresses.failed(address)

    def succeeded(self, name: str, address: str) -> None:
        """A right password forgives what was wrong with this name here, and nothing else."""
        pair = _pair(name, address)
        self._pairs.forget(pair)
        self._at_home.put(pair, True)


def _pair(name: str, address: str) -> str:
    return f"{address} {name}"


@lru_cache(maxsize=4096)
def network(host: str) -> str:
    """Who is behind an address: an IPv4 address, or the 64 bits of an IPv6 one that a subscriber is given."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host[:64]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
