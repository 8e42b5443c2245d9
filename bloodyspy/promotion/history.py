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
    pile: list[int] = []
    for entry in entries:
        if not isinstance(event := entry.event, Released) or event.version in pile[-1:]:
            continue
        if not pile and event.previous is not None:
            pile.append(event.previous)  # answered before there was a log
        if event.cause is Cause.ROLLBACK and event.version in pile:
            del pile[len(pile) - pile[::-1].index(event.version) :]
            continue
        if _is_back(event):
            pile.pop()  # gone back to one that had been taken off before
        pile.append(event.version)
    return pile


def withdrawn(version: int, entries: Sequence[Entry]) -> Released | None:
    """The rollback that took a version out of service; None where there was none, or it was released again since."""
    for entry in reversed(entries):
        if isinstance(event := entry.event, Released):
            if event.version == version:
                return None
            if _is_back(event) and event.previous == version:
                return event
    return None


def _is_back(event: Released) -> bool:
    """Whether a release left a version for an older one; a rollback may also bring a newer one back."""
    return event.cause is Cause.ROLLBACK and event.previous is not None and event.version < event.previous


def _moment(entry: Entry) -> str:
    return f"{entry.time:%Y-%m-%d %H:%M:%S} UTC"
