"""The newest loop, link by link, as the audit log tells it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from bloodyspy.promotion.audit import Entry
from bloodyspy.promotion.events import Approved, Cause, DataVersioned, Decided, Released, Trained
from bloodyspy.promotion.loop_events import LoopBegun, LoopEnded, WatchEnded


@dataclass(frozen=True, slots=True)
class Link:
    """One thing that came of a loop."""

    name: str
    when: datetime | None
    """None where it has not come yet, or will not."""
    words: str


LINKS = ("reason", "data version", "training", "decision", "approval", "release", "end", "watch")
"""In their order; only a training may come more than once."""


def chain(entries: Sequence[Entry]) -> list[Link]:
    """The links of the newest loop; those that are not there yet say so. Empty where there was no loop.

    A release is the loop's until the next loop begins, and with it its watch and its rollback.
    """
    begins = [i for i, entry in enumerate(entries) if isinstance(entry.event, LoopBegun)]
    if not begins:
        return []
    start = begins[-1]
    while start in begins and (earlier := _same(entries, begins, start)) is not None:
        start = earlier
    found: dict[str, list[Entry]] = {name: [] for name in LINKS}
    for entry in entries[start:]:
        if (name := _name(entry)) is not None:
            found[name].append(entry)
    links: list[Link] = []
    for name, several in found.items():
        told = several if name in ("training", "watch") else several[:1] if name == "reason" else several[-1:]
        comes = not found["end"] or (name == "watch" and found["release"])
        absent = Link(name, None, "not yet" if comes else "none")
        links += [Link(name, entry.time, _words(entry)) for entry in told] or [absent]
    return links


def _words(entry: Entry) -> str:
    """The event's own, but for the end: its outcome, for its sentence stands in the link before it."""
    return str(entry.event.outcome) if isinstance(entry.event, LoopEnded) else entry.event.words


def _same(entries: Sequence[Entry], begins: Sequence[int], start: int) -> int | None:
    """The entry before by which the same loop was begun, killed runs and all."""
    place = begins.index(start)
    if not place:
        return None
    between = entries[begins[place - 1] : start]
    return None if any(isinstance(entry.event, LoopEnded) for entry in between) else begins[place - 1]


def _name(entry: Entry) -> str | None:
    match entry.event:
        case LoopBegun():
            return "reason"
        case DataVersioned():
            return "data version"
        case Trained():
            return "training"
        case Decided():
            return "decision"
        case Approved():
            return "approval"
        case Released(cause=Cause.PROMOTION):
            return "release"
        case Released() | WatchEnded():
            return "watch"
        case LoopEnded():
            return "end"
    return None
