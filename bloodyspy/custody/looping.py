"""The loop's begin and end in the audit log, which is all that is kept of it."""

from datetime import UTC, datetime

from bloodyspy.dataset.version import data_version
from bloodyspy.errors import PromotionError
from bloodyspy.params import Loop
from bloodyspy.promotion import trail
from bloodyspy.promotion.history import live
from bloodyspy.promotion.loop import Idle, Present, Reason, open_loop, outcome, reason_to_retrain, tries
from bloodyspy.promotion.loop_events import LoopBegun, LoopEnded, LoopOutcome, Trigger, WatchEnded
from bloodyspy.promotion.watch import Finding, Standing
from bloodyspy.settings import Settings


def begin(present: Present, by_hand: str | None, rule: Loop, s: Settings) -> LoopBegun | Idle:
    """Begin a loop where there is a reason, or go on with the one that is open; each run leaves an entry.

    Args:
        present: what is known beside the log.
        by_hand: a person's reason, which always is one.
        rule: what is a reason, and how often it is tried.
        s: where the log is.

    Raises:
        PromotionError: the open loop was tried as often as it may be without getting further; it has ended with that.
        AuditError: the log cannot be read or written.
    """
    entries, now = trail.entries(s), datetime.now(UTC)
    if (found := open_loop(entries)) is not None:
        begun = found[1]
        if by_hand is None and tries(entries) >= rule.tries:
            _give_up(begun, rule, s)
    else:
        reason = reason_to_retrain(entries, present, rule, now)
        if by_hand is not None:
            reason = Reason(Trigger.HAND, f"by hand, {now.isoformat()}", by_hand)
        if isinstance(reason, Idle):
            return reason
        champion = live(entries)
        begun = LoopBegun(
            trigger=reason.trigger,
            key=reason.key,
            reason=reason.words,
            data_version=present.data_version or "none",
            champion=champion[1].version if champion else None,
        )
    trail.record(begun, s)
    return begun


def end(begun: LoopBegun, s: Settings) -> LoopEnded:
    """Record what came of a loop, as the log tells it.

    Raises:
        DataMissing: there is no data version.
        AuditError: the log cannot be read or written.
    """
    what, summary = outcome(trail.entries(s))
    done = LoopEnded(key=begun.key, outcome=what, data_version=data_version(s.root), summary=summary)
    trail.record(done, s)
    return done


def end_watch(version: int, found: Finding, s: Settings) -> WatchEnded:
    """Record that a champion was watched to its end and stays."""
    done = WatchEnded(version=version, proven=found.standing is Standing.KEPT, summary=found.words)
    trail.record(done, s)
    return done


def _give_up(begun: LoopBegun, rule: Loop, s: Settings) -> None:
    words = f"it was tried {rule.tries} times without getting further ({begun.reason})"
    trail.record(
        LoopEnded(key=begun.key, outcome=LoopOutcome.GIVEN_UP, data_version=begun.data_version, summary=words), s
    )
    raise PromotionError(
        f"Retraining is given up: {words}. The flow runs before this one say what failed. Put it right, then begin "
        'anew: `python -m pipelines retrain --reason "..."`.'
    )
