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


def answers(decision: Decision, artefact_digest: str, entries: Sequence[Entry]) -> list[Approved]:
    """What people said of a decision, oldest first, since its version was last decided about.

    Args:
        decision: as it stands on its version.
        artefact_digest: of the artefact that is to be promoted by it; an approval of another one is none.
        entries: of the audit log.
    """
    wanted, found = (digest_of(decision), artefact_digest), list[Approved]()
    for event in (entry.event for entry in entries):
        if isinstance(event, Decided) and event.version == decision.challenger:
            found = []
        elif isinstance(event, Approved) and (event.decision_digest, event.artefact_digest) == wanted:
            found.append(event)
    return found


def answer_to(decision: Decision, artefact_digest: str, entries: Sequence[Entry]) -> Approved | None:
    """The newest of :func:`answers`; None where nobody was asked, or has answered yet."""
    found = answers(decision, artefact_digest, entries)
    return found[-1] if found else None


def is_recorded(decision: Decision, artefact_digest: str, entries: Sequence[Entry]) -> bool:
    """Whether this very decision about this artefact is the log's last word on the version.

    What stands on a version can be edited in the registry, or copied from another one.
    """
    said = [entry.event for entry in entries if isinstance(entry.event, Decided)]
    return [one for one in said if one.version == decision.challenger][-1:] == [decided(decision, artefact_digest)]


def is_stale(decision: Decision, artefact_digest: str, entries: Sequence[Entry]) -> bool:
    """Whether a decision is not the log's last word on its version, or anything was released since."""
    for event in (entry.event for entry in reversed(entries)):
        if isinstance(event, Released):
            return True
        if isinstance(event, Decided) and event.version == decision.challenger:
            return event != decided(decision, artefact_digest)
    return True


def stands(decision: Decision, artefact_digest: str, entries: Sequence[Entry]) -> bool:
    """Whether a person has answered a decision that is not stale."""
    answered = answer_to(decision, artefact_digest, entries) is not None
    return answered and not is_stale(decision, artefact_digest, entries)
