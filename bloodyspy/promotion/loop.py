"""Whether there is a reason to train the model anew, by the audit log and what is known now. Pure.

The log is the only state: a loop is open from its `LoopBegun` to its `LoopEnded`, and a reason that a loop has ended
with begins no other one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bloodyspy.loop_rule import Loop
from bloodyspy.promotion.audit import Entry
from bloodyspy.promotion.decision import Outcome
from bloodyspy.promotion.events import Approved, Cause, DataVersioned, Decided, Released, Trained
from bloodyspy.promotion.history import live
from bloodyspy.promotion.loop_events import LoopBegun, LoopEnded, LoopOutcome, Trigger, WatchEnded


@dataclass(frozen=True, slots=True)
class Alarm:
    """Drift of the champion that stands."""

    cause: str
    windows: int
    """In a row and not overlapping, that were drifted for this cause."""
    mendable: bool
    """Whether a network that has learnt such pictures could answer them."""
    words: str
    """One sentence."""


@dataclass(frozen=True, slots=True)
class Present:
    """What is known now, beside the log."""

    data_version: str | None
    """Of data/; None where there is none yet."""
    waiting: int
    """Settled labels that are not in data/ yet."""
    alarm: Alarm | None


@dataclass(frozen=True, slots=True)
class Reason:
    """Why the model is to be trained anew."""

    trigger: Trigger
    key: str
    """The same reason has the same one."""
    words: str


@dataclass(frozen=True, slots=True)
class Idle:
    """There is none."""

    words: str
    labels: int
    """That are missing until there is one; 0 where labels would not help."""


def reason_to_retrain(entries: Sequence[Entry], present: Present, rule: Loop, now: datetime) -> Reason | Idle:
    """The first reason of these that no loop has ended with: drift, labels, the calendar.

    Drift is one only where there is something to learn of it: labels that wait, or another data/ than was trained on.

    Args:
        entries: of the audit log.
        present: what is known beside it.
        rule: how much of what is a reason.
        now: with a time zone.
    """
    if present.data_version is None:
        return Idle("There are no images yet: `bloodyspy data import SOURCE`.", 0)
    told = {entry.event.key for entry in entries if isinstance(entry.event, LoopEnded)}
    reasons = (_drift(entries, present, rule), _labels(present, rule), _calendar(entries, rule, now))
    return next((reason for reason in reasons if reason and reason.key not in told), None) or _idle(present, rule)


def open_loop(entries: Sequence[Entry]) -> tuple[Entry, LoopBegun] | None:
    """The loop that was begun and has not ended, with the first entry of its begin."""
    found: tuple[Entry, LoopBegun] | None = None
    for entry in entries:
        if isinstance(event := entry.event, LoopBegun):
            found = found or (entry, event)
        elif isinstance(event, LoopEnded):
            found = None
    return found


def tries(entries: Sequence[Entry]) -> int:
    """Runs of the open loop since it last got further: since data, a network, a decision or an answer came of it."""
    count = 0
    for entry in entries:
        if isinstance(entry.event, LoopBegun):
            count += 1
        elif isinstance(entry.event, DataVersioned | Trained | Decided | Approved | Released | LoopEnded):
            count = 0
    return count


def outcome(entries: Sequence[Entry]) -> tuple[LoopOutcome, str]:
    """What came of the open loop, and the sentence for it, by what the log has after its begin."""
    begun = open_loop(entries)
    for entry in reversed(entries[begun[0].number :] if begun else ()):
        match entry.event:
            case Released(cause=Cause.PROMOTION) as released:
                return LoopOutcome.PROMOTED, released.words
            case Approved(approved=False) as answer:
                return LoopOutcome.REJECTED, answer.words
            case Decided(outcome=Outcome.REFUSED) as decided:
                return LoopOutcome.REFUSED, decided.words
    return LoopOutcome.UNCHANGED, "the best candidate is the champion already, or was decided on before"


def watched(entries: Sequence[Entry]) -> tuple[Entry, Released] | None:
    """The release of the new champion that is watched; None where the watch is over, or a rollback brought it back."""
    found: tuple[Entry, Released] | None = None
    for entry in reversed(entries):
        event = entry.event
        if isinstance(event, Released):
            if found is not None and found[1].version != event.version:
                break
            found = entry, event  # told again, it is watched from its first release on
        elif isinstance(event, WatchEnded) and found is None:
            return None
    return found if found is not None and found[1].cause is Cause.PROMOTION else None


def trained_on(entries: Sequence[Entry]) -> str | None:
    """The data version that was trained on last; None where the log knows of none."""
    for entry in reversed(entries):
        if isinstance(entry.event, LoopEnded | Trained):
            return entry.event.data_version
    return None


def last_training(entries: Sequence[Entry]) -> datetime | None:
    """When it was, or when it was last found that nothing is to be trained; None where there was none."""
    times = (entry.time for entry in reversed(entries) if isinstance(entry.event, LoopEnded | Trained))
    return next(times, None)


def _drift(entries: Sequence[Entry], present: Present, rule: Loop) -> Reason | None:
    alarm, before = present.alarm, trained_on(entries)
    changed = before is not None and before != present.data_version
    if alarm is None or not alarm.mendable or (present.waiting < rule.drift_labels and not changed):
        return None
    champion = live(entries)
    who = f"version {champion[1].version}" if champion else "nobody"
    new = f"{present.waiting:,} settled label(s) wait" if present.waiting else "data/ has changed since the training"
    return Reason(
        Trigger.DRIFT,
        f"drift of {who}, {alarm.cause}, data {present.data_version}, labels {present.waiting // rule.drift_labels}",
        f"{alarm.words} {new}.",
    )


def _labels(present: Present, rule: Loop) -> Reason | None:
    if present.waiting < rule.labels:
        return None
    # in steps, so that labels that cannot be taken in do not ask again every hour
    return Reason(
        Trigger.LABELS,
        f"labels {present.waiting // rule.labels} x {rule.labels}, data {present.data_version}",
        f"{present.waiting:,} settled labels wait; {rule.labels:,} are a reason.",
    )


def _calendar(entries: Sequence[Entry], rule: Loop, now: datetime) -> Reason | None:
    last = last_training(entries)
    if last is None:
        return Reason(Trigger.CALENDAR, "calendar, never trained", "Nothing was trained yet.")
    due = last + timedelta(days=rule.days)
    if now < due:
        return None
    return Reason(
        Trigger.CALENDAR,
        f"calendar, after {last.isoformat()}",
        f"The last training was on {last:%Y-%m-%d}, {(now - last).days} days ago; {rule.days:g} are a reason.",
    )


def _idle(present: Present, rule: Loop) -> Idle:
    alarm, waiting = present.alarm, f"{present.waiting:,} settled label(s) wait"
    if alarm is not None and not alarm.mendable:
        return Idle(f"{alarm.words} Training anew does not mend that; {waiting}.", 0)
    if alarm is not None:
        missing = max(rule.drift_labels - present.waiting, 1)
        return Idle(
            f"{alarm.words} On the same data the same network would come out: label {missing} more of the pictures "
            f"that were answered since ({waiting}).",
            missing,
        )
    if present.waiting >= rule.labels:
        return Idle(f"{waiting}, but the loop that they began has ended and left them: look at `bloodyspy audit`.", 0)
    return Idle(f"No drift that stands; {waiting} of {rule.labels:,}.", max(rule.labels - present.waiting, 0))
