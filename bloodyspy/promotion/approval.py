"""Whether a person let a promotion happen: an entry of the audit log about one decision, and no other."""

import hashlib
from collections.abc import Sequence

from bloodyspy.promotion.audit import Entry
from bloodyspy.promotion.decision import Decision
from bloodyspy.promotion.events import Approved, Decided, Released


def digest_of(decision: Decision) -> str:
    """SHA-256 of a decision as it stands on its version: an approval is of exactly this text."""
    return hashlib.sha256(decision.model_dump_json().encode()).hexdigest()


def decided(decision: Decision, artefact_digest: str) -> Decided:
    """The entry about a decision."""
    return Decided(
        version=decision.challenger,
        artefact_digest=artefact_digest,
        champion=decision.champion,
        outcome=decision.outcome,
        test_digest=decision.test_digest,
        decision_digest=digest_of(decision),
        summary=decision.summary,
    )


def answer_to(decision: Decision, entries: Sequence[Entry]) -> Approved | None:
    """The newest answer about a decision; None where nobody was asked, or has answered yet."""
    wanted = digest_of(decision)
    for entry in reversed(entries):
        if isinstance(entry.event, Approved) and entry.event.decision_digest == wanted:
            return entry.event
    return None


def is_recorded(decision: Decision, entries: Sequence[Entry]) -> bool:
    """Whether the log has this very decision: what stands on a version can be edited in the registry."""
    wanted = digest_of(decision)
    return any(isinstance(entry.event, Decided) and entry.event.decision_digest == wanted for entry in entries)


def is_stale(decision: Decision, entries: Sequence[Entry]) -> bool:
    """Whether anything was released since a decision was recorded."""
    wanted = digest_of(decision)
    for entry in reversed(entries):
        if isinstance(entry.event, Released):
            return True
        if isinstance(entry.event, Decided) and entry.event.decision_digest == wanted:
            return False
    return True


def stands(decision: Decision, entries: Sequence[Entry]) -> bool:
    """Whether a person has answered a decision, and nothing was released since."""
    return answer_to(decision, entries) is not None and not is_stale(decision, entries)
