"""What the audit log says of releases: who answered when, what lies below it, and what was left open. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from bloodyspy.promotion.audit import Entry
from bloodyspy.promotion.decision import Outcome
from bloodyspy.promotion.events import Approved, Cause, Decided, ReleaseBegun, Released, ReleaseUndone


def live(entries: Sequence[Entry], at: datetime | None = None) -> tuple[Entry, Released] | None:
    """The release that stood at a time, now by default; None where nothing was released yet."""
    for entry in reversed(entries):
        if isinstance(entry.event, Released) and (at is None or entry.time <= at):
            return entry, entry.event
    return None


@dataclass(frozen=True, slots=True)
class Answered:
    """Who answered at a time, since when, until when, and why."""

    entry: Entry
    release: Released
    until: Entry | None
    """The release after it; None where it answers still."""
    decision: Decided | None
    """What let it through; None where nobody decided."""
    approval: Approved | None

    def lines(self) -> list[str]:
        """For people, one fact a line."""
        end = f"until {_moment(self.until)}" if self.until else "until now"
        release = self.release
        lines = [
            f"Version {release.version} answered from {_moment(self.entry)} {end}.",
            f"Artefact {release.artefact_digest}, run {release.run_id}.",
            f"Released as a {release.cause} by {self.entry.by}: {release.reason}",
        ]
        if self.decision is not None and self.decision.summary not in release.reason:
            lines.append(f"Decided: {self.decision.summary}")
        if self.approval is not None and self.approval.words not in release.reason:
            lines.append(f"Approved: {self.approval.words}")
        return lines


def answered(entries: Sequence[Entry], at: datetime | None = None) -> Answered | None:
    """Which version answered at a time, now by default; None where nothing was released by then.

    The service takes a release up within seconds of its entry; what it answered in between stands in its observations.
    """
    found = live(entries, at)
    if found is None:
        return None
    entry, release = found
    before = [e.event for e in entries[: entry.number]]
    ours = release.artefact_digest
    decided = [
        e for e in before if isinstance(e, Decided) and e.artefact_digest == ours and e.outcome is Outcome.PROMOTED
    ]
    approved = [
        e
        for e in before
        if isinstance(e, Approved) and e.approved and decided and e.decision_digest == decided[-1].decision_digest
    ]
    after = [e for e in entries[entry.number :] if isinstance(e.event, Released)]
    return Answered(
        entry=entry,
        release=release,
        until=after[0] if after else None,
        decision=decided[-1] if decided else None,
        approval=approved[-1] if approved else None,
    )


def open_release(entries: Sequence[Entry]) -> tuple[Entry, ReleaseBegun] | None:
    """The release that was begun and neither finished nor undone."""
    for entry in reversed(entries):
        if isinstance(entry.event, ReleaseBegun):
            return entry, entry.event
        if isinstance(entry.event, Released | ReleaseUndone):
            return None
    return None


def standing(entries: Sequence[Entry]) -> list[int]:
    """The versions one above the other: each promotion lays one on top, each rollback takes off what is above its own.

    The last is the one that answers; the one below it is what a rollback goes back to.
    """
    return _pile(entries)[0]


def withdrawn(version: int, entries: Sequence[Entry]) -> Released | None:
    """The rollback that took a version out of service; None where there was none, or it was released again since."""
    return _pile(entries)[1].get(version)


def _pile(entries: Sequence[Entry]) -> tuple[list[int], dict[int, Released]]:
    """:func:`standing`, and each version that was left for an earlier one, with the rollback that left it."""
    pile: list[int] = []
    left: dict[int, Released] = {}
    first: dict[int, int] = {}
    """When a version answered first. Its number does not say: a recipe of before may be promoted over a newer one."""
    for event in (entry.event for entry in entries):
        if not isinstance(event, Released):
            continue
        version, previous = event.version, event.previous
        if not pile and previous is not None:
            pile.append(previous)  # answered before there was a log
            first[previous] = 0
        first.setdefault(version, len(first))
        left.pop(version, None)
        if version in pile[-1:]:
            continue  # told again
        # A rollback may also bring a newer one back, which had been taken off.
        is_rollback, below = event.cause is Cause.ROLLBACK, version in pile
        if is_rollback and previous is not None and (below or first[version] < first.get(previous, 0)):
            left[previous] = event
            pile.pop()
        if is_rollback and below:
            del pile[len(pile) - pile[::-1].index(version) :]
        else:
            pile.append(version)
    return pile, left


def _moment(entry: Entry) -> str:
    return f"{entry.time:%Y-%m-%d %H:%M:%S} UTC"
